"""The real `charlie` as a subprocess, on a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARLIE = str(Path(sys.executable).with_name("charlie"))
PATIENCE = 60.0
"""Seconds after which a command that has not ended fails the test."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(home: Path, **variables: str) -> dict[str, str]:
    """This environment with no setting of Charlie's but its home and `variables`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CHARLIE_")}
    return {**kept, "CHARLIE_HOME": str(home), **variables}


def charlie(home: Path, *arguments: str, stdin: str | bytes = b"", **variables: str) -> Ended:
    """Run a command to its end. It must have succeeded or failed in order: never with a traceback."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [CHARLIE, *arguments],
        input=data,
        capture_output=True,
        timeout=PATIENCE,
        env=environment(home, **variables),
        check=False,
    )
    ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in ended.err
    return ended


def refused(ended: Ended) -> str:
    """What a command that failed in order said: one sentence, and perhaps a hint."""
    assert ended.code == 1
    assert ended.out == ""
    first, *hint = ended.err.splitlines()
    assert len(hint) <= 1
    assert first.startswith("charlie: ")
    assert first.endswith(".")
    return first.removeprefix("charlie: ")


@contextmanager
def started(home: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs during the block, and is killed after it if it still does."""
    process = subprocess.Popen(
        [CHARLIE, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home, **variables),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(stream: IO[str] | None, part: str) -> str:
    """The next line that holds `part`. The stream is read on this thread, so it ends with the process."""
    assert stream is not None
    for line in stream:
        if part in line:
            return line
    raise AssertionError(f"the stream ended before {part!r}")
