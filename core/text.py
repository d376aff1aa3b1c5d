"""Text from people and models, made safe to store and safe to print."""

from __future__ import annotations

import re
import secrets
import time

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def clean(text: str) -> str:
    """Replace lone surrogates by U+FFFD, so that the text can be encoded as UTF-8 and stored."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def printable(text: str) -> str:
    """Drop what a terminal would obey: C0 and C1 controls (tab and newline stay) and direction overrides."""
    return _CONTROLS.sub("", clean(text.replace("\r\n", "\n").replace("\r", "\n")))


def one_line(text: str, width: int) -> str:
    """The first non-empty line, printable, cut to `width` characters with an ellipsis."""
    line = next((line.strip() for line in printable(text[: width * 8]).splitlines() if line.strip()), "")
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def new_id() -> str:
    """An id that sorts by the time it was made (microseconds, then random)."""
    return f"{time.time_ns() // 1000:014x}{secrets.token_hex(4)}"
