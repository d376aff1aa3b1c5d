"""A reply while it grows: what is drawn as Markdown, what as written, and how often it is handed over."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, cast

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownBlock

from app.client import Client
from app.widgets.following import Following
from app.widgets.words import Tail, Words, whole
from tasks.jobs import Ended, JobKind, Jobs, JobState, Output, Text
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from textual.message_pump import MessagePump

TEXT = (
    "# A walk\n\nOne **paragraph** that is long enough to be wrapped at the width of this screen, and more.\n\n"
    "- one\n- two\n  wrapped\n\n```python\nx = 1\n\ny\t= 2\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n\nThe 走る end"
)


class Page(App[None]):
    def compose(self) -> ComposeResult:
        yield Words()

    @property
    def words(self) -> Words:
        return self.query_one(Words)

    @property
    def tail(self) -> Tail:
        return self.query_one(Tail)

    def blocks(self) -> list[str]:
        return [type(block).__name__ for block in self.query_one(Markdown).query_children(MarkdownBlock)]


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("", ""),
        ("", "a paragraph"),
        ("", "its first line\nits second\n"),
        ("one\n\n", "two"),
        ("one\n\n\n", "two\n"),
        ("one\n \t\n", "two"),
        ("- one\n- two\n\n", "text"),
        ("", "```\nx\n\ny\n"),
        ("one\n\n", "~~~ text\n```\n\nx\n"),
        ("```\nx\n\ny\n```\n", "two"),
        ("", "````\n```\n\nx"),
        ("", "```\n```python\n\nx"),
        ("", "```\nx\n\n```"),  # what follows may be more of its closing line
    ],
)
def test_what_is_whole(begun: str, rest: str) -> None:
    assert whole(begun + rest) == len(begun)


@pytest.mark.parametrize("seed", range(4))
async def test_in_whatever_pieces_it_comes_it_is_drawn_the_same(seed: int) -> None:
    chance = random.Random(seed)
    async with Page().run_test(size=(40, 30)) as pilot:
        page = cast("Page", pilot.app)
        at = 0
        while at < len(TEXT):
            step = chance.randint(1, 12)
            await page.words.write(TEXT[at : at + step])
            at += step
            assert page.words.source == TEXT[:at]
        grown = page.blocks()
        assert page.tail.display
        assert page.tail.text == "The 走る end"
        await page.words.update(TEXT)
        assert not page.tail.display
        assert page.words.source == TEXT
        assert page.blocks() == [*grown, "MarkdownParagraph"]


@pytest.mark.parametrize("width", [10, 17, 40])
async def test_the_tail_is_wrapped_the_same_piece_by_piece_and_at_once(width: int) -> None:
    text = "Some words, 走る走る走る走る, a-word-that-is-longer-than-any-line-of-it-here  and\ttabs\n\nand lines \n" * 3
    async with Page().run_test(size=(width, 30)) as pilot:
        tail = cast("Page", pilot.app).tail
        tail.display = True
        await pilot.pause()
        for letter in text:
            tail.add(letter)
        grown = [tail.render_line(y).text for y in range(len(tail._lines))]
        tail.put(text)
        assert [tail.render_line(y).text for y in range(len(tail._lines))] == grown
        assert max(tail.render_line(y).cell_length for y in range(len(tail._lines))) <= width
        assert "".join("".join(grown).split()) == "".join(text.split())


class Taker:
    """Where a Following posts to: takes what came at once, on the thread of the Following."""

    def __init__(self) -> None:
        self.taken: list[list[Output]] = []
        self.came = threading.Condition()

    def post_message(self, message: Following.Came) -> None:
        with self.came:
            self.taken.append(message.following.take())
            self.came.notify_all()

    def until(self, count: int) -> None:
        """Wait until so many outputs have been taken."""
        with self.came:
            assert self.came.wait_for(lambda: sum(map(len, self.taken)) >= count, PATIENCE)


def test_text_is_gathered_but_for_the_first_and_the_end_is_told_at_once(client: Client) -> None:
    job = client.submit(JobKind.CHAT, {"conversation": "none"})
    client.jobs.advance(job.id, JobState.WAITING, {JobState.QUEUED})
    taker, jobs = Taker(), Jobs(client.redis)
    following = Following(client, job.id, cast("MessagePump", taker))
    jobs.write(job.id, Text("0"))
    taker.until(1)
    assert taker.taken == [[Text("0")]]
    for number in range(1, 100):
        jobs.write(job.id, Text(str(number)))
    taker.until(100)  # also the last of them, though nothing follows it
    jobs.end(job.id, Ended(JobState.DONE))
    following.join()
    outputs = [output for each in taker.taken for output in each]
    assert outputs == [*(Text(str(number)) for number in range(100)), Ended(JobState.DONE)]
    assert taker.taken[-1] == [Ended(JobState.DONE)]
    assert len(taker.taken) < 50
