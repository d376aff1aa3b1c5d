"""Log: the lines of worker, database and app in one stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import ClassVar, cast

from redis import RedisError
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Checkbox, RichLog, Select, Static

from app.tui.host import host
from app.tui.log.log_files import SOURCES, Level, Line, Source, Tails
from app.tui.shared.notice import Notice
from app.tui.shared.status_bar import StatusBar
from app.tui.shared.steady_footer import SteadyFooter
from core.errors import CharlieError
from core.figures import clock, counted, file_stamp

KEPT = 5000
"""Lines; older ones are in the files."""
READ_SECONDS = 0.5
NOTICE_SECONDS = 8
SOURCE_WIDTH = max(len(source) for source in SOURCES)


class LogScreen(Screen[None]):
    """Follows the end, unless it is scrolled up: then it counts the new lines below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "level", "Level", id="log.level", tooltip="Show only lines of the next higher level and above"),
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
        Binding("s", "save", "Save", id="log.save", tooltip="Save the shown lines to a file"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._unseen = 0
        self._timer: Timer | None = None
        self._notice_timer: Timer | None = None
        # Kept here: a read can end when these have left the screen, where nothing would find them.
        self._level = Select(
            [(f"{level.name.lower()} and up" if level > Level.DEBUG else "all levels", level) for level in Level],
            value=Level.INFO, allow_blank=False, compact=True, id="level",
        )  # fmt: skip
        self._sources = {source: Checkbox(source, value=True, compact=True, id=source) for source in SOURCES}
        self._position = Static(id="log-position")
        self._problems = Static(id="problems")
        self._problems.display = False
        self._view = RichLog(id="lines", max_lines=KEPT, auto_scroll=False, min_width=0)

    def compose(self) -> ComposeResult:
        with Horizontal(id="log-filter"):
            yield self._level
            yield from self._sources.values()
            yield self._position
        yield self._problems
        yield self._view
        yield Notice()
        yield StatusBar()
        yield SteadyFooter()

    def on_mount(self) -> None:
        self._tails = Tails(host(self).client.paths.logs)
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

    def _read(self) -> None:
        if not any(worker.group == "read" and worker.is_running for worker in self.workers):
            self._read_files()

    @work(group="read")
    async def _read_files(self) -> None:
        try:
            lines = await asyncio.to_thread(self._tails.read)
        except OSError as error:
            self._show_position(f"A log cannot be read: {error}.", "$text-error")
            return
        self._lines.extend(lines)
        shown = [line for line in lines if self._is_shown(line)]
        if shown:
            self._write(shown)
        await self._count_problems()

    async def _count_problems(self) -> None:
        """Show how many jobs are parked and how many messages were refused: there are no events for these."""
        client = host(self).client
        try:
            parked = len(await asyncio.to_thread(client.jobs.parked))
            refused, _ = await asyncio.to_thread(client.refused)
        except RedisError:  # asked again at the next read
            return
        parts = [(parked, "job", " parked"), (refused, "message", " refused")]
        counts = ", ".join(counted(count, what) + how for count, what, how in parts if count)
        self._problems.update(Content.styled(f"{counts} · charlie ps lists them", "$text-warning"))
        self._problems.display = bool(counts)

    def _write(self, lines: Iterable[Line]) -> None:
        view, following = self._view, self._view.is_vertical_scroll_end
        for line in lines:
            view.write(self._text(line), scroll_end=False)
            self._unseen += not following
        if following:
            view.scroll_end(animate=False, x_axis=False)
        self._update_position()

    def _text(self, line: Line) -> Text:
        """A line as plain text: markup in it is not interpreted."""
        colours = self.app.theme_variables
        at = clock(line.at) if line.at else " " * 8
        text = Text.assemble((f"{at}  {line.source:<{SOURCE_WIDTH}}  ", "dim"))
        style = {
            Level.DEBUG: "dim",
            Level.INFO: "",
            Level.WARNING: colours["text-warning"],
            Level.ERROR: colours["text-error"],
        }
        text.append(line.message, style=style[line.level])
        return text

    def _is_shown(self, line: Line) -> bool:
        return line.level >= cast("Level", self._level.value) and self._sources[line.source].value

    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _redraw(self) -> None:
        self._view.clear()
        self._unseen = 0
        for line in self._lines:
            if self._is_shown(line):
                self._view.write(self._text(line), scroll_end=False)
        self.action_end()

    def _scrolled(self) -> None:
        if self._view.is_vertical_scroll_end and self._unseen:
            self._unseen = 0
        self._update_position()

    def _update_position(self) -> None:
        if self._view.is_vertical_scroll_end:
            self._show_position("following the end", "$foreground-muted")
        else:
            self._show_position(f"paused · {self._unseen:,} new below", "$text-warning")

    def _show_position(self, text: str, style: str) -> None:
        self._position.update(Content.styled(text, style))

    def action_level(self) -> None:
        levels = list(Level)
        self._level.value = levels[(levels.index(cast("Level", self._level.value)) + 1) % len(levels)]

    def action_source(self, source: Source) -> None:
        self._sources[source].toggle()

    def action_end(self) -> None:
        self._unseen = 0
        self._view.scroll_end(animate=False, x_axis=False)
        self.call_after_refresh(self._update_position)

    async def action_save(self) -> None:
        """Write the shown lines to a new file in the log folder."""
        folder = host(self).client.paths.logs
        path = folder / f"saved-{file_stamp()}.txt"
        text = "".join(f"{line.source:<{SOURCE_WIDTH}}  {line.text}\n" for line in self._lines if self._is_shown(line))
        try:
            await asyncio.to_thread(path.write_text, text, encoding="utf-8")
        except OSError as error:
            self._show_result(CharlieError(f"Not saved: {error}."))
        else:
            self._show_result(f"Saved as {path}")

    def _show_result(self, result: str | CharlieError) -> None:
        """Show the result of saving for some seconds; a followed end stays in view."""
        notice, following = self.query_one(Notice), self._view.is_vertical_scroll_end
        if isinstance(result, CharlieError):
            notice.fail(result)
        else:
            notice.say(result)
        if following:
            self.call_after_refresh(self.action_end)
        if self._notice_timer is not None:
            self._notice_timer.stop()
        self._notice_timer = self.set_timer(NOTICE_SECONDS, notice.clear)
