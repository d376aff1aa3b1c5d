"""The common parts of all peers: their protocol, the request, and the timed reader of a streamed answer."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol


@dataclass(frozen=True, slots=True)
class Reply:
    """Seconds from the call to the first text and to the end; completion tokens; and the text."""

    first_s: float
    total_s: float
    tokens: int
    text: str


class Peer(Protocol):
    """A running peer."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def pid(self) -> int:
        """The process that holds its model."""

    def complete(self, file: Path, prompt: str, max_tokens: int) -> Reply:
        """Completes raw text greedily with one of the files; loads that file first if necessary.

        Raises RuntimeError if the model ends before `max_tokens`, because then the number of tokens is unknown.
        """


def request(file: Path, prompt: str, max_tokens: int) -> bytes:
    """The request body for all peers, in OpenAI's format. Two peers read `top_k`, and one `ignore_eos`."""
    asked = {"model": str(file), "prompt": prompt, "max_tokens": max_tokens, "stream": True}
    greedy = {"temperature": 0, "top_k": 1, "repeat_penalty": 1, "ignore_eos": True}
    return json.dumps(asked | greedy).encode()


def read_reply(chunks: Iterable[bytes], began: float, max_tokens: int) -> Reply:
    """Reads chunks in OpenAI's format up to the one with a finish reason."""
    first, pieces = 0.0, list[str]()
    for chunk in chunks:
        answer = json.loads(chunk)
        if "choices" not in answer:
            raise RuntimeError(f"The peer answered with {chunk.decode()}")
        choice = answer["choices"][0]
        if choice["text"]:
            first = first or time.perf_counter() - began
            pieces.append(choice["text"])
        if choice["finish_reason"] == "length":
            return Reply(first, time.perf_counter() - began, max_tokens, "".join(pieces))
        if choice["finish_reason"]:
            raise RuntimeError(f"The model ended by itself before {max_tokens} tokens.")
    raise RuntimeError("The stream ended early.")


@dataclass(frozen=True, slots=True)
class Child:
    """A peer's process with pipes to it; `log` has its stderr."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    log: IO[bytes]

    def failed(self) -> RuntimeError:
        """The error for a process that ended unexpectedly."""
        self.process.wait(20)
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")[-2000:]
        return RuntimeError(f"The peer's process ended with status {self.process.returncode}. Its log:\n{text}")


@contextmanager
def running(command: Sequence[str | Path]) -> Iterator[Child]:
    """A process that ends with the block. It also ends with this process, because peers end when their stdin closes."""
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Child(process, process.stdin, process.stdout, log)
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # the buffer may hold data that it never read
                process.stdin.close()
