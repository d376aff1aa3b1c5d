"""A streamed reply: its Markdown part, its plain part, and the pace of its pieces."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, cast

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownBlock

from app.client import Client
from app.tui.shared.job_follower import JobFollower
from app.tui.shared.streamed_markdown import StreamedMarkdown, Tail, whole
from core.events.types import JobKind, JobState
from tasks.jobs.records import Ended, Output, Text
from tasks.jobs.store import Jobs
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from textual.message_pump import MessagePump

TEXT = (
    "# A walk\n\nOne **paragraph** that is long enough to be wrapped at the width of this screen, and more.\n\n"
    "- one\n- two\n  wrapped\n\n```python\nx = 1\n\ny\t= 2\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n\nThe 走る end"
)


class Page(App[None]):
    def compose(self) -> ComposeResult:
        yield StreamedMarkdown()

    @property
    def words(self) -> StreamedMarkdown:
        return self.query_one(StreamedMarkdown)

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
        ("", "```\nx\n\n```"),  # the next piece may extend the closing line
    ],
)
def test_complete_markdown_blocks_are_recognized(begun: str, rest: str) -> None:
    assert whole(begun + rest) == len(begun)


@pytest.mark.parametrize("seed", range(4))
async def test_drawing_does_not_depend_on_how_text_is_split(seed: int) -> None:
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
async def test_the_tail_wraps_the_same_in_pieces_and_whole(width: int) -> None:
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
    """The target of a JobFollower: takes the outputs at once, on the thread of the JobFollower."""

    def __init__(self) -> None:
        self.taken: list[list[Output]] = []
        self.came = threading.Condition()

    def post_message(self, message: JobFollower.Came) -> None:
        with self.came:
            self.taken.append(message.follower.take())
            self.came.notify_all()

    def until(self, count: int) -> None:
        """Wait until this number of outputs was taken."""
        with self.came:
            assert self.came.wait_for(lambda: sum(map(len, self.taken)) >= count, PATIENCE)


def test_the_first_text_and_the_end_are_posted_at_once_the_rest_in_batches(client: Client) -> None:
    job = client.submit(JobKind.CHAT, {"conversation": "none"})
    client.jobs.advance(job.id, JobState.WAITING, {JobState.QUEUED})
    taker, jobs = Taker(), Jobs(client.redis)
    following = JobFollower(client, job.id, cast("MessagePump", taker))
    jobs.write(job.id, Text("0"))
    taker.until(1)
    assert taker.taken == [[Text("0")]]
    for number in range(1, 100):
        jobs.write(job.id, Text(str(number)))
    taker.until(100)  # including the last, which nothing follows
    jobs.end(job.id, Ended(JobState.DONE))
    following.join()
    outputs = [output for each in taker.taken for output in each]
    assert outputs == [*(Text(str(number)) for number in range(100)), Ended(JobState.DONE)]
    assert taker.taken[-1] == [Ended(JobState.DONE)]
    assert len(taker.taken) < 50
