"""Makes text from people and models safe to store and to print, and comparable."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from functools import lru_cache
from itertools import filterfalse
from typing import Any

_SHOWN = re.compile("\r\n|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_LINE_ENDS = frozenset({"\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"})

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_OPENING = re.compile(
    rf"^(?:(?:(?:dear|hi|hello),? (?:diary|journal)|{_DAY}(?=[,.:]| \d| {_MONTH}|$)"
    r"|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}(?: \d{{4}})?|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?"
    r"|\d{1,2}[:.]\d\d(?: ?[ap]m)?)(?:[\s,.:;!–—-]+|$))+",
    re.IGNORECASE,
)
"""Dates, times and salutations with which an entry may begin."""
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+|(?<=[。！？])")
_CLAUSE = re.compile(r"[;:,] | [–—-] | (?=(?:and|but|because|so|while|although|when|which|who) )")

LONGEST_PATTERN = 100
"""Characters of a text that is sought by a pattern, which takes a moment to compile."""


def clean(text: str) -> str:
    """Replace lone surrogates by U+FFFD, so the text can be encoded as UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def printable(text: str) -> str:
    """Make each character visible that a terminal would obey: `␛` for an escape, `<U+202E>` for a change of direction.

    All line ends of Unicode become line feeds.
    """
    return _SHOWN.sub(_shown, clean(text))


def escaped(json_text: str) -> str:
    """The same JSON in characters that are printable."""
    return _SHOWN.sub(lambda match: "".join(f"\\u{ord(each):04x}" for each in match[0]), json_text)


def _shown(match: re.Match[str]) -> str:
    if (found := match[0]) in _LINE_ENDS:
        return "\n"
    if found == "\x7f":
        return "␡"
    code = ord(found)
    return chr(0x2400 + code) if code < 0x20 else f"<U+{code:04X}>"


def cells(text: str) -> int:
    """The width of a printable text on the screen."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def one_line(text: str, width: int) -> str:
    """The first non-empty line, printable; cut between characters to `width` cells, with an ellipsis."""
    line = next((line.strip() for line in printable(text[: width * 8]).split("\n") if line.strip()), "")
    return line if cells(line) <= width else _start(line, width - 1).rstrip() + "…"


def first_clause(text: str, width: int) -> str:
    """The first sentence, without a date or salutation before it, cut at a clause or word to `width` cells."""
    lines = (line.strip(" \t#*_") for line in printable(text[: width * 16]).split("\n"))
    line = next((line for each in lines if (line := _OPENING.sub("", each).strip())), "")
    ends = [match.start() for match in _SENTENCE.finditer(line, width // 5)] or [len(line)]
    title = line[: ends[0]].rstrip(".…") or line
    if not title or cells(title) <= width:
        return title or one_line(text, width)
    if clause := [match.start() for match in _CLAUSE.finditer(title, width // 3, width)]:
        return title[: clause[-1]].rstrip(" ,;:–—-")
    cut = one_line(title, width)
    return f"{cut[:-1].rsplit(maxsplit=1)[0]}…" if " " in cut[width // 2 :] else cut


def whole_words(text: str, limit: int) -> str:
    """The text without its last word if it is so long that its `limit` in characters may have cut that word."""
    if len(text) < limit or text.endswith((".", "!", "?")):
        return text
    return "".join(text.rsplit(maxsplit=1)[:1]).rstrip(" ,;:–—-")


def _start(line: str, width: int) -> str:
    """As many characters, as a reader counts them, as fit into `width` cells."""
    if line.isascii():
        return line[:width]
    import regex

    for cluster in regex.finditer(r"\X", line):
        width -= cells(cluster[0])
        if width < 0:
            return line[: cluster.start()]
    return line


def fold(text: str) -> str:
    """The text without case, accents and variants of characters, to be found by `contains`."""
    return "".join(filterfalse(unicodedata.combining, _decomposed(text)))


def contains(text: str, folded: str) -> bool:
    """Whether the text has a folded text in it."""
    if text.isascii():
        return folded in text.lower()
    if len(folded) > LONGEST_PATTERN:
        return folded in fold(text)
    return _pattern(folded).search(_decomposed(text)) is not None


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFKD", text).casefold()


@lru_cache(16)
def _pattern(folded: str) -> Any:
    """Finds it with accents. That is faster than taking them off each text."""
    import regex

    return regex.compile(r"\P{ccc=0}*".join(map(regex.escape, folded)))


def new_id() -> str:
    """An id that sorts by its creation time (microseconds, then random)."""
    return f"{time.time_ns() // 1000:014x}{secrets.token_hex(4)}"
