"""The way from a starter model to a real one: what is recommended for the role, and fetching it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import work
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app.fetching import fetch
from app.widgets.figures import bar, size
from core.downloads import RECOMMENDED, Recommended, recommended
from core.errors import CharlieError
from core.memory import read_ram
from core.settings import Role
from core.text import one_line

if TYPE_CHECKING:
    from app.tui import CharlieApp

BAR = 16
LONGEST = 400
TALL = 30
"""Rows of a window that has room for all of them; a smaller one shows the chosen one alone."""


class Recommendations(Static):
    """The recommended models of a role by memory, one of which is chosen; hidden until they are offered."""

    DEFAULT_CSS = "Recommendations { height: auto; padding: 0 1; margin-top: 1; }"

    class Fetched(Message):
        """A role has another model now."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.role: Role | None = None
        self._starter = True
        self._moved: int | None = None
        """Which one was chosen with the keys; until then it is the one that suits the machine."""
        self._fetching: tuple[Role, Recommended] | None = None
        self._done = self._total = 0
        self._complaint = ""

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._draw)

    def on_resize(self) -> None:
        self._draw()

    def best(self, role: Role) -> Recommended:
        """What suits the machine: its memory is as the worker reads it, once it does, which also knows accelerators."""
        memory = cast("CharlieApp", self.app).view.memory
        if memory is None or not memory.total:
            return recommended(role, read_ram().total)
        return recommended(role, memory.total, max((device.total for device in memory.devices), default=0))

    def offer(self, role: Role | None, *, starter: bool) -> None:
        """Show what is recommended for a role, which has the starter or another; None where nothing is offered."""
        self._starter = starter
        if role != self.role:
            self.role, self._moved, self._complaint = role, None, ""
        self._draw()

    def choose(self, step: int) -> None:
        if self.role is not None and self._fetching is None:
            offered = RECOMMENDED[self.role]
            self._moved = (offered.index(self._chosen(self.role)) + step) % len(offered)
            self._draw()

    def _chosen(self, role: Role) -> Recommended:
        return self.best(role) if self._moved is None else RECOMMENDED[role][self._moved]

    def begin(self) -> None:
        """Fetch the chosen model, unless one is being fetched."""
        if self.role is not None and self._fetching is None:
            self._fetching = (self.role, self._chosen(self.role))
            self._done = self._total = 0
            self._complaint = ""
            self._draw()
            self._fetch(*self._fetching)

    def stop(self) -> None:
        self.workers.cancel_group(self, "fetch")

    @work(group="fetch", exclusive=True)
    async def _fetch(self, role: Role, model: Recommended) -> None:
        try:
            await fetch(role, model, self._tell)
        except CharlieError as error:
            self._complaint = str(error)
        else:
            self.app.notify(f"{role} has {model.file} now.", markup=False)
            self.post_message(self.Fetched())
        finally:
            self._fetching = None
            self._draw()

    def _tell(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._draw()

    def _draw(self) -> None:
        self.display = self.role is not None or self._fetching is not None
        parts = [] if self.role is None else [self._offers(self.role)]
        if self._fetching is not None:
            parts.append(self._progress(self._fetching[1]))
        if self._complaint:
            parts.append(Content.styled(one_line(self._complaint, LONGEST), "$text-error"))
        self.update(Content("\n").join(parts))

    def _offers(self, role: Role) -> Content:
        best, chosen = self.best(role), self._chosen(role)
        keys = "f fetches it" + (", ← → choose" if len(RECOMMENDED[role]) > 1 else "")
        lines = [
            Content.assemble(
                ("This is the starter model. " if self._starter else "", "$text-warning"),
                (f"{'A real one' if self._starter else 'Another one'} for {role}: {keys}", "$foreground-muted"),
            )
        ]
        for each in RECOMMENDED[role] if self.app.size.height >= TALL else (chosen,):
            name = f"{'●' if each is chosen else '○'} {each.file.removesuffix('.gguf'):<25}"
            takes = f"{size(each.file_bytes):>7} file · {size(each.ram_bytes):>7} memory"
            advice = " · suits this machine" if each is best else ""
            style = "bold" if each is chosen else ""
            lines.append(Content.assemble((name, style), (takes + advice, "$foreground-muted")))
        return Content("\n").join(lines)

    def _progress(self, model: Recommended) -> Content:
        if not self._total:
            return Content.styled(f"asking for {model.file} … Esc stops", "$foreground-muted")
        full, rest = bar(self._done / self._total, BAR)
        counted = f" {self._done / self._total:.0%}  {size(self._done)} of {size(self._total)}"
        return Content.assemble(
            f"fetching {model.file} ", (full, "$accent"), rest, counted, ("  Esc stops", "$foreground-muted")
        )
