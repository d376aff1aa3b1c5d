"""A notice has the height of its sentence, and a sentence of the same height lays out nothing anew."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from app.tui.shared.notice import Notice


class Page(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.notice = Notice()

    def compose(self) -> ComposeResult:
        yield self.notice


@pytest.mark.parametrize(
    ("first", "second", "height"),
    [
        ("9 to go.", "one line of words", 1),
        ("aa " * 11 + "a", "aaaaaaaaaaaa bbbbbbbbbbbb cccccccc", 3),
        ("a b", "a\nb", 2),
    ],
)
async def test_a_sentence_that_takes_more_lines_is_whole(first: str, second: str, height: int) -> None:
    async with Page().run_test(size=(22, 10)) as pilot:
        page = pilot.app
        assert isinstance(page, Page)
        page.notice.say(first)
        await pilot.pause()
        page.notice.say(second)
        await pilot.pause()
        assert page.notice.content_size.height == height


async def test_progress_lays_out_nothing() -> None:
    async with Page().run_test(size=(40, 10)) as pilot:
        page = pilot.app
        assert isinstance(page, Page)
        page.notice.say("Indexing: 101 of 200 to go.")
        await pilot.pause()
        layouts: list[object] = []
        page.screen.screen_layout_refresh_signal.subscribe(page.notice, layouts.append)
        for left in (100, 99, 9):
            page.notice.say(f"Indexing: {left} of 200 to go.")
            await pilot.pause()
        assert str(page.notice.content) == "Indexing: 9 of 200 to go."
        assert not layouts
        page.notice.say("a longer sentence that takes two lines of them")
        await pilot.pause()
        assert page.notice.content_size.height == 2
        assert layouts
