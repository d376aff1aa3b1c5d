"""The models recommended for a role, and downloading one of them."""

from __future__ import annotations

from textual import work
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from app.tui.host import host
from app.tui.models.download import fetch
from core.errors import CharlieError
from core.figures import bar, size
from core.memory.readings import read_ram
from core.model_files.recommended import RECOMMENDED, Recommended, recommended
from core.roles import Role
from core.text import one_line

BAR = 16
LONGEST = 400
ROWS_FOR_ALL = 30
"""A lower window shows only the chosen model."""


class Recommendations(Static):
    """The recommended models of a role by memory, one of them chosen; hidden until they are offered."""

    DEFAULT_CSS = "Recommendations { height: auto; padding: 0 1; margin-top: 1; }"

    class Fetched(Message):
        """A role has a new model."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.role: Role | None = None
        self._bundled = True
        self._index: int | None = None
        """Index of the model chosen with the keys; None for the one that suits the machine."""
        self._downloading: tuple[Role, Recommended] | None = None
        self._done = self._total = 0
        self._error = ""

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._draw)

    def on_resize(self) -> None:
        self._draw()

    def best(self, role: Role) -> Recommended:
        """The model that suits the machine, by the worker's reading, which includes GPUs, once there is one."""
        memory = host(self).view.memory
        if memory is None or not memory.total:
            return recommended(role, read_ram().total)
        return recommended(role, memory.total, max((device.total for device in memory.devices), default=0))

    def offer(self, role: Role | None, *, bundled: bool) -> None:
        """Show the models for a role, which has the bundled model, another one or none; None hides them."""
        self._bundled = bundled
        if role != self.role:
            self.role, self._index, self._error = role, None, ""
        self._draw()

    def choose(self, step: int) -> None:
        if self.role is not None and self._downloading is None:
            offered = RECOMMENDED[self.role]
            self._index = (offered.index(self._chosen(self.role)) + step) % len(offered)
            self._draw()

    def _chosen(self, role: Role) -> Recommended:
        return self.best(role) if self._index is None else RECOMMENDED[role][self._index]

    def download(self) -> None:
        """Download the chosen model, unless a download runs."""
        if self.role is not None and self._downloading is None:
            self._downloading = (self.role, self._chosen(self.role))
            self._done = self._total = 0
            self._error = ""
            self._draw()
            self._fetch(*self._downloading)

    def stop(self) -> None:
        self.workers.cancel_group(self, "fetch")

    @work(group="fetch", exclusive=True)
    async def _fetch(self, role: Role, model: Recommended) -> None:
        try:
            await fetch(role, model, self._show_progress)
        except CharlieError as error:
            self._error = str(error)
        else:
            self.app.notify(f"{role} now uses {model.file}.", markup=False)
            self.post_message(self.Fetched())
        finally:
            self._downloading = None
            self._draw()

    def _show_progress(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._draw()

    def _draw(self) -> None:
        self.display = self.role is not None or self._downloading is not None
        parts = [] if self.role is None else [self._offers(self.role)]
        if self._downloading is not None:
            parts.append(self._progress(self._downloading[1]))
        if self._error:
            parts.append(Content.styled(one_line(self._error, LONGEST), "$text-error"))
        self.update(Content("\n").join(parts))

    def _offers(self, role: Role) -> Content:
        best, chosen = self.best(role), self._chosen(role)
        keys = "f fetches it" + (", ← → choose" if len(RECOMMENDED[role]) > 1 else "")
        lines = [
            Content.assemble(
                ("This model is small and weak. " if self._bundled else "", "$text-warning"),
                (f"{'A larger one' if self._bundled else 'Another one'} for {role}: {keys}", "$foreground-muted"),
            )
        ]
        for each in RECOMMENDED[role] if self.app.size.height >= ROWS_FOR_ALL else (chosen,):
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
        figures = f" {self._done / self._total:.0%}  {size(self._done)} of {size(self._total)}"
        return Content.assemble(
            f"fetching {model.file} ", (full, "$accent"), rest, figures, ("  Esc stops", "$foreground-muted")
        )
