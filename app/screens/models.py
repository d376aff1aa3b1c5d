"""Models: which file has which role, what fits, what is loaded, and how it came to that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from redis import RedisError
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static

from app.bridge import Began, Happened
from app.model_facts import Broken, Known, read_facts
from app.widgets.figures import size
from app.widgets.history import KEPT, History, Kept
from app.widgets.memory_gauge import MemoryGauge
from app.widgets.model_table import ModelTable
from app.widgets.plan_panel import PlanPanel
from app.widgets.recommendations import Recommendations
from app.widgets.state_graph import StateGraph
from app.widgets.status_bar import StatusBar
from core.errors import CharlieError
from core.events import JobChanged, QueueChanged, StateChanged, WorkerLost, WorkerUp
from core.text import one_line
from tasks.jobs import JobKind

if TYPE_CHECKING:
    from app.client import Client
    from app.model_facts import Facts
    from app.model_state import MachineView
    from app.tui import CharlieApp
    from core.events import Memory
    from tasks.jobs import Job


class ModelsScreen(Screen[None]):
    """The roles, the memory, the state graph and its history."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012  # as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "warm", "Warm", id="models.warm", tooltip="Load the selected role's model"),
        Binding(
            "p", "plan", "Plan", id="models.plan", tooltip="Show what loading the selected role's model would take"
        ),
        Binding("u", "unload", "Unload", id="models.unload", tooltip="Unload the model and give its memory back"),
        Binding("f", "fetch", "Fetch", id="models.fetch", tooltip="Fetch the real model that is chosen for the role"),
        Binding("left", "choose(-1)", "Smaller", id="models.smaller", show=False, tooltip="Choose a smaller model"),
        Binding("right", "choose(1)", "Larger", id="models.larger", show=False, tooltip="Choose a larger model"),
        Binding(
            "escape", "stop_fetch", "Stop", id="models.stop", show=False, tooltip="Stop fetching; it goes on from there"
        ),
        Binding("r", "refresh", "Refresh", id="models.refresh", show=False, tooltip="Read the model files again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._asked = ""
        """The id of the job that was asked for here last, until the worker takes it."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="models-body", can_focus=False):
            yield ModelTable(id="roles")
            yield Static(id="details")
            yield PlanPanel(id="plan")
            yield Recommendations(id="recommended")
            yield Static(id="failure")
            yield MemoryGauge(id="gauge")
            with Container(id="machine"):
                yield StateGraph()
                with Vertical(id="past"):
                    yield History(id="history")
        yield StatusBar()
        yield Footer()

    @property
    def client(self) -> Client:
        return cast("CharlieApp", self.app).client

    def on_mount(self) -> None:
        self.query_one("#failure").display = False
        self.query_one(ModelTable).focus()
        self.watch(self.app, "view", self._reckon, init=False)
        self._read_history()

    def on_screen_resume(self) -> None:
        self.action_refresh()

    def action_refresh(self) -> None:
        self._read_files()

    @work(exclusive=True, group="files")
    async def _read_files(self) -> None:
        facts = await asyncio.to_thread(read_facts, self.client.paths)
        self.query_one(ModelTable).tell(facts)
        self._show_details()
        self._recommend()

    @work(exclusive=True, group="history")
    async def _read_history(self) -> None:
        try:
            past = await asyncio.to_thread(self.client.bus.transitions, KEPT)
        except RedisError as error:
            self._complain(f"The history cannot be read: {error}.")
            return
        self.query_one(History).fill(past)

    def on_began(self, _: Began) -> None:
        self._read_history()

    def on_happened(self, message: Happened) -> None:
        event = message.event
        if isinstance(event, Kept):
            self.query_one(History).add(event)
        if isinstance(event, StateChanged | WorkerUp | WorkerLost):
            self.query_one(PlanPanel).outdated()
        if isinstance(event, JobChanged):
            self.query_one(ModelTable).job(event)
            if event.id == self._asked and event.state != "queued":
                self._asked = ""
                self._complain("")
            if event.job == "unload" and event.state == "failed":
                self._complain(f"{event.error} {event.hint}")
        elif isinstance(event, QueueChanged) and self._asked:
            self._count_ahead()

    def _reckon(self, old: MachineView, new: MachineView) -> None:
        """What would be chosen depends on what is free."""
        if old.memory != new.memory:
            self._show_details()

    @on(OptionList.OptionHighlighted)
    def _select(self) -> None:
        self.query_one(PlanPanel).drop()
        self._show_details()
        self._recommend()

    def _recommend(self) -> None:
        """A real model, where the selected role has the starter."""
        table = self.query_one(ModelTable)
        facts = table.facts(table.selected)
        starter = isinstance(facts, Known) and facts.spec.starter
        self.query_one(Recommendations).offer(table.selected if starter else None, starter=True)

    @on(PlanPanel.Changed)
    def _show_details(self) -> None:
        """What is known of the selected model; its plan takes the place while there is one."""
        table, shown = self.query_one(ModelTable), self.query_one("#details", Static)
        shown.update(details(table.facts(table.selected), cast("CharlieApp", self.app).view.memory))
        shown.display = not self.query_one(PlanPanel).display

    def action_fetch(self) -> None:
        """Where the role has a real model already, the first press shows what else there is."""
        recommendations = self.query_one(Recommendations)
        if recommendations.role is None:
            recommendations.offer(self.query_one(ModelTable).selected, starter=False)
        else:
            recommendations.begin()

    def action_choose(self, step: int) -> None:
        self.query_one(Recommendations).choose(step)

    def action_stop_fetch(self) -> None:
        self.query_one(Recommendations).stop()

    @on(Recommendations.Fetched)
    def _fetched(self) -> None:
        self.action_refresh()

    @on(OptionList.OptionSelected)
    def action_warm(self) -> None:
        role = self.query_one(ModelTable).selected
        self._ask(lambda: self.client.warm(role))

    def action_unload(self) -> None:
        self._ask(self.client.unload)

    def action_plan(self) -> None:
        role = self.query_one(ModelTable).selected
        self.query_one(PlanPanel).begin(role)
        self._ask(lambda: self.client.plan(role))

    @work(group="ask")
    async def _ask(self, call: Callable[[], Job]) -> None:
        try:
            job = await asyncio.to_thread(call)
        except (CharlieError, RedisError) as error:
            self.query_one(PlanPanel).drop()
            self._complain(str(error))
        else:
            self._complain("")
            if job.kind is JobKind.PLAN:
                self.query_one(PlanPanel).follow(job)
            self._asked = job.id
            self._count_ahead()

    @work(exclusive=True, group="ahead")
    async def _count_ahead(self) -> None:
        """Say how many jobs come before the one that was asked for last, until the worker takes it."""
        asked = self._asked
        try:
            queue = await asyncio.to_thread(self.client.queue)
        except RedisError as error:
            self._complain(f"The queue cannot be read: {error}.")
            return
        for ahead, each in enumerate(queue):
            if each.job.id == asked == self._asked and ahead:  # it may have begun while the queue was read
                what = f"{each.job.kind} {each.job.subject}".strip().capitalize()
                self._tell(f"{what}: waiting · {ahead} ahead", "$foreground-muted")

    def _complain(self, text: str) -> None:
        self._tell(text, "$text-error")

    def _tell(self, text: str, style: str) -> None:
        failure = self.query_one("#failure", Static)
        failure.update(Content.styled(one_line(text, 400), style))
        failure.display = bool(text)


def details(facts: Facts | None, memory: Memory | None) -> Content:
    """What the header of the selected model says, and what its footprint is made of."""
    match facts:
        case None | Broken():
            return Content("")
        case Known(spec=spec):
            header = spec.header
            needs = facts.planned(memory).need if memory else facts.needs
            shape = [
                f"{header.parameters:,} weights",
                f"{header.embedding_length:,} wide",
                f"{header.heads} heads ({header.kv_heads} KV)",
                f"vocabulary {header.vocab_size:,}",
            ]
            if header.pooling:
                shape.append(f"pooling {header.pooling}")
            shape.append(one_line(header.name, 40))
            parts = [
                f"weights {size(needs.weights)}",
                f"KV cache {size(needs.kv_cache)}",
                f"compute {size(needs.compute)}",
                f"overhead {size(needs.overhead)}",
            ]
            return Content.styled(
                f"{' · '.join(shape)}\n{' + '.join(parts)} = {size(needs.total)}", "$foreground-muted"
            )
