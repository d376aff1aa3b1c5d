"""Runs the real `charlie` as a subprocess on its own home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pexpect

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARLIE = str(Path(sys.executable).with_name("charlie"))
PATIENCE = 60.0
"""Limit in seconds for a command to end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit status and the output of a command."""

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
    """This environment, but of Charlie's settings only its home and `variables`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CHARLIE_")}
    return {**kept, "CHARLIE_HOME": str(home), **variables}


def charlie(home: Path, *arguments: str, stdin: str | bytes = b"", **variables: str) -> Ended:
    """Run a command to its end. A traceback fails the test."""
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


def on_a_terminal(home: Path, *arguments: str, answer: str = "", **variables: str) -> tuple[str, int | None]:
    """The output of a command on a pseudo-terminal, and its exit status. `answer` is typed when it asks."""
    shown = pexpect.spawn(
        CHARLIE, list(arguments), env=environment(home, **variables), timeout=PATIENCE, encoding="utf-8"
    )
    question = ""
    if answer:
        shown.expect_exact("[y/N]")
        question = str(shown.before)
        shown.sendline(answer)
    text = question + str(shown.read())
    shown.close()
    return text, shown.exitstatus


def refused(ended: Ended) -> str:
    """The sentence on stderr of a command that failed with status 1, before a possible hint."""
    assert ended.code == 1
    assert ended.out == ""
    first, *hint = ended.err.splitlines()
    assert len(hint) <= 1
    assert first.startswith("charlie: ")
    assert first.endswith(".")
    return first.removeprefix("charlie: ")


@contextmanager
def started(home: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs during the block, and is killed at its end."""
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
    """The next line that contains `part`. Blocks until then, or until the process ends."""
    assert stream is not None
    for line in stream:
        if part in line:
            return line
    raise AssertionError(f"the stream ended before {part!r}")
