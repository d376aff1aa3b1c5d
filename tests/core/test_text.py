"""Text made safe to store and safe to print."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from core.text import clean, new_id, one_line, printable

ANY = st.text(st.characters())


@given(text=ANY)
def test_clean(text: str) -> None:
    """A pair is joined, a lone surrogate is replaced, and nothing else changes."""
    cleaned = clean(text)
    cleaned.encode()
    assert clean(cleaned) == cleaned
    whole = re.sub(
        "[\ud800-\udbff][\udc00-\udfff]", lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), text
    )
    assert cleaned == re.sub("[\ud800-\udfff]", "\ufffd", whole)


@given(text=ANY)
def test_printable(text: str) -> None:
    """Nothing is left that a terminal obeys, and nothing is lost that a person wrote."""
    shown = printable(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert printable(shown) == shown
    assert [c for c in shown if c.isalnum()] == [c for c in clean(text) if c.isalnum()]


def test_printable_keeps_lines_and_tabs() -> None:
    assert printable("a\tb\r\nc\rd\n") == "a\tb\nc\nd\n"
    assert printable("\x1b[31mred\x1b]0;title\x07") == "[31mred]0;title"


@given(text=ANY, width=st.integers(1, 80))
def test_one_line(text: str, width: int) -> None:
    line = one_line(text, width)
    assert len(line) <= width
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


def test_the_first_line_that_says_something() -> None:
    assert one_line("\n\t\n  A title  \nmore", 20) == "A title"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("", 4) == ""


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    moments = [id_[:14] for id_ in ids]
    assert moments == sorted(moments)
