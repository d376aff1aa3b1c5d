"""What the command line writes: data on stdout, talk on stderr, and how an error is told."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from core.errors import CharlieError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def data(text: str, end: str = "\n") -> None:
    """Write to stdout at once: raw into a pipe, and without what a terminal would obey to a terminal."""
    if sys.stdout.isatty():
        from core.text import printable

        text = printable(text)
    print(text, end=end, flush=True)


def data_json(value: Any) -> None:
    """One JSON value on one line."""
    data(json.dumps(value, ensure_ascii=False))


def talk(text: str) -> None:
    """One line for the person, on stderr."""
    from core.text import printable

    print(printable(text), file=sys.stderr, flush=True)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as aligned columns; the last one is as long as it is."""
    lines = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*(line[:-1] for line in lines), strict=True)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=True)), line[-1]]).rstrip()
        for line in lines
    )


def size(count: float) -> str:
    """Bytes in steps of 1024, as the interface and the plans have them."""
    for unit in ("B", "kB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def without_password(url: str | None) -> str | None:
    """A database's address as it may be shown."""
    return re.sub(r"(//[^/@]*:)[^/@]*@", r"\1***@", url) if url else None


class StatusLine:
    """One line on stderr that is written over; nothing at all when stderr is not a terminal."""

    def __init__(self) -> None:
        self.visible = sys.stderr.isatty()
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.show("")

    def show(self, text: str) -> None:
        """Replace the line; an empty text takes it away."""
        if not self.visible or text == self._shown:
            return
        from shutil import get_terminal_size

        from core.text import one_line

        self._shown = text
        width = max(get_terminal_size().columns - 1, 1)
        print(f"\r\x1b[K{one_line(text, width)}", end="", file=sys.stderr, flush=True)


def tell(error: Exception) -> None:
    """Say on stderr what went wrong: one sentence and a hint, never a traceback; what is unforeseen is logged."""
    known = _known(error)
    talk(f"charlie: {known.message}")
    if known.hint:
        talk(known.hint)


def _known(error: Exception) -> CharlieError:
    from redis.exceptions import RedisError

    from core.database import explain
    from core.errors import CharlieError

    match error:
        case CharlieError():
            return error
        case RedisError():
            return explain(error)
        case OSError() if error.errno in FULL:
            return CharlieError(f"{error.strerror}.", "Make room, then try again; what was saved is still there.")
        case _:
            return _unforeseen(error)


def _unforeseen(error: Exception) -> CharlieError:
    import logging

    from core.errors import CharlieError
    from core.paths import find_paths

    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    sentence = f"Something went wrong that should not: {what}."
    try:
        paths = find_paths()
        paths.make()
        log_to(paths.logs / "app.log")
    except (OSError, CharlieError):
        return CharlieError(sentence)
    logging.getLogger("app").error("A command failed.", exc_info=error)
    return CharlieError(sentence, f"The details are in {paths.logs / 'app.log'}.")


def log_to(file: Path) -> None:
    """Send warnings to a file instead of stderr; of no effect when that was done already."""
    import logging

    handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler]
    )
