"""Text is made safe to store and to print."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.text import clean, contains, escaped, fold, new_id, one_line, printable, whole_words

FAMILY = "👩\u200d👩\u200d👧"
ANY = st.text(st.characters())


@given(text=ANY)
def test_clean_joins_pairs_and_replaces_lone_surrogates(text: str) -> None:
    """Nothing else changes."""
    cleaned = clean(text)
    cleaned.encode()
    assert clean(cleaned) == cleaned
    whole = re.sub(
        "[\ud800-\udbff][\udc00-\udfff]", lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), text
    )
    assert cleaned == re.sub("[\ud800-\udfff]", "\ufffd", whole)


@given(text=ANY)
def test_printable_shows_each_character_and_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]", shown)
    assert printable(shown) == shown
    read = 0  # of `shown`
    for character in clean(text).replace("\r\n", "\n"):
        assert read < len(shown)
        marked = re.compile(r"<U\+[0-9A-F]{4}>").match(shown, read)
        read = marked.end() if character not in {"<", shown[read]} and marked else read + 1
    assert read == len(shown)


def test_escaped_json_is_the_same_and_printable() -> None:
    text = "a\u2028b\x85c\x9bd\u202ee\ufeff\r\n\x1b\0"
    shown = escaped(json.dumps(text, ensure_ascii=False))
    assert printable(shown) == shown
    assert json.loads(shown) == text


def test_printable_keeps_lines_and_tabs() -> None:
    assert printable("a\tb\r\nc\rd\n") == "a\tb\nc\nd\n"
    assert printable("\x1b[31mred\x1b]0;title\x07\x00\x7f") == "␛[31mred␛]0;title␇␀␡"
    assert printable("\x9b31m \u202etxt.exe\u2066 a\ufeff") == "<U+009B>31m <U+202E>txt.exe<U+2066> a<U+FEFF>"


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\v", "\f", "\x85", "\r", "\r\n"])
def test_each_line_end_of_unicode_ends_a_line(end: str) -> None:
    assert printable(f"First line{end}second") == "First line\nsecond"
    assert one_line(f"First line{end}second", 40) == "First line"


@pytest.mark.parametrize("text", ["שָׁלוֹם עולם\u200f", "می\u200cخواهم", "👩\u200d👩\u200d👧 ☺\ufe0f", "e\u0301 नि"])
def test_what_a_script_needs_stays(text: str) -> None:
    assert printable(text) == text


@given(text=ANY, width=st.integers(2, 80))
def test_one_line_fits_the_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert cell_len(line) <= width
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


def test_one_line_is_the_first_line_with_text() -> None:
    assert one_line("\n\t\n  A title  \nmore", 20) == "A title"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("", 4) == ""


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("ab🇩🇪🇫🇷🇮🇹", 5, "ab🇩🇪…"),
        ("ab🇩🇪🇫🇷🇮🇹", 6, "ab🇩🇪…"),
        ("日本語の日記", 7, "日本語…"),
        ("日本語の日記", 12, "日本語の日記"),
        (f"{FAMILY * 3}", 5, f"{FAMILY * 2}…"),
        ("cafe\u0301 au lait", 5, "cafe\u0301…"),
    ],
)
def test_one_line_cuts_no_character(text: str, width: int, shown: str) -> None:
    assert one_line(text, width) == shown


@pytest.mark.parametrize(
    ("text", "sought"),
    [
        ("cafe\u0301", "caf\u00e9"), ("caf\u00e9", "cafe\u0301"), ("CAFÉ", "cafe"), ("cafe", "Café"),
        ("Straße", "STRASSE"), ("ﬁn", "FIN"), ("İstanbul", "istanbul"), ("שָׁלוֹם", "שלום"),
        ("がっこう", "か\u3099っこう"), ("１２３", "123"), ("한", "\u1112\u1161\u11ab"),
    ],
)  # fmt: skip
def test_a_text_is_found_in_each_form(text: str, sought: str) -> None:
    assert contains(f"one {text} two", fold(sought))
    assert contains(f"one {sought} two", fold(text))
    assert contains(f"é {text} " * 90, fold(f"é {sought} " * 60))


@given(text=ANY, sought=st.text(st.characters(codec="utf-8"), max_size=3))
def test_contains_is_the_same_by_a_pattern_and_by_folding(text: str, sought: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert contains(text, fold(sought)) == (fold(sought) in fold(text))
    assert contains(text, fold(text[1:4]))


def test_ids_sort_by_creation_time() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    moments = [id_[:14] for id_ in ids]
    assert moments == sorted(moments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A walk", "A walk"),
        ("A walk by the riv", "A walk by the"),
        ("A walk by it — an", "A walk by it"),
        ("A walk by the end.", "A walk by the end."),
        ("Waldspaziergangstag", "Waldspaziergangstag"),
        (" " * 20, ""),
    ],
)
def test_a_text_as_long_as_its_limit_loses_a_word_that_may_be_cut(text: str, expected: str) -> None:
    assert whole_words(text, 17) == expected
