"""Peers that are libraries: a small program drives each over a pipe, one JSON object per line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.environments import FOLDER, NODE, VERSIONS, XLLAMACPP, home, python
from tests.benchmarks.peers.peer import Child, Peer, Reply, read_reply, request, running

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Driven:
    """A peer at the other end of a pipe. Its program loads a file on request."""

    name: str
    version: str
    child: Child

    @property
    def pid(self) -> int:
        return self.child.process.pid

    def complete(self, file: Path, prompt: str, max_tokens: int) -> Reply:
        began = time.perf_counter()
        try:
            self.child.stdin.write(request(file, prompt, max_tokens) + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            raise self.child.failed() from None
        return read_reply(self._lines(), began, max_tokens)

    def _lines(self) -> Iterator[bytes]:
        while line := self.child.stdout.readline():
            yield line
        raise self.child.failed()


@contextmanager
def xllamacpp(files: Sequence[Path], context: int, threads: int, *, folder: Path = FOLDER) -> Iterator[Peer]:
    """xllamacpp's Server in its own process: llama.cpp's server without HTTP."""
    command: list[str | Path] = [python(XLLAMACPP, folder), HERE / "drive_xllamacpp.py", str(context), str(threads)]
    with running(command) as child:
        yield Driven(XLLAMACPP, VERSIONS[XLLAMACPP], child)


@contextmanager
def node_llama_cpp(files: Sequence[Path], context: int, threads: int, *, folder: Path = FOLDER) -> Iterator[Peer]:
    """node-llama-cpp's LlamaCompletion in a Node process."""
    package = home(NODE, folder) / "node_modules" / "node-llama-cpp" / "dist" / "index.js"
    command: list[str | Path] = ["node", HERE / "drive_node.mjs", package, str(context), str(threads)]
    with running(command) as child:
        yield Driven(NODE, VERSIONS[NODE], child)
