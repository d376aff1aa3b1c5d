"""Search, questions and reflection on the journal: one job at a time, and its results."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import assert_never

from textual import on, work
from textual.app import ComposeResult
from textual.widgets import ContentSwitcher

from app.tui.host import HasClient
from app.tui.journal.answer import Answer
from app.tui.journal.search_results import SearchResults
from app.tui.shared.job_follower import JobFollower
from app.tui.shared.notice import Notice
from app.tui.shared.queue_places import QueuePlaces
from core.events.types import JobKind
from tasks.jobs.records import Ended, Hits, Job, Text, Thought

WEEK = "The last seven days"
ASKS_AGAIN, REFLECTS_AGAIN = "Enter in the field asks again.", "^R reflects again."


class Finder(ContentSwitcher, HasClient):
    """Shows the results of a search, or the answer to a question. `notice` shows failures."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(id="finder", initial="results")
        self.following: JobFollower | None = None
        self.results = SearchResults(id="results")
        self.answer = Answer(id="answer")
        self.places = QueuePlaces(self, notice)
        self._notice = notice

    def compose(self) -> ComposeResult:
        yield self.results
        yield self.answer

    async def on_unmount(self) -> None:
        if self.following is not None:
            self.following.stop()
            await to_thread(self.following.join)

    async def find(self, text: str) -> bool:
        """Search by meaning, or ask if the text starts with a question mark; False if that failed to start."""
        if not text.startswith("?"):
            return await self._start(lambda: self.client.search(text), lambda job: self.results.begin(text, job))
        question = text.removeprefix("?").strip()
        return await self._start(
            lambda: self.client.ask(question), lambda job: self.answer.begin(question, job, ASKS_AGAIN)
        )

    async def reflect(self) -> bool:
        """Reflect on the last seven days; False if that failed to start."""
        return await self._start(self.client.reflect, lambda job: self.answer.begin(WEEK, job, REFLECTS_AGAIN))

    async def _start(self, call: Callable[[], Job], begin: Callable[[Job], Awaitable[None]]) -> bool:
        with self._notice.failures():
            await self._cancel()
            job = await to_thread(call)
            self.current = "results" if job.kind is JobKind.SEARCH else "answer"
            await begin(job)
            self.following = JobFollower(self.client, job.id, self)
            self.places.refresh()
            return True
        return False

    async def _cancel(self) -> None:
        following, self.following = self.following, None
        if following is not None:
            following.stop()
            await to_thread(self.client.cancel, following.job_id)

    @work
    async def stop(self) -> None:
        """Cancel the running job. Its output so far stays."""
        if self.following is not None:
            with self._notice.failures():
                await to_thread(self.client.cancel, self.following.job_id)

    def focus_found(self) -> None:
        if self.current == "results":
            self.results.options.focus()
        else:
            (self.answer.options if self.answer.options.display else self.answer).focus()

    @on(JobFollower.Came)
    async def came(self, message: JobFollower.Came) -> None:
        message.stop()
        asked = self.current == "answer"
        for output in message.follower.take():
            if message.follower is not self.following:
                return
            match output:
                case Text(text):
                    await self.answer.write(text)
                case Thought():
                    pass
                case Hits() if asked:
                    self.answer.found(output)
                case Hits():
                    self.results.show(output)
                case Ended():
                    await (self.answer if asked else self.results).finish(output)
                    self.following = None
                case _:
                    assert_never(output)
