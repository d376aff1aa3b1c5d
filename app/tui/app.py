"""The application: its modes, keys and palette; it passes the events of the bus to the screens."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property, partial
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import var
from textual.screen import Screen
from textual.worker import WorkerCancelled, get_current_worker

from app.tui.bridge import Began, Happened, follow
from app.tui.chat.screen import ChatScreen
from app.tui.fetching import models_command
from app.tui.help.screen import HelpScreen
from app.tui.key_pauses import PAUSE_SECONDS, KeyPauses
from app.tui.keys import clashes, named_bindings, shortcuts
from app.tui.machine_view import Fetch, MachineView
from app.tui.opening import Opened, import_screens, make_screen
from app.tui.shared.notice import failures, in_words
from app.tui.textual_fixes import QuietApp
from core.errors import CharlieError
from core.roles import Role
from tasks.jobs.records import Job

if TYPE_CHECKING:
    from app.client import Client
    from core.model_files.catalogue import CatalogueModel

log = logging.getLogger(__name__)

STEP_SECONDS = 0.01
TICK_SECONDS = 0.25
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGINT too: asyncio would cancel the app at the first and break its loop at the second, in which a thread waits."""
HUNG_UP_SECONDS = 3


class CharlieApp(QuietApp):
    """The interface over a `Client`, or over what opens one: that is called once the first screen is drawn."""

    TITLE = "Charlie"
    CSS_PATH = ["charlie.tcss", "chat/chat.tcss"]  # noqa: RUF012  # as Textual declares it
    """The chat's too: parsed with the screen, they would be parsed again."""
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "chat": ChatScreen,
        "journal": partial(make_screen, "journal"),
        "models": partial(make_screen, "models"),
        "log": partial(make_screen, "log"),
    }
    NOTIFICATION_TIMEOUT = 4
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="List the keys of this screen and the symbols"),
        Binding("f2", "mode('chat')", "Chat", id="app.chat", tooltip="Chat with the model"),
        Binding("f3", "mode('journal')", "Journal", id="app.journal", tooltip="Write, search and ask the journal"),
        Binding("f4", "mode('models')", "Models", id="app.models", tooltip="Show models, memory and the state graph"),
        Binding("f5", "mode('log')", "Log", id="app.log", tooltip="Show the log of all processes"),
        Binding(
            "f6",
            "fetch",
            "Fetch",
            id="app.fetch",
            show=False,
            priority=True,
            tooltip="Fetch what is offered, or stop that",
        ),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", show=False, priority=True, tooltip="Unload, save and leave"),
    ]

    view: var[MachineView] = var(MachineView(), init=False)
    """Not reactive: that would draw the whole screen at each event. Widgets watch it and draw themselves."""

    def __init__(self, client: Client | Callable[[], Opened], tick: Callable[[], str] | None = None) -> None:
        super().__init__()
        self._open = client if callable(client) else partial(Opened, client, tick)
        self._usable = not callable(client)
        """Whether `client` does not block, and its settings are in use."""
        self.last_words: list[str] = []
        self._reported = ""
        self._key_pauses = KeyPauses(self)
        self._drawn = asyncio.Event()
        self._handlers: dict[signal.Signals, Any] = {}

    def get_key_display(self, binding: Binding) -> str:
        """The names that are printed on keyboards."""
        shown = super().get_key_display(binding)
        return {"esc": "Esc", "⏎": "Enter"}.get(
            shown, shown.upper() if shown[:1] == "f" and shown[1:].isdigit() else shown
        )

    @cached_property
    def _opened(self) -> Future[Opened]:
        return ThreadPoolExecutor(1, "open").submit(self._open)

    @property
    def client(self) -> Client:
        """Blocks while it is opened, a part of a second."""
        return self._opened.result().client

    async def opened(self) -> None:
        await self.drawn()
        await asyncio.wrap_future(self._opened)

    async def drawn(self) -> None:
        await self._drawn.wait()

    def post_display_hook(self) -> None:
        """Let the start go on: the prompt is on the screen, or a person has gone to another one already."""
        if self._drawn.is_set() or self.current_mode not in self.MODES:
            return
        if not isinstance(self.screen, ChatScreen) or self.screen.view.prompt.region:
            self._drawn.set()

    def on_mount(self) -> None:
        self._handle_signals()
        if self._usable:
            self._use_settings()
        self._start()
        if not gc.isenabled():
            self.set_interval(PAUSE_SECONDS, self._key_pauses.collect)
        # Not DEFAULT_MODE: from Python 3.12, Textual would mount fields before their screen is on the stack, and fail.
        self.switch_mode("chat")

    def _use_settings(self) -> None:
        theme = self.client.settings.interface.theme
        if theme in self.available_themes:
            self.theme = theme
        else:
            self.notify(f"There is no theme {theme!r}; Ctrl+P lists them.", severity="warning", markup=False)
        self._apply_keymap()

    def _apply_keymap(self) -> None:
        if not (keys := self.client.settings.interface.keys):
            return
        import_screens()
        if unknown := sorted(keys.keys() - {each.id for _, each in named_bindings()}):
            names = ", ".join(unknown)
            self.notify(f"[interface.keys] names no action: {names}.", severity="warning", markup=False)
        for clash in clashes(keys):
            self.notify(f"[interface.keys]: {clash}.", severity="warning", markup=False)
        self.set_keymap(keys)

    def action_help_quit(self) -> None:
        """Answer Ctrl+C as Textual does, but in one line."""
        for active in self.active_bindings.values():
            if active.binding.action in ("quit", "app.quit"):
                key = "+".join(part.capitalize() for part in active.binding.key.split("+"))
                self.notify(f"Do you want to quit? Press {key}.", markup=False)
                return

    def _handle_signals(self) -> None:
        """Leave in order on SIGINT and SIGTERM, or when the terminal is closed.

        A SIGCONT follows a SIGHUP, and Textual would start a second thread that reads, which nothing ends. These
        handlers run before Textual's for SIGCONT; handlers of the loop would not.
        """
        loop = asyncio.get_running_loop()

        def leave(number: int, _: FrameType | None) -> None:
            if number == signal.SIGHUP and not self.is_headless:
                signal.signal(signal.SIGCONT, lambda *_: None)
                _detach_terminal()
            loop.call_soon_threadsafe(partial(self.exit, return_code=128 + number))

        self._handlers = {number: signal.signal(number, leave) for number in SIGNALS}

    def on_unmount(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _follow(self) -> None:
        worker = get_current_worker()
        follow(self.client.bus, self.post_message, lambda: worker.is_cancelled or not self.is_running)

    async def on_event(self, event: events.Event) -> None:
        await super().on_event(event)
        if isinstance(event, events.Key):
            self._key_pauses.pressed()

    def between_keys(self, call: Callable[[], object]) -> None:
        self._key_pauses.between_keys(call)

    @work
    async def _start(self) -> None:
        """Open the client and take the steps of the runtime's start. A failure ends the app."""
        await self.opened()
        opened = self._opened.result()
        if not self._usable:
            self._use_settings()
            self._usable = True
        self.run_worker(self._follow, thread=True, name="bridge")
        if opened.starting is not None:
            with closing(opened.starting):
                for message in opened.starting:
                    self._warn(message)
                    await asyncio.sleep(STEP_SECONDS)
        if opened.tick is not None:
            self.set_interval(TICK_SECONDS, partial(self._repair, opened.tick))

    def _warn(self, message: str) -> None:
        if message:
            self.notify(message, severity="warning", markup=False, timeout=20)

    def _repair(self, tick: Callable[[], str]) -> None:
        """Let the runtime repair itself. Report a failure once, and try again at the next tick."""
        try:
            self._warn(tick())
        except (*failures(), OSError) as error:
            if str(error) != self._reported:
                self._reported = str(error)
                log.warning("The runtime could not be repaired: %s", error)
                self.notify(str(error), severity="error", markup=False)
        else:
            self._reported = ""

    def on_began(self, message: Began) -> None:
        self.view = self.view.began(message.snapshot)
        self._pass_on(lambda: Began(message.snapshot))
        self._count_queue()

    @work(exclusive=True, group="count")
    async def _count_queue(self) -> None:
        """Read the length of the queue, which the snapshot does not have."""
        try:
            waiting, running = await asyncio.to_thread(self.client.depth)
        except failures() as error:
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
        for mode in self.MODES:
            try:
                yield from self.get_screen_stack(mode)[:1]  # empty while the app is ending
            except KeyError:  # this mode has not been visited yet
                continue

    def action_mode(self, mode: str) -> None:
        if not self._usable:  # the screen would block keys until `client` is there
            self.set_timer(STEP_SECONDS, partial(self.action_mode, mode))
            return
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        self.switch_mode(mode)

    def action_help(self) -> None:
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        else:
            self.push_screen(HelpScreen(shortcuts(self.screen, self.client.settings.interface.keys)))

    def action_trash(self) -> None:
        self.push_screen(make_screen("trash"))

    def action_fetch(self) -> None:
        """Stop the download, or begin one of what the chat offers."""
        if self.view.fetch is not None:
            self.workers.cancel_group(self, "fetch")
        elif isinstance(self.screen, ChatScreen):
            self.screen.first_run.fetch()

    @work(group="fetch")
    async def fetch(self, role: Role, model: CatalogueModel) -> None:
        """Download a model, unless a download runs; the next job of its role uses it."""
        if self.view.fetch is not None:
            return

        def progress(line: dict[str, Any]) -> None:
            share = round(line["done"] / line["total"], 3) if line.get("total") else None
            if self.view.fetch is not None and share not in (None, self.view.fetch.share):
                self.view = replace(self.view, fetch=Fetch(model.name, share))

        self.view = replace(self.view, fetch=Fetch(model.name))
        try:
            await models_command(["pull", role, "--repo", model.repo, "--file", model.file, "--json"], progress)
            self.notify(f"{model.name} is there: the next message uses it.", markup=False)
        except CharlieError as error:
            self.notify(str(error), severity="error", markup=False, timeout=20)
        finally:
            self.view = replace(self.view, fetch=None)

    async def action_quit(self) -> None:
        if fetching := self.view.fetch:
            self.last_words.append(f"{fetching.name} is not fetched yet; fetching it again goes on from there.")
            for worker in self.workers.cancel_group(self, "fetch"):
                with suppress(WorkerCancelled):
                    await worker.wait()
        await super().action_quit()

    async def action_warm(self, role: str) -> None:
        await self._ask(partial(self.client.warm, Role(role)))

    async def action_unload(self) -> None:
        await self._ask(self.client.unload)

    async def _ask(self, call: Callable[[], Job]) -> None:
        try:
            await asyncio.to_thread(call)
        except failures() as error:
            self.notify(in_words(error), severity="error", markup=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """All actions that have keys, then warming and unloading, then the useful ones of Textual."""
        names: set[str] = set()
        for each in shortcuts(screen, self.client.settings.interface.keys):
            if each.title not in names and each.enabled:
                names.add(each.title)
                yield SystemCommand(each.title, each.help, partial(self.run_action, each.action, each.node))
        for role in Role:
            yield SystemCommand(f"Warm {role}", f"Load the {role} model", partial(self.action_warm, role))
        if "Unload" not in names:
            yield SystemCommand("Unload", "Unload all models and free their memory", self.action_unload)
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Screenshot"):
                yield command


def _detach_terminal() -> None:
    """Send output to /dev/null: an error would end the thread that writes, and the app would wait for it for ever.

    If that thread has ended already, the alarm ends the process, and the processes of the runtime end with it.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    signal.alarm(HUNG_UP_SECONDS)
