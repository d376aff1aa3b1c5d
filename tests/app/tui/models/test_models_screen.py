from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from app.client import Client
from app.model_facts import UnusableModel, UsableModel, read_facts
from app.tui.app import CharlieApp
from app.tui.machine_view import MachineView
from app.tui.models.history import History
from app.tui.models.memory_gauge import gauge
from app.tui.models.model_table import ModelTable, row
from app.tui.models.plan_panel import PlanPanel
from app.tui.models.state_graph import HEIGHT, StateGraph
from app.tui.offer_list import OfferList
from core.errors import ModelFileError, NoModelError
from core.events.types import (
    Event,
    JobChanged,
    JobKind,
    JobState,
    LoadProgress,
    MemoryRead,
    Phase,
    Planned,
    PolicyChanged,
    QueueChanged,
    Receipt,
    Snapshot,
    StateChanged,
    WarmRole,
    WorkerLost,
    WorkerUp,
)
from core.memory.types import Device, Memory
from core.roles import Role
from tasks.jobs.records import Ended, Job
from tests.tiny_models import tiny_models

if TYPE_CHECKING:
    from tests.app.conftest import Until

GIB = 1024**3
AT = 1_763_802_720.0
NOW = AT + 306
MEMORY = Memory(16 * GIB, 9 * GIB, GIB // 2, (Device("NVIDIA RTX 3070", 8 * GIB, 3 * GIB, "CUDA0"),))
UP = WorkerUp(4321, at=AT)
LOADING = StateChanged(1, Phase.EMPTY, Phase.LOADING, "load", "instruct", "tiny-instruct", "fits", 6.0, at=AT + 1)
WARM = StateChanged(2, Phase.LOADING, Phase.WARM, "loaded", "instruct", "tiny-instruct", "", 1840.0, at=AT + 3)
UNLOADING = StateChanged(
    3,
    Phase.WARM,
    Phase.UNLOADING,
    "unload",
    "instruct",
    "tiny-instruct",
    "idle for 5 min",
    300_000.0,
    at=AT + 303,
)
BACK = Receipt("instruct", "tiny-instruct", Memory(), Memory(), 3 * GIB, 3 * GIB, 0.2, at=AT + 304)
KEPT = Receipt("instruct", "tiny-instruct", Memory(), Memory(), 4 * GIB, GIB, 5.1, at=AT + 304)
EMPTY = StateChanged(4, Phase.UNLOADING, Phase.EMPTY, "unloaded", None, None, "idle for 5 min", 210.0, at=AT + 304)
LOST = WorkerLost(4321, "signal SIGKILL", 2, 5, at=AT + 305)
STORY: list[Event] = [UP, LOADING, WARM, UNLOADING, BACK, EMPTY, LOST]
PAST = [(170, 12), (120, 11), (90, 4), (60, 3), (20, 6)]
"""Seconds ago, and the GB free then."""
PHASES = {"starting": 0, "loading": 2, "warm": 3, "unloading": 4, "empty": 6, "lost": 7}


def table_text(app: CharlieApp) -> str:
    table = app.screen.query_one(ModelTable)
    return "\n".join(str(table.get_option(role.value).prompt) for role in Role)


def history_text(app: CharlieApp) -> str:
    return str(app.screen.query_one(History).query_one(Static).visual)


async def open_models(pilot: Pilot[None], until: Until) -> None:
    app = pilot.app
    assert isinstance(app, CharlieApp)
    await pilot.press("f4")
    await until(pilot, lambda: app.current_mode == "models" and "ctx" in table_text(app))


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.models.memory_gauge.clock", lambda: NOW)
    monkeypatch.setattr("app.tui.shared.status_bar.clock", lambda: NOW)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("phase", PHASES)
def test_snapshot(
    phase: str,
    size: tuple[int, int],
    app: CharlieApp,
    client: Client,
    until: Until,
    snap_compare: Callable[..., bool],
    still_clock: None,
) -> None:
    story = STORY[: PHASES[phase]]

    async def play(pilot: Pilot[None]) -> None:
        await open_models(pilot, until)
        memory = MEMORY if size[0] > 100 else Memory(16 * GIB, 9 * GIB, GIB // 2)
        past = [MemoryRead(replace(memory, available=free * GIB), NOW - ago) for ago, free in PAST]
        for event in (*story, *past, MemoryRead(memory, NOW - 1)):
            client.bus.publish(event)
        if phase == "loading":
            client.bus.publish(LoadProgress("instruct", "tiny-instruct", 0.63))
        await until(pilot, lambda: app.view.memory == memory and app.view.fraction == 0.63 * (phase == "loading"))
        await until(pilot, lambda: "predicted" in str(app.screen.query_one(OfferList).visual))
        await pilot.wait_for_scheduled_animations()

    assert snap_compare(app, terminal_size=size, run_before=play)


async def test_events_update_graph_table_and_history(app: CharlieApp, client: Client, until: Until) -> None:
    client.bus.publish(UP, Snapshot(since=AT, worker_pid=4321))
    client.bus.publish(LOADING, Snapshot(1, Phase.LOADING, "instruct", "tiny-instruct", since=AT + 1, worker_pid=4321))
    async with app.run_test(size=(120, 36)) as pilot:
        await open_models(pilot, until)
        await until(pilot, lambda: "Loading" in history_text(app))
        client.bus.publish(WARM)
        await until(pilot, lambda: "[ WARM instruct ]" in app.screen.query_one(StateGraph).render().plain)
        await until(pilot, lambda: "● warm" in table_text(app))
        lines = history_text(app).splitlines()
        assert [("Warm" in lines[0]), ("→ Loading" in lines[1]), ("worker started" in lines[2])] == [True] * 3
        assert len(lines) == 3


async def test_keys_queue_jobs_for_the_selected_role(app: CharlieApp, client: Client, until: Until) -> None:
    def queued() -> list[tuple[JobKind, str]]:
        return [(each.job.kind, each.job.subject) for each in client.queue()]

    async with app.run_test() as pilot:
        await open_models(pilot, until)
        await pilot.press("down", "w")
        await until(pilot, lambda: queued() == [(JobKind.WARM, "embedding")])
        await pilot.press("u", "U")
        await until(pilot, lambda: sorted(queued()[1:]) == [(JobKind.UNLOAD, ""), (JobKind.UNLOAD, "embedding")])


async def test_a_key_pins_the_selected_role(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        await open_models(pilot, until)
        client.bus.publish(MemoryRead(MEMORY))
        await pilot.press("down", "k")
        await until(pilot, lambda: "fits · pinned" in table_text(app))
        assert client.paths.config_file.read_text() == "[embedding]\npinned = true\n"
        await pilot.press("k")
        await until(pilot, lambda: "pinned" not in table_text(app))
        client.paths.config_file.write_text("embedding = 3\n")
        await pilot.press("k")  # the facts are still those of a good file
        await until(pilot, lambda: "not a section" in str(app.screen.query_one("#failure", Static).visual))


async def test_the_policy_is_below_the_graph(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        await open_models(pilot, until)
        reason = f"{'all models fit at once ' * 5}now"
        client.bus.publish(PolicyChanged("fitting", reason, at=AT))
        graph = app.screen.query_one(StateGraph)
        await until(pilot, lambda: f"fitting: {reason}" in " ".join(graph.render().plain.split()))
        await until(pilot, lambda: graph.size.height == HEIGHT + 2)
        assert "policy" in history_text(app)


def test_each_warm_model_is_marked(client: Client) -> None:
    instruct, embedding, _ = read_facts(client.paths)
    assert isinstance(instruct, UsableModel)
    assert isinstance(embedding, UsableModel)
    warm = tuple(WarmRole(each.role, each.spec.name) for each in (instruct, embedding))
    view = MachineView(Snapshot(phase=Phase.UNLOADING, role="instruct", model="tiny-instruct", warm=warm))
    assert "◌ unloading" in row(Role.INSTRUCT, instruct, view, None, 78).plain
    assert "● warm " in row(Role.EMBEDDING, embedding, view, None, 78).plain
    assert (
        "● warm · pinned  tiny-embedding" in row(Role.EMBEDDING, replace(embedding, pinned=True), view, None, 78).plain
    )


async def test_a_failed_load_is_shown_in_its_row(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        await open_models(pilot, until)
        failed = JobChanged(
            "j1", JobKind.WARM, JobState.FAILED, "embedding", "It needs 9 GiB, and 3 are free.", "Close programs."
        )
        client.bus.publish(failed)
        await until(pilot, lambda: "✕ It needs 9 GiB, and 3 are free. Close programs." in table_text(app))
        client.bus.publish(JobChanged("j2", JobKind.WARM, JobState.QUEUED, "embedding"))
        await until(pilot, lambda: "It needs 9 GiB" not in table_text(app))


async def test_a_damaged_file_is_shown_in_its_row_until_repaired(app: CharlieApp, client: Client, until: Until) -> None:
    whole = tiny_models()[Role.RERANKER].read_bytes()
    good = client.paths.models / "mine.gguf"
    good.write_bytes(whole[:1000])
    client.paths.config_file.write_text('[reranker]\nfile = "mine.gguf"\n')
    async with app.run_test() as pilot:
        await open_models(pilot, until)
        assert "✕ unusable" in table_text(app)
        assert "cannot be used as a model: " in " ".join(table_text(app).split())
        good.write_bytes(whole)
        await pilot.press("r")
        await until(pilot, lambda: "✕ unusable" not in table_text(app))


async def test_a_refresh_reads_the_settings_again(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        await open_models(pilot, until)
        client.paths.config_file.write_text('[instruct]\nfile = "not-there.gguf"\n')
        await pilot.press("r")
        await until(pilot, lambda: "There is no model file" in table_text(app))


def test_facts_come_from_the_headers(client: Client) -> None:
    facts = read_facts(client.paths)
    assert [type(each) for each in facts] == [UsableModel, UsableModel, UnusableModel]
    assert all(each.spec.bundled and each.needs.total > 0 for each in facts if isinstance(each, UsableModel))
    assert isinstance(facts[-1], UnusableModel)
    assert isinstance(facts[-1].error, NoModelError)
    client.paths.config_file.write_text("[instruct\n")
    assert all(isinstance(each, UnusableModel) for each in read_facts(client.paths))


def test_a_model_that_does_not_fit_is_marked(app: CharlieApp, client: Client) -> None:
    facts = read_facts(client.paths)[0]
    full = app.view.seen(MemoryRead(Memory(16 * GIB, GIB // 2, 0)))
    assert "! too large now" in row(Role.INSTRUCT, facts, full, None, 80).plain
    free = app.view.seen(MemoryRead(Memory(16 * GIB, 8 * GIB, 0)))
    assert "  fits" in row(Role.INSTRUCT, facts, free, None, 80).plain


def test_a_row_shows_the_plan_for_a_load_now(client: Client) -> None:
    known = read_facts(client.paths)[0]
    assert isinstance(known, UsableModel)
    header = replace(known.spec.header, context_length=131_072)
    spec = replace(known.spec, header=header, context_length=131_072, least_context=2048)
    facts, reserve = replace(known, spec=spec), known.reserve.ram_reserve
    scarce = MachineView(memory=Memory(16 * GIB, reserve + GIB // 20))
    shown = row(Role.INSTRUCT, facts, scarce, None, 118).plain
    context = re.search(r"([\d,]+) of 131,072 ctx", shown)
    assert "  fits" in shown
    assert context is not None
    assert 2048 <= int(context[1].replace(",", "")) < 131_072
    gpu = MachineView(memory=Memory(16 * GIB, 9 * GIB, 0, (Device("GPU", 8 * GIB, 7 * GIB, "CUDA0"),)))
    assert " VRAM" in row(Role.INSTRUCT, known, gpu, None, 118).plain


@pytest.mark.parametrize(
    ("pressure", "shown"), [(None, ""), (0.4, ""), (12.3, " · pressure 12%")], ids=["unknown", "none", "some"]
)
def test_the_gauge_shows_memory_pressure(pressure: float | None, shown: str) -> None:
    view = MachineView(memory=replace(MEMORY, pressure=pressure))
    lines = gauge(view, 78, AT).plain.splitlines()
    assert lines[0].endswith(f"free 9.0 of 16 GiB{shown}")
    assert max(map(len, lines)) <= 78


def test_the_gauge_draws_the_last_minutes_below_ram() -> None:
    view = MachineView(memory=MEMORY, readings=((NOW - 90, 8 * GIB),))
    ram, past, gpu = gauge(view, 118, NOW).plain.splitlines()
    assert past.rstrip() == past
    line = past[6 : 6 + ram.index("  worker") - 6]
    assert set(line[: len(line) // 2 - 1]) == {" "}
    assert set(line[len(line) // 2 + 1 :]) == {"▅"}
    assert past.endswith("  in use, the last 3 minutes")
    assert gpu.startswith("GPU 0")


@pytest.mark.parametrize("width", [40, 78, 118, 200])
def test_the_gauge_shows_every_part(width: int) -> None:
    lines = gauge(MachineView(memory=MEMORY), width, AT).plain.splitlines()
    assert "worker 0.5 · others 6.5 · free 9.0 of 16 GiB" in lines[0]
    assert "used 5.0 · free 3.0 of 8.0 GiB" in lines[1]
    if width >= 78:
        assert max(map(len, lines)) <= width


async def test_keys_work_while_the_database_does_not_answer(app: CharlieApp, client: Client, until: Until) -> None:
    """The screen asks the database on other threads than the interface's."""
    async with app.run_test() as pilot:
        await open_models(pilot, until)
        client.redis.client_pause(1500, all=True)
        began = asyncio.get_running_loop().time()
        await pilot.press("w", "down", "down")
        assert app.screen.query_one(ModelTable).selected is Role.RERANKER
        assert asyncio.get_running_loop().time() - began < 1.0
        await until(pilot, lambda: len(client.queue()) == 1)


async def test_a_click_selects_and_enter_warms(app: CharlieApp, client: Client, until: Until) -> None:
    def asked() -> list[str]:
        return [each.job.subject for each in client.queue()]

    async with app.run_test(size=(80, 24)) as pilot:
        await open_models(pilot, until)
        table = app.screen.query_one(ModelTable)
        await pilot.click(ModelTable, offset=(20, 3))
        await until(pilot, lambda: table.selected is Role.EMBEDDING)
        await pilot.press("down", "enter")
        await until(pilot, lambda: bool(asked()))
        assert asked() == ["reranker"]


def test_a_changed_file_is_not_shown_as_warm(client: Client) -> None:
    facts = read_facts(client.paths)[0]
    assert isinstance(facts, UsableModel)
    old = MachineView(Snapshot(phase=Phase.WARM, warm=(WarmRole("instruct", "qwen3-4b"),), worker_pid=7))
    shown = row(Role.INSTRUCT, facts, old, None, 78).plain
    assert "● warm" not in shown
    assert "● qwen3-4b is warm; this file from the next use on" in shown
    same = MachineView(Snapshot(phase=Phase.WARM, warm=(WarmRole("instruct", facts.spec.name),), worker_pid=7))
    shown = row(Role.INSTRUCT, facts, same, None, 78).plain
    assert "● warm" in shown
    assert "next use" not in shown


@pytest.mark.parametrize("width", [40, 60, 78])
def test_rows_fit_their_width_and_show_the_whole_footprint(width: int, client: Client) -> None:
    full = MachineView(memory=MEMORY)
    for facts in read_facts(client.paths):
        lines = row(facts.role, facts, full, None, width).plain.splitlines()
        assert len(lines) == 2
        assert max(map(len, lines)) <= width
        assert re.search(r"needs [\d.]+ [KMG]iB|optional, sorts", lines[1])


def test_an_error_is_shown_once_under_its_row() -> None:
    error = ModelFileError("The file model.gguf cannot be used as a model: it ends too early.", "Load it again.")
    failed = JobChanged("j1", JobKind.WARM, JobState.FAILED, "instruct", error.message, error.hint)
    lines = row(Role.INSTRUCT, UnusableModel(Role.INSTRUCT, error), MachineView(), failed, 50).plain.splitlines()
    assert all(line.startswith(" " * 11) and len(line) <= 50 for line in lines[1:])
    assert " ".join("\n".join(lines).split()).count("it ends too early") == 1
    other = JobChanged("j1", JobKind.WARM, JobState.FAILED, "instruct", "It needs 9 GiB.", "Close programs.")
    assert (
        "✕ It needs 9 GiB." in row(Role.INSTRUCT, UnusableModel(Role.INSTRUCT, error), MachineView(), other, 78).plain
    )


async def test_a_waiting_job_shows_its_place(app: CharlieApp, client: Client, until: Until) -> None:
    def message() -> str:
        failure = app.screen.query_one("#failure", Static)
        return str(failure.visual) if failure.display else ""

    client.warm(Role.RERANKER)
    async with app.run_test() as pilot:
        await open_models(pilot, until)
        await pilot.press("u")
        await until(pilot, lambda: message() == "Unload instruct: waiting · 1 ahead")
        asked = client.queue()[1].job
        client.bus.publish(QueueChanged(1, "another"))
        client.bus.publish(JobChanged(asked.id, JobKind.UNLOAD, JobState.RUNNING))
        await until(pilot, lambda: message() == "")


async def test_returned_memory_is_in_the_history(app: CharlieApp, client: Client, until: Until) -> None:
    client.bus.publish(BACK)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_models(pilot, until)
        await until(pilot, lambda: "09:17:04  memory returned" in history_text(app))
        assert "200 ms  instruct   3.0 GiB of 3.0 GiB returned" in history_text(app)
        client.bus.publish(KEPT)
        client.bus.publish(
            Planned("instruct", "tiny-instruct", True, {"RAM": 1}, {"RAM": 2}, (), 0, 4096, "fits so well")
        )
        client.bus.publish(EMPTY)
        await until(pilot, lambda: "→ Empty" in history_text(app))
        assert "! memory kept" in history_text(app)
        assert "5.10 s  instruct   1.0 GiB of 4.0 GiB returned" in history_text(app)
        assert "fits so well" not in history_text(app)


FITS: dict[str, Any] = {
    "role": "instruct", "model": "qwen3-4b", "file": "/models/qwen3-4b.gguf", "fits": True,
    "needed": {"RAM": GIB, "CUDA0": 3 * GIB}, "available": {"RAM": 9 * GIB, "CUDA0": 7 * GIB}, "unload": ["embedding"],
    "gpu_layers": 25, "layers": 37, "context": 4096, "reason": "fits with 4,096 of 8,192 tokens", "hint": "",
    "parts": {"weights": 3 * GIB, "kv_cache": GIB // 2, "compute": GIB // 4, "overhead": GIB // 4},
}  # fmt: skip
REFUSED: dict[str, Any] = {
    **FITS, "fits": False, "needed": {"RAM": 64 * GIB}, "available": {"RAM": 9 * GIB}, "unload": [], "gpu_layers": 0,
    "reason": "qwen3-4b does not fit: with 4,096 tokens of context it needs 64.0 GiB of RAM (weights 63.0 GiB, KV "
    "cache 512 MiB, compute 256 MiB in all), and 9.00 GiB are free, 512 MiB of 16.0 GiB being kept.",
    "hint": "It would fit with 55.0 GiB more of RAM, or with a model file of at most 8.00 GiB (`charlie models use "
    "instruct FILE`).",
}  # fmt: skip


def plan_shown(app: CharlieApp) -> str:
    panel = app.screen.query_one(PlanPanel)
    return str(panel.visual) if panel.display else ""


async def ask_for_plan(
    pilot: Pilot[None], client: Client, until: Until, result: dict[str, Any] | None, role: Role = Role.INSTRUCT
) -> None:
    """Press the key, then do the worker's part with `result`; None fails the job."""

    def asked() -> list[Job]:
        jobs = [each.job for each in client.queue()]
        return [job for job in jobs if (job.kind, job.subject) == (JobKind.PLAN, role)]

    await pilot.press("p")
    await until(pilot, lambda: bool(asked()))
    job = asked()[0]
    assert client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
    client.bus.publish(JobChanged(job.id, JobKind.PLAN, JobState.RUNNING, job.subject))
    failed = Ended(JobState.FAILED, None, "There is no model file x.gguf.", "Check the path.")
    client.jobs.end(job.id, Ended(JobState.DONE, result) if result else failed)


async def test_a_plan_is_shown_until_another_role_is_selected(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(120, 36)) as pilot:
        await open_models(pilot, until)
        await ask_for_plan(pilot, client, until, FITS)
        await until(pilot, lambda: "fits with" in plan_shown(app))
        assert plan_shown(app).splitlines() == [
            "Plan of instruct · qwen3-4b  fits with 4,096 of 8,192 tokens",
            "4,096 ctx · 25 of 37 layers on the GPU · unloads embedding first",
            "RAM needs 1.0 GiB, has 9.0 GiB · CUDA0 needs 3.0 GiB, has 7.0 GiB",
            "4.0 GiB: weights 3.0 GiB + KV cache 512 MiB + compute 256 MiB + other 256 MiB",
        ]
        assert not app.screen.query_one("#details").display
        await pilot.press("down")
        await until(pilot, lambda: not plan_shown(app) and app.screen.query_one("#details").display)


async def test_a_plan_is_cleared_by_a_transition(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(120, 36)) as pilot:
        await open_models(pilot, until)
        await ask_for_plan(pilot, client, until, FITS)
        await until(pilot, lambda: "fits with" in plan_shown(app))
        client.bus.publish(LOADING)
        await until(pilot, lambda: not plan_shown(app))


async def test_a_waiting_plan_is_shown_and_survives_a_transition(app: CharlieApp, client: Client, until: Until) -> None:
    def message() -> str:
        return str(app.screen.query_one("#failure", Static).visual)

    client.warm(Role.RERANKER)
    async with app.run_test(size=(120, 36)) as pilot:
        await open_models(pilot, until)
        await pilot.press("p")
        await until(pilot, lambda: message() == "Plan instruct: waiting · 1 ahead")
        client.bus.publish(LOADING)
        await until(pilot, lambda: "→ Loading" in history_text(app))
        assert plan_shown(app) == "planning instruct …"
        await pilot.press("down")
        await until(pilot, lambda: not plan_shown(app))
        await ask_for_plan(pilot, client, until, {**FITS, "role": "embedding"}, Role.EMBEDDING)
        await until(pilot, lambda: "Plan of embedding" in plan_shown(app))


async def test_a_failed_plan_shows_its_error(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(120, 36)) as pilot:
        await open_models(pilot, until)
        await ask_for_plan(pilot, client, until, None)
        await until(pilot, lambda: plan_shown(app) == "✕ There is no model file x.gguf. Check the path.")


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("result", [FITS, REFUSED], ids=["fits", "refused"])
def test_picture_of_a_plan(
    result: dict[str, Any],
    size: tuple[int, int],
    app: CharlieApp,
    client: Client,
    until: Until,
    snap_compare: Callable[..., bool],
    still_clock: None,
) -> None:
    async def play(pilot: Pilot[None]) -> None:
        await open_models(pilot, until)
        memory = Memory(16 * GIB, 9 * GIB, GIB // 2, pressure=12.0)
        for event in (UP, MemoryRead(memory, NOW - 60)):
            client.bus.publish(event)
        await until(pilot, lambda: app.view.memory == memory)
        await until(pilot, lambda: "predicted" in str(app.screen.query_one(OfferList).visual))
        await ask_for_plan(pilot, client, until, result)
        client.bus.publish(QueueChanged(0, None))
        await until(pilot, lambda: "Plan of" in plan_shown(app) and app.view.depth == 0 and app.view.queue_known)
        await pilot.wait_for_scheduled_animations()

    assert snap_compare(app, terminal_size=size, run_before=play)
