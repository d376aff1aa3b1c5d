"""The output of commands: data on stdout, notes for the user on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from typing import Annotated, Any, Self

import typer

from app.process import note as note
from core.errors import DISK_FULL, CharlieError
from core.text import cells, escaped, one_line, printable

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def data(text: str, end: str = "\n") -> None:
    """Write to stdout at once; a terminal gets no control characters."""
    try:
        print(printable(text) if sys.stdout.isatty() else text, end=end, flush=True)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise CharlieError(f"The output cannot be written: {error.strerror}.", "What was saved stays.") from error
        raise


def data_json(value: Any) -> None:
    """Write a JSON value as one line. What a terminal would obey is escaped."""
    data(escaped(json.dumps(value, ensure_ascii=False)))


def answer(value: Any, text: str, *, as_json: bool) -> None:
    """Write a value as JSON, or the text that says the same."""
    if as_json:
        data_json(value)
    else:
        data(text)


def aside(text: str) -> None:
    """Write a piece of a thought to stderr, dim on a terminal."""
    print(f"\x1b[2m{printable(text)}\x1b[22m" if sys.stderr.isatty() else text, end="", file=sys.stderr, flush=True)


def note_limits(result: dict[str, Any]) -> None:
    """Note the limits of a job's result: a weak model, a cut text or thought, omitted turns."""
    if result.get("bundled"):
        note("A small model (135M) answered, and it is weak. `charlie models pull instruct` downloads a better one.")
    if result.get("truncated"):
        note("The message was longer than the context: only its end was read.")
    if left_out := result.get("left_out"):
        note(f"{left_out} earlier turns are outside the context.")
    if result.get("reasoning_cut"):
        note(f"The thought was cut after {result['reasoning_tokens']:,} tokens (`instruct.sampling.thinking_tokens`).")
    if text := result.get("note"):
        note(text)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns; the last one is not padded."""
    lines = [tuple(row) for row in rows]
    widths = [max(map(cells, column)) for column in zip(*(line[:-1] for line in lines), strict=True)]
    return "\n".join(
        "".join(
            [*(c + " " * (width - cells(c) + 2) for c, width in zip(line[:-1], widths, strict=True)), line[-1]]
        ).rstrip()
        for line in lines
    )


class StatusLine:
    """A line on stderr that is overwritten; invisible when stderr is not a terminal."""

    def __init__(self) -> None:
        self.visible = sys.stderr.isatty()
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.show("")

    def show(self, text: str) -> None:
        """Replace the line; an empty text removes it."""
        if not self.visible or text == self._shown:
            return
        self._shown = text
        width = max(get_terminal_size().columns - 1, 1)
        print(f"\r\x1b[K{one_line(text, width)}", end="", file=sys.stderr, flush=True)
