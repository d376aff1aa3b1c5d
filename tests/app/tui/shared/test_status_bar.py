from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import TextArea

from app.client import Client
from app.tui.app import CharlieApp
from app.tui.machine_view import MachineView
from app.tui.shared.sparkline import LEVELS, sparkline
from app.tui.shared.status_bar import StatusBar, status_line
from core.events.types import (
    MemoryRead,
    Phase,
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
from tests.app.tui.stillness import still

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from tests.app.conftest import Until

GIB = 1024**3
NOW = 1_763_802_720.0
PRESSURE = "free memory fell under the reserve (410 MiB of 512 MiB)"
SHORT = Receipt("instruct", "qwen", Memory(), Memory(), 4 * GIB, GIB, 5.1, at=NOW)
MEMORY = Memory(16 * GIB, 10 * GIB, GIB, (Device("GPU", 8 * GIB, 5 * GIB),))


def view(phase: Phase = Phase.WARM, *, lost: WorkerLost | None = None, **values: object) -> MachineView:
    snapshot = Snapshot(
        phase=phase,
        role=None if phase == "empty" else "instruct",
        model=None if phase == "empty" else "qwen3-4b-q4_k_m",
        reason=lost.reason if lost else "idle for 12 min, unloaded",
        worker_pid=None if lost else 7,
        worker_lost=lost is not None,
    )
    return MachineView(snapshot, MEMORY, depth=2, tokens_per_second=41.2, generating=True, fraction=0.63, lost=lost)


def test_a_wide_bar_shows_all_parts() -> None:
    assert status_line(view(), 140, NOW).plain == (
        "● Warm   instruct · qwen3-4b-q4_k_m   41 tok/s   RAM ▇▇▇▁▁▁▁▁ 6.0/16 GiB   VRAM ▇▇▇▁▁▁▁▁ 3.0/8.0 GiB   queue 2"
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
def test_each_phase_has_a_word(phase: Phase, begins: str) -> None:
    assert status_line(view(phase), 80, NOW).plain.startswith(begins)


@pytest.mark.parametrize(
    ("roles", "width", "begins"),
    [
        ("instruct embedding", 120, "● Warm   instruct + embedding · qwen3-4b-q4_k_m   41 tok/s"),
        ("embedding instruct", 80, "● Warm   instruct + embedding   41 tok/s   RAM ▇▇▁▁▁ 6.0/16 GiB"),
        ("reranker embedding", 120, "● Warm   embedding + reranker   41 tok/s"),
        ("instruct reranker embedding", 80, "● Warm   instruct + embedding + reranker   41 tok/s"),
        ("instruct reranker embedding", 160, "● Warm   instruct + embedding + reranker · qwen3-4b-q4_k_m   41 tok/s"),
    ],
)
def test_all_warm_models_are_shown(roles: str, width: int, begins: str) -> None:
    warm = tuple(WarmRole(role, "qwen3-4b-q4_k_m" if role == "instruct" else role) for role in roles.split())
    shown = replace(view(), snapshot=replace(view().snapshot, warm=warm))
    assert status_line(shown, width, NOW).plain.startswith(begins)


def test_a_lost_worker_shows_the_next_attempt() -> None:
    shown = status_line(view(Phase.EMPTY, lost=WorkerLost(7, "signal SIGKILL", 2, 5)), 100, NOW).plain
    assert shown.startswith("✕ Worker lost  restarting (2 of 5)   signal SIGKILL")
    shown = status_line(view(Phase.EMPTY, lost=WorkerLost(7, "signal SIGKILL", 6, 5)), 100, NOW).plain
    assert shown.startswith("✕ Worker lost  given up after 5 attempts")


@given(st.sampled_from(["warm", "loading", "unloading", "empty"]), st.integers(min_value=22, max_value=200))
def test_a_narrow_bar_leaves_out_the_last_parts_but_not_the_phase(phase: Phase, width: int) -> None:
    warm = tuple(WarmRole(role, "qwen3-4b-q4_k_m") for role in Role)
    both = view(phase), replace(view(phase), snapshot=replace(view(phase).snapshot, warm=warm))
    line, several = (status_line(each, width, NOW) for each in both)
    assert several.cell_length <= width
    assert line.cell_length <= width
    assert line.plain.split()[1].lower() == phase
    if "queue" in line.plain:
        assert all(part in line.plain for part in ("RAM", "VRAM", "tok/s"))


def test_a_model_name_cannot_control_the_terminal() -> None:
    snapshot = Snapshot(phase=Phase.WARM, role="instruct", model="a\x1b[31mb[red]c", worker_pid=1)
    assert "instruct · a␛[31mb[red]c" in status_line(MachineView(snapshot), 120, NOW).plain


async def test_the_bar_follows_the_events(app: CharlieApp, client: Client, until: Until) -> None:
    def shown() -> str:
        return str(app.screen.query_one(StatusBar).render().plain)

    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "the worker is not running yet" in shown())
        client.bus.publish(WorkerUp(7), Snapshot(worker_pid=7))
        await until(pilot, lambda: "nothing loaded yet" in shown())
        for event in (
            StateChanged(1, Phase.EMPTY, Phase.LOADING, "load", "instruct", "qwen", "fits", 5.0),
            StateChanged(2, Phase.LOADING, Phase.WARM, "loaded", "instruct", "qwen", "", 900.0),
            QueueChanged(3, None),
        ):
            client.bus.publish(event)
        await until(pilot, lambda: "● Warm   instruct · qwen" in shown() and "queue 3" in shown())
        await pilot.click(StatusBar)
        await until(pilot, lambda: app.current_mode == "models")
        assert "● Warm" in shown()


async def test_a_late_subscriber_sees_the_current_state(app: CharlieApp, client: Client, until: Until) -> None:
    changed = StateChanged(4, Phase.LOADING, Phase.WARM, "loaded", "embedding", "minilm", "", 900.0)
    client.bus.publish(changed, Snapshot(seq=4, phase=Phase.WARM, role="embedding", model="minilm", worker_pid=7))
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
def test_the_reason_for_no_loaded_model_is_shown(reason: str, said: str) -> None:
    shown = status_line(MachineView(Snapshot(reason=reason, worker_pid=7)), 100, NOW).plain
    assert shown.startswith(f"{said}   queue")


@pytest.mark.parametrize(
    ("readings", "drawn"),
    [
        ([], ""),
        ([(100.0, 0)], "▁▁▁▁▁▁"),
        ([(160.0, 8)], "     █"),
        ([(130.0, 4)], "   ▅▅▅"),
        ([(40.0, 2), (100.0, 8), (110.0, 4)], "█▅▅▅▅▅"),
        ([(100.0, 1), (121.0, 8), (122.0, 1)], "▂▂█▂▂▂"),
        ([(100.0, 8), (130.0, 0)], "███▁▁▁"),
        ([(161.0, 8)], "     █"),
    ],
    ids=["none", "nothing in use", "just now", "since then", "before", "a peak", "to the edge", "a clock behind"],
)
def test_the_ram_sparkline_is_spaced_by_time(readings: list[tuple[float, int]], drawn: str) -> None:
    assert sparkline(readings, 8, now=160.0, cells=6, span=60.0) == drawn


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 100)), max_size=20).map(sorted),
    st.floats(0, 1e4),
    st.integers(1, 50),
)
def test_the_ram_sparkline_has_the_wanted_width(readings: list[tuple[float, int]], now: float, cells: int) -> None:
    line = sparkline(readings, 90, now, cells)
    assert len(line) == (cells if readings else 0)
    assert set(line) <= {" ", *LEVELS}


@pytest.mark.parametrize(("width", "cells"), [(99, 0), (108, 0), (109, 8), (112, 8), (113, 12), (200, 12)])
def test_a_wide_bar_shows_the_ram_sparkline_only_in_spare_room(width: int, cells: int) -> None:
    short_name = replace(view().snapshot, model="qwen3")
    past = replace(view(), snapshot=short_name, readings=((NOW - 1000, 16 * GIB),))
    assert f" 6.0/16 GiB {'█' * cells}".rstrip() + "   " in status_line(past, width, NOW).plain
    if width > 99:
        assert status_line(past, width, NOW).plain.endswith("queue 2")


def test_a_narrow_bar_shows_the_whole_reason() -> None:
    pressed = MachineView(Snapshot(reason=PRESSURE, worker_pid=7), Memory(16 * GIB, 2 * GIB // 5))
    assert status_line(pressed, 78, NOW).plain == (
        "○ Empty   memory under the reserve (410 of 512 MiB)   RAM ▇▇▇▇▇ 16/16 GiB"
    )
    assert PRESSURE in status_line(pressed, 118, NOW).plain


@pytest.mark.parametrize("phase", ["warm", "loading", "unloading", "empty"])
def test_a_narrow_bar_shows_unreturned_memory(phase: Phase) -> None:
    line = status_line(replace(view(phase), short=SHORT), 78, NOW)
    assert "   ! 3.0 of 4.0 GiB not returned" in line.plain
    assert line.cell_length <= 78


def test_unreturned_memory_stands_beside_the_reason() -> None:
    kept = MachineView(Snapshot(reason=PRESSURE, worker_pid=7), Memory(16 * GIB, 2 * GIB // 5), short=SHORT)
    assert status_line(kept, 78, NOW).plain == "○ Empty   memory under the reserve   ! 3.0 of 4.0 GiB not returned"
    assert status_line(kept, 118, NOW).plain == (
        "○ Empty   memory under the reserve (410 of 512 MiB)   ! 3.0 of 4.0 GiB not returned"
        "   RAM ▇▇▇▇▇▇▇▇ 16/16 GiB   queue 0"
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("short", [False, True], ids=["pressure", "short"])
def test_picture_under_pressure(
    short: bool,
    size: tuple[int, int],
    app: CharlieApp,
    client: Client,
    until: Until,
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.tui.shared.status_bar.clock", lambda: NOW)
    back = replace(SHORT, returned=4 * GIB)
    readings = [(170, 6), (120, 9), (90, 13), (30, 15)]

    async def tell(pilot: Pilot[None]) -> None:
        client.bus.publish(WorkerUp(7, at=NOW - 300), Snapshot(worker_pid=7))
        await until(pilot, lambda: app.view.snapshot.worker_pid == 7)  # the bus is followed from now on
        for event in (
            StateChanged(1, Phase.EMPTY, Phase.LOADING, "load", "instruct", "qwen3-4b", "fits", 5.0, at=NOW - 200),
            StateChanged(2, Phase.LOADING, Phase.WARM, "loaded", "instruct", "qwen3-4b", "", 900.0, at=NOW - 199),
            *(MemoryRead(Memory(16 * GIB, (16 - used) * GIB), NOW - ago) for ago, used in readings),
            MemoryRead(Memory(16 * GIB, 2 * GIB // 5), NOW - 10),
            StateChanged(3, Phase.WARM, Phase.UNLOADING, "unload", "instruct", "qwen3-4b", PRESSURE, 9e4, at=NOW - 6),
            SHORT if short else back,
            StateChanged(4, Phase.UNLOADING, Phase.EMPTY, "unloaded", None, None, PRESSURE, 5100.0, at=NOW),
            *(() if short else (MemoryRead(Memory(16 * GIB, 4 * GIB), NOW - 5),)),
        ):
            client.bus.publish(event)
        seen = 5 if short else 6
        await until(pilot, lambda: app.view.snapshot.seq == 4 and len(app.view.readings) == seen)
        await until(pilot, lambda: isinstance(app.focused, TextArea))  # the prompt, with its cursor
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=tell)
