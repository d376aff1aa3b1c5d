from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client import Client
from app.model_state import MachineView
from app.tui import CharlieApp
from app.widgets.status_bar import StatusBar, status_line
from core.events import Device, Memory, PhaseName, QueueChanged, Snapshot, StateChanged, WorkerLost, WorkerUp

if TYPE_CHECKING:
    from tests.app.conftest import Until

GIB = 1024**3
MEMORY = Memory(16 * GIB, 10 * GIB, GIB, (Device("GPU", 8 * GIB, 5 * GIB),))


def view(phase: PhaseName = "warm", *, lost: WorkerLost | None = None, **values: object) -> MachineView:
    snapshot = Snapshot(
        phase=phase,
        role=None if phase == "empty" else "instruct",
        model=None if phase == "empty" else "qwen3-4b-q4_k_m",
        reason=lost.reason if lost else "idle for 12 min, unloaded",
        worker_pid=None if lost else 7,
        worker_lost=lost is not None,
        starter=bool(values.get("starter")),
    )
    return MachineView(snapshot, MEMORY, depth=2, tokens_per_second=41.2, generating=True, fraction=0.63, lost=lost)


def test_a_wide_bar_says_everything() -> None:
    assert status_line(view(), 140).plain == (
        "● Warm   instruct · qwen3-4b-q4_k_m   41 tok/s   RAM ▇▇▇▁▁▁▁▁ 6.0/16 GB   VRAM ▇▇▇▁▁▁▁▁ 3.0/8.0 GB   queue 2"
    )


@pytest.mark.parametrize(
    ("phase", "begins"),
    [
        ("warm", "● Warm   instruct · qwen3-4b-q4_k_m"),
        ("loading", "◐ Loading ▇▇▇▁▁  63%   instruct · qwen3-4b-q4_k_m"),
        ("unloading", "◌ Unloading   instruct · qwen3-4b-q4_k_m"),
        ("empty", "○ Empty   idle for 12 min, unloaded"),
    ],
)
def test_each_phase_is_said_in_words(phase: PhaseName, begins: str) -> None:
    assert status_line(view(phase), 80).plain.startswith(begins)


def test_a_lost_worker_says_which_attempt_follows() -> None:
    shown = status_line(view("empty", lost=WorkerLost(7, "signal SIGKILL", 2, 5)), 100).plain
    assert shown.startswith("✕ Worker lost  restarting (2 of 5)   signal SIGKILL")
    shown = status_line(view("empty", lost=WorkerLost(7, "signal SIGKILL", 6, 5)), 100).plain
    assert shown.startswith("✕ Worker lost  given up after 5 attempts")


def test_a_starter_is_called_so() -> None:
    assert "instruct · starter" in status_line(view(starter=True), 80).plain


@given(st.sampled_from(["warm", "loading", "unloading", "empty"]), st.integers(min_value=22, max_value=200))
def test_a_narrow_bar_drops_parts_from_the_right_and_never_the_phase(phase: PhaseName, width: int) -> None:
    line = status_line(view(phase), width)
    assert line.cell_length <= width
    assert line.plain.split()[1].lower() == phase
    if "queue" in line.plain:
        assert all(part in line.plain for part in ("RAM", "VRAM", "tok/s"))


def test_a_model_name_cannot_command_the_terminal() -> None:
    snapshot = Snapshot(phase="warm", role="instruct", model="a\x1b[31mb[red]c", worker_pid=1)
    assert "instruct · a[31mb[red]c" in status_line(MachineView(snapshot), 120).plain


async def test_the_bar_follows_the_events(app: CharlieApp, client: Client, until: Until) -> None:
    def shown() -> str:
        return str(app.screen.query_one(StatusBar).render().plain)

    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "the worker is not running yet" in shown())
        client.bus.publish(WorkerUp(7), Snapshot(worker_pid=7))
        await until(pilot, lambda: "nothing loaded yet" in shown())
        for event in (
            StateChanged(1, "empty", "loading", "load", "instruct", "qwen", "fits", 5.0),
            StateChanged(2, "loading", "warm", "loaded", "instruct", "qwen", "", 900.0),
            QueueChanged(3, None),
        ):
            client.bus.publish(event)
        await until(pilot, lambda: "● Warm   instruct · qwen" in shown() and "queue 3" in shown())
        await pilot.click(StatusBar)
        await until(pilot, lambda: app.current_mode == "models")
        assert "● Warm" in shown()


async def test_who_comes_late_sees_the_present_state(app: CharlieApp, client: Client, until: Until) -> None:
    changed = StateChanged(4, "loading", "warm", "loaded", "embedding", "minilm", "", 900.0)
    client.bus.publish(changed, Snapshot(seq=4, phase="warm", role="embedding", model="minilm", worker_pid=7))
    async with app.run_test() as pilot:
        await until(pilot, lambda: "embedding · minilm" in app.screen.query_one(StatusBar).render().plain)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("asked for", "○ Empty   unloaded by hand"),
        ("keep_alive is 0", "○ Empty   unloaded after its use (keep_alive 0)"),
        ("worker restarted", "○ Empty   worker restarted"),
    ],
)
def test_why_nothing_is_loaded_is_said_plainly(reason: str, said: str) -> None:
    shown = status_line(MachineView(Snapshot(reason=reason, worker_pid=7)), 100).plain
    assert shown.startswith(f"{said}   queue")
