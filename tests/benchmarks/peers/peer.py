"""What the peers have in common: the interface, the request, and how the stream of an answer is read and timed."""

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
    """Seconds from the call until the first text was here and until all was; completion tokens; and the text."""

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
        """Its process, whose memory can be looked at."""

    def complete(self, file: Path, prompt: str, max_tokens: int) -> Reply:
        """Complete raw text greedily with one of the files, which is loaded first where another one is.

        Raises RuntimeError where the model ends before `max_tokens`, for its tokens are not counted then.
        """


def request(file: Path, prompt: str, max_tokens: int) -> bytes:
    """The body in OpenAI's form, which all peers get. Two peers read `top_k`, and one `ignore_eos`."""
    asked = {"model": str(file), "prompt": prompt, "max_tokens": max_tokens, "stream": True}
    greedy = {"temperature": 0, "top_k": 1, "repeat_penalty": 1, "ignore_eos": True}
    return json.dumps(asked | greedy).encode()


def read_reply(chunks: Iterable[bytes], began: float, max_tokens: int) -> Reply:
    """Read chunks in OpenAI's form until the one that gives the reason of the end."""
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
    raise RuntimeError("The stream broke off.")


@dataclass(frozen=True, slots=True)
class Child:
    """A peer's process with pipes to it; what it says of itself goes into `log`."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    log: IO[bytes]

    def failed(self) -> RuntimeError:
        """The error for a process that ended when it should not have."""
        self.process.wait()
        self.log.seek(0)
        said = self.log.read().decode(errors="replace")[-2000:]
        return RuntimeError(f"The peer's process ended with status {self.process.returncode}. It said:\n{said}")


@contextmanager
def running(command: Sequence[str | Path]) -> Iterator[Child]:
    """A process that ends with the block, and, as each of the peers ends with its standard input, with this process."""
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
            with suppress(BrokenPipeError):  # what it did not read any more is still in the pipe's buffer
                process.stdin.close()
