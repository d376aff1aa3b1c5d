"""The application: modes, keys, the palette, and the way from events to what is shown."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from redis import RedisError
from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import Screen
from textual.worker import WorkerFailed, get_current_worker

from app.bridge import Began, Happened, follow
from app.declared import clashes, declared, named_bindings
from app.model_state import MachineView
from app.screens.chat import ChatScreen
from app.screens.help import HelpScreen
from app.screens.journal import JournalScreen
from app.screens.log import LogScreen
from app.screens.models import ModelsScreen
from core.errors import CharlieError
from core.settings import Role

if TYPE_CHECKING:
    from types import FrameType

    from app.client import Client
    from tasks.jobs import Job

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
SIGNALS = (signal.SIGTERM, signal.SIGHUP)
HUNG_UP_SECONDS = 3
PAUSE_SECONDS = 1.0
"""Of the keys; then nobody waits for the screen."""
COLLECT_SECONDS = (10.0, 600.0)
"""Between two collections of all garbage: at least, and at most where keys come without a pause."""
YOUNG = 1
"""The generation of objects that were made since the last look, and the ones before."""
FUNCTION_KEY = re.compile(r"f\d+")
MODES = ("chat", "journal", "models", "log")


class CharlieApp(App[None]):
    """The interface over a `Client`. `tick` mends the runtime; it is called on the main thread, some times a second.

    `notice` is told once at the start.
    """

    TITLE = "Charlie"
    CSS_PATH = "charlie.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "chat": ChatScreen,
        "journal": JournalScreen,
        "models": ModelsScreen,
        "log": LogScreen,
    }
    NOTIFICATION_TIMEOUT = 4
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Every key of this screen, and what the symbols mean"),
        Binding("f2", "mode('chat')", "Chat", id="app.chat", tooltip="Talk with the model"),
        Binding("f3", "mode('journal')", "Journal", id="app.journal", tooltip="Write, search and ask the journal"),
        Binding("f4", "mode('models')", "Models", id="app.models", tooltip="Models, memory and the state graph"),
        Binding("f5", "mode('log')", "Log", id="app.log", tooltip="What the processes have logged"),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", show=False, priority=True, tooltip="Unload, save and leave"),
    ]

    view: reactive[MachineView] = reactive(MachineView(), init=False)

    def __init__(self, client: Client, tick: Callable[[], str] | None = None, notice: str = "") -> None:
        super().__init__()
        self.client = client
        self._tick = tick
        self._notice = notice
        self._complaint = ""
        self._pressed = self._collected = time.monotonic()
        self._handlers: dict[signal.Signals, Any] = {}

    def get_key_display(self, binding: Binding) -> str:
        """Keys as they are printed on keyboards."""
        shown = super().get_key_display(binding)
        return {"esc": "Esc", "⏎": "Enter"}.get(
            shown, shown.upper() if shown[:1] == "f" and shown[1:].isdigit() else shown
        )

    def on_mount(self) -> None:
        self._dress()
        self._take_keys()
        self._obey_signals()
        self.run_worker(self._follow, thread=True, name="bridge")
        if self._tick is not None:
            self.set_interval(TICK_SECONDS, partial(self._mend, self._tick))
        if not gc.isenabled():
            self.set_interval(PAUSE_SECONDS, self._collect)
        if self._notice:
            self.notify(self._notice, severity="warning", markup=False, timeout=20)
        # No DEFAULT_MODE: from Python 3.12 on, Textual mounts its fields before its screen is on the stack, and fails.
        self.switch_mode("chat")

    def _dress(self) -> None:
        theme = self.client.settings.interface.theme
        if theme in self.available_themes:
            self.theme = theme
            return
        self.notify(f"There is no theme {theme!r}; Ctrl+P lists them.", severity="warning", markup=False)

    def _take_keys(self) -> None:
        keys = self.client.settings.interface.keys
        if unknown := sorted(keys.keys() - {each.id for _, each in named_bindings()}):
            names = ", ".join(unknown)
            self.notify(f"[interface.keys] names no action: {names}.", severity="warning", markup=False)
        for clash in clashes(keys):
            self.notify(f"[interface.keys]: {clash}.", severity="warning", markup=False)
        self.set_keymap(keys)

    def action_help_quit(self) -> None:
        """Ctrl+C, as Textual answers it, in one line."""
        for active in self.active_bindings.values():
            if active.binding.action in ("quit", "app.quit"):
                key = "+".join(part.capitalize() for part in active.binding.key.split("+"))
                self.notify(f"Do you want to quit? Press {key}.", markup=False)
                return

    def _obey_signals(self) -> None:
        """Leave in order when asked to end, or when the terminal is closed.

        These handlers run before Textual's for SIGCONT, which comes with a SIGHUP; those of the loop would not.
        """
        loop = asyncio.get_running_loop()

        def leave(number: int, _: FrameType | None) -> None:
            if number == signal.SIGHUP and not self.is_headless:
                _let_go_of_terminal()
            loop.call_soon_threadsafe(partial(self.exit, return_code=128 + number))

        self._handlers = {number: signal.signal(number, leave) for number in SIGNALS}

    def on_unmount(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def failure(self) -> Exception | None:
        """What nobody caught, if that is what ended the app."""
        error = self._exception
        return error.error if isinstance(error, WorkerFailed) and isinstance(error.error, Exception) else error

    def _fatal_error(self) -> None:
        """End, and leave it to the caller to tell: Textual would print pages, with what the person wrote in them."""
        self._close_messages_no_wait()

    def _follow(self) -> None:
        worker = get_current_worker()
        follow(self.client.bus, self.post_message, lambda: worker.is_cancelled)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self._pressed = time.monotonic()
        await super().on_event(event)

    def _collect(self) -> None:
        """Collect garbage, as whoever runs us has left it to us.

        What a second makes is gone through in some milliseconds; in what has gathered since, no key is taken for a
        tenth of a second or more, so that waits for a pause.
        """
        now = time.monotonic()
        least, most = COLLECT_SECONDS
        if now - self._collected >= (least if now - self._pressed >= PAUSE_SECONDS else most):
            gc.collect()
            self._collected = time.monotonic()
        else:
            gc.collect(YOUNG)

    def _mend(self, tick: Callable[[], str]) -> None:
        """A runtime that cannot be mended is told once, and tried again."""
        try:
            if said := tick():
                self.notify(said, severity="warning", markup=False, timeout=20)
        except (CharlieError, RedisError, OSError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("The runtime could not be mended: %s", error)
                self.notify(str(error), severity="error", markup=False)
        else:
            self._complaint = ""

    def on_began(self, message: Began) -> None:
        self.view = self.view.began(message.snapshot)
        self._pass_on(lambda: Began(message.snapshot))
        self._count_queue()

    @work(exclusive=True, group="count")
    async def _count_queue(self) -> None:
        """The snapshot does not say how long the queue is."""
        try:
            waiting, running = await asyncio.to_thread(self.client.depth)
        except RedisError as error:
            log.warning("The queue could not be read: %s", error)
            return
        self.view = self.view.counted(waiting, running)

    def on_happened(self, message: Happened) -> None:
        self.view = self.view.seen(message.event)
        self._pass_on(lambda: Happened(message.event))

    def _pass_on(self, copy: Callable[[], Happened | Began]) -> None:
        for screen in self._base_screens():
            screen.post_message(copy())

    def _base_screens(self) -> Iterator[Screen[Any]]:
        for mode in MODES:
            try:
                yield from self.get_screen_stack(mode)[:1]  # empty while the app ends
            except KeyError:  # that mode has not been visited yet
                continue

    def action_mode(self, mode: str) -> None:
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        self.switch_mode(mode)

    def action_help(self) -> None:
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        else:
            self.push_screen(HelpScreen(declared(self.screen, self.client.settings.interface.keys)))

    async def action_warm(self, role: str) -> None:
        await self._ask(partial(self.client.warm, Role(role)))

    async def action_unload(self) -> None:
        await self._ask(self.client.unload)

    async def _ask(self, call: Callable[[], Job]) -> None:
        try:
            await asyncio.to_thread(call)
        except (CharlieError, RedisError) as error:
            self.notify(str(error), severity="error", markup=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every declared action, then warming and unloading, then Textual's own that are of use here."""
        names: set[str] = set()
        for each in declared(screen, self.client.settings.interface.keys):
            if each.title not in names and each.enabled:
                names.add(each.title)
                yield SystemCommand(each.title, each.help, partial(self.run_action, each.action, each.node))
        for role in Role:
            yield SystemCommand(
                f"Warm {role}", f"Load the {role} model, unloading another", partial(self.action_warm, role)
            )
        if "Unload" not in names:
            yield SystemCommand("Unload", "Unload the model and give its memory back", self.action_unload)
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Screenshot"):
                yield command


def _let_go_of_terminal() -> None:
    """Send what is still written to nowhere: the thread that writes would die of an error, and the app wait for it.

    Should it have died already, the alarm ends the process, and the runtime's processes go with it.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    signal.alarm(HUNG_UP_SECONDS)
