"""llama-cpp-python's HTTP server, which swaps the models of its configuration by itself."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from tests.benchmarks.peers.environments import FOLDER, SERVER, VERSIONS, python
from tests.benchmarks.peers.peer import Child, Peer, Reply, read_reply, request, running

HOST = "127.0.0.1"
START_S = 60.0
ANSWER_S = 600.0


@dataclass(frozen=True, slots=True)
class Served:
    """A peer behind a port of the loopback interface."""

    name: str
    version: str
    child: Child
    port: int
    files: tuple[Path, ...]

    @property
    def pid(self) -> int:
        return self.child.process.pid

    def complete(self, file: Path, prompt: str, max_tokens: int) -> Reply:
        if file not in self.files:  # the server would answer with its first model
            raise ValueError(f"{file} is not a model of this server.")
        connection = HTTPConnection(HOST, self.port, timeout=ANSWER_S)
        connection.connect()  # not timed: a real client would keep it open; this server closes it after seconds
        try:
            began = time.perf_counter()
            body = request(file, prompt, max_tokens)
            connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            reply = read_reply(_chunks(response), began, max_tokens)
            response.read()  # to the end, or the next request would find the model in use
            return reply
        finally:
            connection.close()


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    if response.status != 200:
        raise RuntimeError(f"The server answered with {response.status}: {response.read().decode()}")
    for line in response:
        if line.startswith(b"data: {"):
            yield line.removeprefix(b"data: ")


@contextmanager
def llama_cpp_server(files: Sequence[Path], context: int, threads: int, *, folder: Path = FOLDER) -> Iterator[Peer]:
    """The server, listening on a free port, with the first file loaded."""
    with tempfile.TemporaryDirectory() as temporary:
        port, configuration = _free_port(), Path(temporary) / "server.json"
        models = [_model(file, context, threads) for file in files]
        configuration.write_text(json.dumps({"host": HOST, "port": port, "models": models}))
        program = Path(__file__).with_name("serve_llama_cpp.py")
        with running([python(SERVER, folder), program, "--config_file", configuration]) as child:
            _wait(child, port)
            yield Served(SERVER, VERSIONS[SERVER], child, port, tuple(files))


def _model(file: Path, context: int, threads: int) -> dict[str, object]:
    return {
        "model": str(file),
        "model_alias": str(file),
        "n_ctx": context,
        "n_threads": threads,
        "n_threads_batch": threads,
        "flash_attn": True,  # off by default, which is slower
        "logits_all": False,  # on by default, which doubles the prefill time
        "verbose": False,
    }


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _wait(child: Child, port: int) -> None:
    until = time.monotonic() + START_S
    while child.process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    child.process.kill()
    raise child.failed()
