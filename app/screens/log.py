"""Log: what worker, database and app have logged, in one stream."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from redis import RedisError
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Checkbox, Footer, RichLog, Select, Static

from app.log_files import SOURCES, Level, Line, Tails
from app.output import counted
from app.widgets.notice import Notice
from app.widgets.status_bar import StatusBar
from core.errors import CharlieError

if TYPE_CHECKING:
    from pathlib import Path

    from app.tui import CharlieApp

KEPT = 5000
"""Lines; older ones are in the files."""
READ_SECONDS = 0.5
TOLD_SECONDS = 8
SOURCE_WIDTH = max(len(source) for source in SOURCES)


class LogScreen(Screen[None]):
    """Follows the end unless it is scrolled up; then it says how much has come since."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "level", "Level", id="log.level", tooltip="Show only lines of the next higher level and up"),
        Binding(
            "1", "source('worker')", "Worker", id="log.worker", show=False, tooltip="Show or hide the worker's lines"
        ),
        Binding(
            "2",
            "source('database')",
            "Database",
            id="log.database",
            show=False,
            tooltip="Show or hide the database's lines",
        ),
        Binding("3", "source('app')", "App", id="log.app", show=False, tooltip="Show or hide the interface's lines"),
        Binding("end", "end", "Follow", id="log.follow", tooltip="Go to the end and follow it"),
        Binding("s", "save", "Save", id="log.save", tooltip="Save what is shown to a file"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._unseen = 0
        self._timer: Timer | None = None
        self._told: Timer | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="log-filter"):
            yield Select(
                [(f"{level.name.lower()} and up" if level > Level.DEBUG else "all levels", level) for level in Level],
                value=Level.INFO, allow_blank=False, compact=True, id="level",
            )  # fmt: skip
            for source in SOURCES:
                yield Checkbox(source, value=True, compact=True, id=source)
            yield Static(id="log-place")
        yield Static(id="not-done")
        yield RichLog(id="lines", max_lines=KEPT, auto_scroll=False, min_width=0)
        yield Notice()
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        self._tails = Tails(cast("CharlieApp", self.app).client.paths.logs)
        self.query_one("#not-done").display = False
        self._view.focus()
        self._timer = self.set_interval(READ_SECONDS, self._read)
        self.watch(self._view, "scroll_y", self._scrolled, init=False)
        self.watch(self.app, "theme", self._redraw, init=False)
        self._read()

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    def on_screen_resume(self) -> None:
        if self._timer is not None:
            self._timer.resume()

    @property
    def _view(self) -> RichLog:
        return self.query_one("#lines", RichLog)

    def _read(self) -> None:
        if not any(worker.group == "read" and worker.is_running for worker in self.workers):
            self._read_files()

    @work(group="read")
    async def _read_files(self) -> None:
        try:
            lines = await asyncio.to_thread(self._tails.read)
        except OSError as error:
            self._place(f"A log cannot be read: {error}.", "$text-error")
            return
        self._lines.extend(lines)
        shown = [line for line in lines if self._wanted(line)]
        if shown:
            self._write(shown)
        await self._count()

    async def _count(self) -> None:
        """Tell of jobs that wait for a decision, and of messages that were refused; of these there is no event."""
        client = cast("CharlieApp", self.app).client
        try:
            aside = len(await asyncio.to_thread(client.jobs.aside))
            refused, _ = await asyncio.to_thread(client.refused)
        except RedisError:  # it comes back, and is asked again
            return
        parts = [(aside, "job", " set aside"), (refused, "message", " refused")]
        told = ", ".join(counted(count, what) + how for count, what, how in parts if count)
        line = self.query_one("#not-done", Static)
        line.update(Content.styled(f"{told} · charlie ps lists them", "$text-warning"))
        line.display = bool(told)

    def _write(self, lines: Iterable[Line]) -> None:
        view, following = self._view, self._view.is_vertical_scroll_end
        for line in lines:
            view.write(self._text(line), scroll_end=False)
            self._unseen += not following
        if following:
            view.scroll_end(animate=False, x_axis=False)
        self._say_place()

    def _text(self, line: Line) -> Text:
        """A line as data: nothing in it is read as markup or obeyed by the terminal."""
        colours = self.app.theme_variables
        at = time.strftime("%H:%M:%S", time.localtime(line.at)) if line.at else " " * 8
        text = Text.assemble((f"{at}  {line.source:<{SOURCE_WIDTH}}  ", "dim"))
        style = {
            Level.DEBUG: "dim",
            Level.INFO: "",
            Level.WARNING: colours["text-warning"],
            Level.ERROR: colours["text-error"],
        }
        text.append(line.message, style=style[line.level])
        return text

    def _wanted(self, line: Line) -> bool:
        return line.level >= self._level and self.query_one(f"#{line.source}", Checkbox).value

    @property
    def _level(self) -> Level:
        return cast("Level", self.query_one("#level", Select).value)

    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _redraw(self) -> None:
        self._view.clear()
        self._unseen = 0
        for line in self._lines:
            if self._wanted(line):
                self._view.write(self._text(line), scroll_end=False)
        self.action_end()

    def _scrolled(self) -> None:
        if self._view.is_vertical_scroll_end and self._unseen:
            self._unseen = 0
        self._say_place()

    def _say_place(self) -> None:
        if self._view.is_vertical_scroll_end:
            self._place("following the end", "$foreground-muted")
        else:
            self._place(f"paused · {self._unseen:,} new below", "$text-warning")

    def _place(self, text: str, style: str) -> None:
        self.query_one("#log-place", Static).update(Content.styled(text, style))

    def action_level(self) -> None:
        levels = list(Level)
        following = levels[(levels.index(self._level) + 1) % len(levels)]
        self.query_one("#level", Select).value = following

    def action_source(self, source: str) -> None:
        self.query_one(f"#{source}", Checkbox).toggle()

    def action_end(self) -> None:
        self._unseen = 0
        self._view.scroll_end(animate=False, x_axis=False)
        self.call_after_refresh(self._say_place)

    async def action_save(self) -> None:
        """Write what is shown to a file of its own in the log folder."""
        folder = cast("CharlieApp", self.app).client.paths.logs
        path = folder / f"saved-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        text = "".join(f"{line.source:<{SOURCE_WIDTH}}  {line.text}\n" for line in self._lines if self._wanted(line))
        try:
            await asyncio.to_thread(_save, path, text)
        except OSError as error:
            self._tell(CharlieError(f"Not saved: {error}."))
        else:
            self._tell(f"Saved as {path}")

    def _tell(self, told: str | CharlieError) -> None:
        """Say in a line of its own how the saving ended, for some seconds; the end stays in view if it is followed."""
        notice, following = self.query_one(Notice), self._view.is_vertical_scroll_end
        if isinstance(told, CharlieError):
            notice.fail(told)
        else:
            notice.say(told)
        if following:
            self.call_after_refresh(self.action_end)
        if self._told is not None:
            self._told.stop()
        self._told = self.set_timer(TOLD_SECONDS, notice.clear)


def _save(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
