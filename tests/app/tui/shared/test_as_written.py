"""Replies and answers are shown as they were written: while they stream, and after."""

from __future__ import annotations

import re
from typing import cast

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Markdown, Tooltip

from app.tui.journal.answer import citing
from app.tui.shared.streamed_markdown import StreamedMarkdown
from app.tui.textual_fixes import plain_tooltips

LETTER = "Dear Ada,\nthe train was late.\nYours,\nBen"
UNDERLINED = "A line\n===\nand more"
HTML = "<div>\nA line\n</div>\n\nx<y and y>z\n\n<b>bold</b> &amp; <!-- a note --> &#27;[31m"
GENERICS = "Use a List<String> or a Map<Key, Value>, then git checkout <branch>. std::vector<std::string>"
CODE = (
    "Look:\n\n```html\n<p>\n  [1] &lt;\n\n\tx</p>\n```\n\n- `a[1]<b>`\n  c\n- d\n\n> q\n> r\n\n"
    "| a | b |\n|---|---|\n| <br> | 2 |"
)


class Page(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.shown = StreamedMarkdown(parser_factory=lambda: citing({1: "an entry"}))
        self.clicked: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.shown

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        self.clicked.append(event.href)


def screen(pilot: Pilot[None]) -> list[str]:
    """The lines of the screen, as a terminal shows them."""
    return [strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips()]


def lines(pilot: Pilot[None]) -> list[str]:
    return [line.strip(" •▎▌") for line in screen(pilot) if line.strip(" •▎▌─│┼┤├┐┌└┘━╸╺")]


async def written(pilot: Pilot[None], text: str, *, ended: bool) -> list[str]:
    page = cast("Page", pilot.app)
    for letter in text:
        await page.shown.write(letter)
    if ended:
        await page.shown.update(text)
    await pilot.pause()
    return lines(pilot)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    "text",
    [LETTER, HTML, GENERICS, "An old pond\n  a frog jumps\nthe sound of water", "a\r\nb\rc", UNDERLINED],
)
async def test_each_character_and_each_line_end_is_shown(text: str, ended: bool) -> None:
    async with Page().run_test(size=(100, 30)) as pilot:
        shown = await written(pilot, text, ended=ended)
        assert shown == [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("ended", [False, True])
async def test_verses_and_columns_keep_their_blanks(ended: bool) -> None:
    async with Page().run_test(size=(60, 10)) as pilot:
        await written(pilot, "An old pond\n  a frog  jumps\n\tthe sound\nof water", ended=ended)
        shown = [line for line in screen(pilot) if line]
        margin = len(shown[0]) - len(shown[0].lstrip())
        assert [line[margin:] for line in shown] == ["An old pond", "  a frog  jumps", "    the sound", "of water"]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("text", ["2*3*4 = 24", "2**3**2", "a*b*c"])
async def test_stars_of_a_product_are_no_emphasis(text: str, ended: bool) -> None:
    async with Page().run_test(size=(60, 10)) as pilot:
        assert await written(pilot, text, ended=ended) == [text]


@pytest.mark.parametrize(("text", "shown"), [("*a* **b**c", "a bc"), ("重**要**的", "重要的")])
async def test_stars_around_a_word_are_emphasis(text: str, shown: str) -> None:
    async with Page().run_test(size=(60, 10)) as pilot:
        assert await written(pilot, text, ended=True) == [shown]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\v", "\f", "\x85"])
async def test_each_line_end_of_unicode_is_one(end: str, ended: bool) -> None:
    async with Page().run_test(size=(60, 10)) as pilot:
        assert await written(pilot, f"First line{end}second", ended=ended) == ["First line", "second"]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\x1b]52;c;aGk=\x07", "a␛[31mb␛]52;c;aGk=␇"),
        ("`\x9b31m` \u202etxt.exe", "<U+009B>31m <U+202E>txt.exe"),
        ("http://a.invalid/%1bc%E2%80%AE", "http://a.invalid/%1bc%E2%80%AE"),
        ("[1]: http://a.invalid/x", "[1]: http://a.invalid/x"),
        ("<http://a.invalid/x>", "<http://a.invalid/x>"),
    ],
)
async def test_nothing_that_a_terminal_obeys_is_drawn(text: str, shown: str, ended: bool) -> None:
    async with Page().run_test(size=(60, 10)) as pilot:
        assert (await written(pilot, text, ended=ended))[0].replace("`", "") == shown
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", "".join(screen(pilot)))


async def test_right_to_left_text_is_whole() -> None:
    async with Page().run_test(size=(60, 10)) as pilot:
        text = "שלום עולם\nمرحبا بالعالم"
        assert await written(pilot, text, ended=True) == text.splitlines()


async def test_blocks_are_drawn_as_blocks_and_code_keeps_its_text() -> None:
    async with Page().run_test(size=(60, 40)) as pilot:
        shown = await written(pilot, CODE, ended=True)
        assert shown[:4] == ["Look:", "<p>", "[1] &lt;", "x</p>"]
        assert shown[4:9] == ["a[1]<b>", "c", "d", "q", "r"]
        assert [line.split() for line in shown[9:] if "│" in line] == [
            ["│", "a", "│", "b", "│"], ["│", "<br>", "│", "2", "│"],
        ]  # fmt: skip


async def test_links_and_citations_are_links() -> None:
    async with Page().run_test(size=(60, 10)) as pilot:
        await written(pilot, "As [1] says\nin [a page](http://a.invalid/1) [2].\nSee [2, 1].", ended=True)
        assert lines(pilot) == ["As [1] says", "in a page [2].", "See [2, 1]."]
        place = pilot.app.screen.query_one("MarkdownParagraph").region
        for x, y in ((4, 0), (5, 1), (14, 1), (5, 2), (8, 2)):
            await pilot.click(offset=(place.x + x, place.y + y))
        await pilot.pause()
        assert cast("Page", pilot.app).clicked == ["entry:1", "http://a.invalid/1", "entry:1"]


async def test_a_table_is_no_markup_under_the_mouse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tooltip, "__init__", Tooltip.__init__)  # put back at the end
    plain_tooltips()
    async with Page().run_test(size=(60, 20), tooltips=True) as pilot:
        await written(pilot, "| a |\n|---|\n| [/x] |\n", ended=True)
        await pilot.hover(pilot.app.screen.query("MarkdownTableCellContents").last())
        tooltip = pilot.app.screen.query_one(Tooltip)
        for _ in range(100):
            await pilot.pause(0.05)
            if tooltip.display:
                break
        assert str(tooltip.visual) == "[/x]"
