"""The turns of one conversation: mounts only the latest ones, and follows the end while it is in view."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from app.tui.chat.first_run import FirstRun
from app.tui.chat.reply import Reply
from app.tui.chat.turn import Turn, UserTurn
from core.library.records import Revision, StoredMessage

LATEST_TURNS = 10
"""Turns mounted at first. Few, since keys wait until they are laid out."""
EARLIER_TURNS = 10
"""Turns mounted when the user reaches the top, or when the turns so far do not fill the window."""


def turn_of(message: StoredMessage) -> Turn:
    return UserTurn(message) if message.role == "user" else Reply.of(message)


class Transcript(VerticalScroll, can_focus=False):
    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, classes="-empty")
        self._earlier: list[StoredMessage] = []
        self._replaced: list[Revision] = []
        self._loading = False
        self._mounting = asyncio.Lock()
        """Held while turns are mounted: those of one conversation must not be removed meanwhile."""
        self.body = Vertical(classes="body")
        self.first_run = FirstRun(id="first-run")
        self.earlier = Static(id="earlier")

    def compose(self) -> ComposeResult:
        # At least as high as the view: an anchored widget would push a lower one down.
        with self.body:
            yield self.first_run
            yield self.earlier

    def on_mount(self) -> None:
        self._update_hints()
        self.anchor()

    @property
    def turns(self) -> list[Turn]:
        """The mounted turns, oldest first."""
        return [child for child in self.body.children if isinstance(child, Turn)]

    @property
    def replies(self) -> list[Reply]:
        return [turn for turn in self.turns if isinstance(turn, Reply)]

    @property
    def stored(self) -> list[tuple[str, str]]:
        """Id and text of each turn with text, oldest first, without live replies."""
        turns = [turn for turn in self.turns if turn.text and not (isinstance(turn, Reply) and turn.job)]
        mounted = [(turn.turn_id, turn.text) for turn in turns]
        return [(turn.id, turn.text) for turn in self._earlier] + mounted

    def reply(self, job_id: str) -> Reply | None:
        return next((reply for reply in self.replies if reply.turn_id == job_id), None)

    def show_support(self, messages: Sequence[StoredMessage]) -> None:
        """Show the line of `support.line` under replies to messages that tell of distress, as was found since."""
        distress = {message.id for message in messages if (message.stats or {}).get("distress")}
        for reply in self.replies:
            if reply.turn_id in distress:
                reply.show_support()

    def copy_reply(self) -> None:
        """Copy the last reply."""
        replies = [reply for reply in self.replies if reply.text]
        if replies:
            replies[-1].action_copy()

    async def show(self, turns: Sequence[StoredMessage | Reply]) -> None:
        """Replace all turns by these, oldest first, and scroll to the end."""
        if not self.body.is_attached:  # the interface is ending
            return
        latest = turns[-LATEST_TURNS:]
        async with self._mounting:
            self._earlier = [turn for turn in turns[:-LATEST_TURNS] if isinstance(turn, StoredMessage)]
            with self.app.batch_update():
                await self.body.remove_children(Turn)
                await self.body.mount_all([turn if isinstance(turn, Reply) else turn_of(turn) for turn in latest])
        self._update_hints()
        self.anchor()
        self.call_after_refresh(self._fill_window)

    def show_replaced(self, replies: list[Revision]) -> None:
        """Show at each reply, also at those mounted later, how many of the replaced `replies` it follows."""
        self._replaced = replies
        for before, turn in pairwise(self.turns):
            if isinstance(turn, Reply):
                of_turn = [each for each in replies if before.turn_id < each.message <= turn.turn_id]
                turn.show_earlier(sum(each.text != turn.text for each in of_turn))

    async def add(self, *turns: Turn, before: Turn | None = None) -> None:
        """Add turns at the end, or before another one."""
        if self.body.is_attached:
            await self.body.mount_all(turns, before=before)
        self._update_hints()

    async def remove_turns(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            await turn.remove()
        self._update_hints()

    def page(self, pages: int, *, far: bool = False) -> None:
        """Scroll by pages that overlap by one line, or to one end. At the last line, new text is followed again."""
        to = self.scroll_y + pages * (self.max_scroll_y if far else max(1, self.size.height - 1))
        if to >= self.max_scroll_y:
            self.anchor()
        else:
            self.scroll_to(y=to, animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value <= 0 < old_value:
            self._load_soon()

    def _fill_window(self) -> None:
        if not self.max_scroll_y:
            self._load_soon()

    def _load_soon(self) -> None:
        if self._earlier and not self._loading:
            self._loading = True
            self.run_worker(self._load_earlier(), group="earlier")

    async def _load_earlier(self) -> None:
        async with self._mounting:
            if not self.turns:  # another conversation was shown since this was asked for
                self._loading = False
                return
            first = self.turns[0]
            above = first.virtual_region.y
            latest, self._earlier = self._earlier[-EARLIER_TURNS:], self._earlier[:-EARLIER_TURNS]
            with self.app.batch_update():  # laid out once, not at each step of the mounting
                await self.body.mount_all([turn_of(message) for message in latest], before=first)
                self._update_hints()
                self.show_replaced(self._replaced)

        def keep_position() -> None:
            self.scroll_to(y=first.virtual_region.y - above, animate=False, immediate=True)
            self._loading = False
            self._fill_window()

        self.call_after_refresh(keep_position)

    def _update_hints(self) -> None:
        self.set_class(not self.turns, "-empty")
        self.set_class(bool(self._earlier), "-more")
        self.earlier.update(Content(f"↑ {len(self._earlier):,} earlier turns"))
