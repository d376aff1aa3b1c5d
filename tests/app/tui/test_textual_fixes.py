"""Wrapping of long texts gives the same as Textual's own, and text areas keep every character."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.app import App, ComposeResult
from textual.document._document import Document, Selection
from textual.document._wrapped_document import WrappedDocument

from app.tui.textual_fixes import LONGEST_LINE, SOFT_END, ExactDocument, LargeTextArea, WrappedText, drawn

LINES = st.lists(st.text(st.sampled_from("ab \tä漢"), max_size=30), max_size=6)


@given(lines=LINES, width=st.integers(0, 20))
def test_wrapping_is_the_same_as_textual(lines: list[str], width: int) -> None:
    document = Document("\n".join(lines))
    ours, theirs = WrappedText(document, tab_width=4), WrappedDocument(document, tab_width=4)
    for each in (ours, theirs):
        each.wrap(width)
    assert ours.lines == theirs.lines
    assert ours.height == theirs.height
    kept = ("_wrap_offsets", "_tab_width_cache", "_offset_to_line_info", "_line_index_to_offsets", "_width")
    assert [getattr(ours, name) for name in kept] == [getattr(theirs, name) for name in kept]


ENDS = ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"]
TEXTS = st.lists(st.sampled_from([*ENDS, "a ", "é", "\x1b", "漢" * 9, "\t", "x" * (LONGEST_LINE + 3)])).map("".join)


def kept(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(text=TEXTS)
def test_a_document_keeps_its_text_and_every_line_end_ends_a_line(text: str) -> None:
    document = ExactDocument(text)
    assert document.text == kept(text)
    assert all(len(line) <= LONGEST_LINE for line in document.lines)
    assert not any(re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", line) for line in document.lines)
    if len(text) < LONGEST_LINE:
        assert [drawn(line) for line in re.split("[\n\x0b\x0c\x85\u2028\u2029]", kept(text))] == document.lines


@given(text=TEXTS, new=TEXTS, data=st.data())
def test_an_edit_changes_its_place_only_and_can_be_undone(text: str, new: str, data: st.DataObject) -> None:
    document = ExactDocument(text)
    before, lines = document.text, list(document.lines)
    start, end = sorted((data.draw(st.integers(0, len(before))), data.draw(st.integers(0, len(before)))))
    places = document.get_location_from_index(start), document.get_location_from_index(end)
    one, other = data.draw(st.permutations(places))
    done = document.replace_range(one, other, new)
    assert document.text == before[:start] + kept(new) + before[end:]
    assert document.get_text_range(document.start, done.end_location).replace(SOFT_END, "") == before[:start] + kept(
        new
    )
    document.replace_range(places[0], done.end_location, done.replaced_text)
    assert document.text == before
    if len(new) < LONGEST_LINE:
        assert document.lines == lines


def test_places_behind_the_end_are_its_end() -> None:
    document = ExactDocument("a\nb")
    document.replace_range((1, 0), (2, 0), "")
    assert document.text == "a\n"
    document.replace_range((9, 9), (9, 9), "c")
    assert document.text == "a\nc"


class OneArea(App[None]):
    def compose(self) -> ComposeResult:
        yield LargeTextArea()


@pytest.mark.parametrize(
    "text", ["a\u2028b", "a\x0bb\x0cc\x85d\u2029e", "\x1b[31m\u202e\ufeff\x9b", "w " * 5_000 + "\n"], ids=range(4)
)
async def test_one_letter_changes_only_that_letter(text: str) -> None:
    async with OneArea().run_test() as pilot:
        area = pilot.app.query_one(LargeTextArea)
        area.load_text(text)
        await pilot.press("x")
        area.move_cursor(area.document.end)
        await pilot.press("y")
        assert area.text == f"x{text}y"
        await pilot.press("ctrl+z", "ctrl+z")
        assert area.text == text
        area.select_all()
        assert area.selected_text == text


@pytest.mark.parametrize("letter", ["\u200d", "\u200c", "\xa0", "\u3000", "\ue000", "\u2028"])
async def test_letters_that_python_does_not_print_are_typed(letter: str) -> None:
    async with OneArea().run_test() as pilot:
        area = pilot.app.query_one(LargeTextArea)
        area.load_text("ab")
        area.selection = Selection((0, 0), (0, 1))
        area.post_message(events.Key("a letter", letter))
        await pilot.pause()
        assert area.text == letter + "b"


async def test_control_characters_are_drawn_as_pictures() -> None:
    async with OneArea().run_test() as pilot:
        area = pilot.app.query_one(LargeTextArea)
        area.load_text("a\x1b[31m\x00\x7f\x9b\u202eb\u2028next\x0clast")
        await pilot.pause()
        shown = ["".join(segment.text for segment in area.render_line(y)).rstrip() for y in range(3)]
        assert shown == ["a␛[31m␀␡▯▯b", "next", "last"]
