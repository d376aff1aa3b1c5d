"""The turns of one conversation. Follows the end while the end is in view, and mounts only the latest turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from app.widgets.reply import Reply
from app.widgets.turn import Mine, Turn
from core.library import StoredMessage

if TYPE_CHECKING:
    from app.tui import CharlieApp

MOUNTED = 50
"""Turns that are mounted at first."""
MORE = 20
"""Turns that are mounted each time the top is reached; no key is answered meanwhile."""
INVITATION = "Say something, and Charlie answers.\nNothing of it leaves this machine."
UNCONFIGURED = "No model is configured: the starter model answers, which is very small. F4 shows the way to a real one."


def turn_of(message: StoredMessage) -> Turn:
    return Mine(message) if message.role == "user" else Reply.of(message)


class Transcript(VerticalScroll, can_focus=False):
    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._earlier: list[StoredMessage] = []
        self._loading = False
        self.paper = Vertical(classes="paper")
        self.invitation = Static(id="invitation")
        self.earlier = Static(id="earlier")

    def compose(self) -> ComposeResult:
        # At least as high as the view: an anchored widget would push less than that out of its place.
        with self.paper:
            yield self.invitation
            yield self.earlier

    def on_mount(self) -> None:
        self._tell()
        self.anchor()

    @property
    def turns(self) -> list[Turn]:
        """The turns that are mounted, oldest first."""
        return [child for child in self.paper.children if isinstance(child, Turn)]

    @property
    def replies(self) -> list[Reply]:
        return [turn for turn in self.turns if isinstance(turn, Reply)]

    def reply(self, job_id: str) -> Reply | None:
        return next((reply for reply in self.replies if reply.turn_id == job_id), None)

    async def show(self, turns: Sequence[StoredMessage | Reply]) -> None:
        """Replace everything by these turns, oldest first, and go to their end."""
        if not self.paper.is_attached:  # the interface ends
            return
        latest = turns[-MOUNTED:]
        self._earlier = [turn for turn in turns[:-MOUNTED] if isinstance(turn, StoredMessage)]
        with self.app.batch_update():
            await self.paper.remove_children(Turn)
            await self.paper.mount_all([turn if isinstance(turn, Reply) else turn_of(turn) for turn in latest])
        self._tell()
        self.anchor()

    async def add(self, *turns: Turn, before: Turn | None = None) -> None:
        """Add turns at the end, or before another one."""
        if self.paper.is_attached:
            await self.paper.mount_all(turns, before=before)
        self._tell()

    async def take_out(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            await turn.remove()
        self._tell()

    def page(self, pages: int, *, far: bool = False) -> None:
        """Scroll by pages that overlap by a line, or to one end; at the end, what comes is followed again."""
        to = self.scroll_y + pages * (self.max_scroll_y if far else max(1, self.size.height - 1))
        if to >= self.max_scroll_y:
            self.anchor()
        else:
            self.scroll_to(y=to, animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value <= 0 < old_value and self._earlier and not self._loading:
            self._loading = True
            self.run_worker(self._load_earlier(), group="earlier")

    async def _load_earlier(self) -> None:
        first = self.turns[0]
        above = first.virtual_region.y
        latest, self._earlier = self._earlier[-MORE:], self._earlier[:-MORE]
        await self.paper.mount_all([turn_of(message) for message in latest], before=first)
        self._tell()

        def stay() -> None:
            self.scroll_to(y=first.virtual_region.y - above, animate=False, immediate=True)
            self._loading = False

        self.call_after_refresh(stay)

    def _tell(self) -> None:
        configured = cast("CharlieApp", self.app).client.settings.instruct.file is not None
        self.invitation.update(
            Content(INVITATION) if configured else Content.assemble(INVITATION, "\n\n", (UNCONFIGURED, "dim"))
        )
        self.set_class(not self.turns, "-empty")
        self.set_class(bool(self._earlier), "-more")
        self.earlier.update(Content(f"↑ {len(self._earlier):,} earlier turns"))
