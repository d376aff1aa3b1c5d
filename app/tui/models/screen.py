"""Models: the file of each role, its memory needs, the loaded model, and the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from redis import RedisError
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static

from app.model_facts import ModelFacts, UnusableModel, UsableModel, read_facts
from app.plan_text import PARTS, parts
from app.tui.bridge import Began, Happened
from app.tui.host import HasClient, host
from app.tui.machine_view import MachineView
from app.tui.models.history import KEPT, History
from app.tui.models.memory_gauge import MemoryGauge
from app.tui.models.model_table import ModelTable
from app.tui.models.plan_panel import PlanPanel
from app.tui.models.state_graph import StateGraph
from app.tui.offer_list import OfferList
from app.tui.shared.coalesced import Coalesced
from app.tui.shared.status_bar import StatusBar
from app.tui.shared.steady_footer import SteadyFooter
from core.errors import CharlieError
from core.events.types import JobChanged, JobKind, JobState, OfMachine, QueueChanged, Receipt
from core.memory.types import Memory
from core.model_files import configure
from core.model_files.bundled import ORIGINS
from core.text import one_line
from tasks.jobs.records import Job


class ModelsScreen(Screen[None], HasClient):
    """The roles, the memory, the state graph and its history."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012  # as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "warm", "Warm", id="models.warm", tooltip="Load the selected role's model"),
        Binding(
            "p", "plan", "Plan", id="models.plan", tooltip="Show the memory plan for loading the selected role's model"
        ),
        Binding("u", "unload", "Unload", id="models.unload", tooltip="Unload the selected role's model"),
        Binding("U", "unload_all", "Unload all", id="models.unload_all", show=False, tooltip="Unload all models"),
        Binding("k", "pin", "Pin", id="models.pin", show=False, tooltip="Pin the selected role's model, or unpin it"),
        Binding("f", "fetch", "Fetch", id="models.fetch", tooltip="Download the model chosen for the role"),
        Binding("left", "choose(-1)", "Smaller", id="models.smaller", show=False, tooltip="Choose a smaller model"),
        Binding("right", "choose(1)", "Larger", id="models.larger", show=False, tooltip="Choose a larger model"),
        Binding("r", "refresh", "Refresh", id="models.refresh", show=False, tooltip="Read the model files again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._requested = ""
        """Id of the last job requested here, until the worker takes it."""
        self._ahead = Coalesced(
            self, self._count_ahead, lambda error: self._show_error(f"The queue cannot be read: {error}.")
        )

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="models-body", can_focus=False):
            yield ModelTable(id="roles")
            yield Static(id="details")
            yield PlanPanel(id="plan")
            yield OfferList("f fetches a model for the role · ← → choose another", id="offers")
            yield Static(id="failure")
            yield MemoryGauge(id="gauge")
            with Container(id="machine"):
                yield StateGraph()
                with Vertical(id="past"):
                    yield History(id="history")
        yield StatusBar()
        yield SteadyFooter()

    def on_mount(self) -> None:
        self.query_one("#failure").display = False
        self.query_one(ModelTable).focus()
        self.watch(self.app, "view", self._memory_changed, init=False)
        self._read_history()

    def on_screen_resume(self) -> None:
        self.action_refresh()

    @work(exclusive=True, group="files")
    async def action_refresh(self) -> None:
        facts = await asyncio.to_thread(read_facts, self.client.paths)
        self.query_one(ModelTable).set_facts(facts)
        self._show_details()
        self._offer()

    @work(exclusive=True, group="history")
    async def _read_history(self) -> None:
        try:
            past = await asyncio.to_thread(self.client.bus.transitions, KEPT)
        except RedisError as error:
            self._show_error(f"The history cannot be read: {error}.")
            return
        self.query_one(History).fill(past)

    def on_began(self, _: Began) -> None:
        self._read_history()

    def on_happened(self, message: Happened) -> None:
        event = message.event
        if isinstance(event, OfMachine):
            self.query_one(History).add(event)
            if not isinstance(event, Receipt):
                self.query_one(PlanPanel).outdated()
        if isinstance(event, JobChanged):
            self.query_one(ModelTable).handle_job(event)
            if event.id == self._requested and event.state != "queued":
                self._requested = ""
                self._show_error("")
            if event.job is JobKind.UNLOAD and event.state is JobState.FAILED:
                self._show_error(f"{event.error} {event.hint}")
        elif isinstance(event, QueueChanged) and self._requested:
            self._ahead.request()

    def _memory_changed(self, old: MachineView, new: MachineView) -> None:
        """The planned context and layers depend on the free memory, the files on a download."""
        if old.fetch and not new.fetch:
            self.action_refresh()
        if old.memory != new.memory:
            self._show_details()

    @on(OptionList.OptionHighlighted)
    def _select(self) -> None:
        self.query_one(PlanPanel).hide()
        self._show_details()
        self._offer()

    def on_resize(self) -> None:
        self.query_one(OfferList).on_resize()  # it shows more offers in a higher window

    def _offer(self) -> None:
        self.query_one(OfferList).offer(self.query_one(ModelTable).selected)

    @on(PlanPanel.Changed)
    def _show_details(self) -> None:
        """Show the details of the selected model, unless its plan is shown."""
        table, shown = self.query_one(ModelTable), self.query_one("#details", Static)
        shown.update(details(table.facts(table.selected), host(self).view.memory))
        shown.display = not self.query_one(PlanPanel).display

    def action_fetch(self) -> None:
        self.query_one(OfferList).fetch()

    def action_choose(self, step: int) -> None:
        self.query_one(OfferList).choose(step)

    @on(OptionList.OptionSelected)
    def action_warm(self) -> None:
        role = self.query_one(ModelTable).selected
        self._request(lambda: self.client.warm(role))

    def action_unload(self) -> None:
        role = self.query_one(ModelTable).selected
        self._request(lambda: self.client.unload(role))

    def action_unload_all(self) -> None:
        self._request(self.client.unload)

    @work(group="pin")
    async def action_pin(self) -> None:
        table = self.query_one(ModelTable)
        facts = table.facts(table.selected)
        if not isinstance(facts, UsableModel):
            return
        try:
            await asyncio.to_thread(configure.pin, self.client.paths, facts.role, not facts.pinned)
        except CharlieError as error:
            self._show_error(str(error))
        self.action_refresh()

    def action_plan(self) -> None:
        role = self.query_one(ModelTable).selected
        self.query_one(PlanPanel).begin(role)
        self._request(lambda: self.client.plan(role))

    @work(group="ask")
    async def _request(self, call: Callable[[], Job]) -> None:
        try:
            job = await asyncio.to_thread(call)
        except (CharlieError, RedisError) as error:
            self.query_one(PlanPanel).hide()
            self._show_error(str(error))
        else:
            self._show_error("")
            if job.kind is JobKind.PLAN:
                self.query_one(PlanPanel).follow(job)
            self._requested = job.id
            self._ahead.request()

    async def _count_ahead(self) -> None:
        """Show how many jobs are ahead of the last requested one, until the worker takes it."""
        requested = self._requested
        for each in await asyncio.to_thread(self.client.positions, [requested]):
            if requested == self._requested and each.ahead:  # it may have started while the queue was read
                what = f"{each.job.kind} {each.job.subject}".strip().capitalize()
                self._show_message(f"{what}: waiting · {each.ahead} ahead", "$foreground-muted")

    def _show_error(self, text: str) -> None:
        self._show_message(text, "$text-error")

    def _show_message(self, text: str, style: str) -> None:
        failure = self.query_one("#failure", Static)
        failure.update(Content.styled(one_line(text, 400), style))
        failure.display = bool(text)


def details(facts: ModelFacts | None, memory: Memory | None) -> Content:
    """Facts from the model file's header, and the parts of its memory needs."""
    match facts:
        case None | UnusableModel():
            return Content("")
        case UsableModel(spec=spec):
            header = spec.header
            needs = facts.planned(memory).need if memory else facts.needs
            shape = [
                one_line(spec.path.name, 48),
                f"{header.parameters:,} weights",
                f"{header.embedding_length:,} wide",
                f"{header.heads} heads ({header.kv_heads} KV)",
                f"vocabulary {header.vocab_size:,}",
            ]
            if header.pooling:
                shape.append(f"pooling {header.pooling}")
            amounts = {name: getattr(needs, name) for name in PARTS}
            lines = [" · ".join(shape), parts(amounts), *([ORIGINS[spec.role]] if spec.bundled else [])]
            return Content.styled("\n".join(lines), "$foreground-muted")
