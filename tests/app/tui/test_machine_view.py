from __future__ import annotations

from dataclasses import replace

import pytest

from app.tui.machine_view import MachineView
from core.events.types import (
    Event,
    JobChanged,
    JobKind,
    JobProgress,
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
    WorkerLost,
    WorkerUp,
)
from core.memory.types import Memory

LOADING = StateChanged(1, Phase.EMPTY, Phase.LOADING, "load", "instruct", "qwen", "fits", 5.0, at=10.0)
WARM = StateChanged(2, Phase.LOADING, Phase.WARM, "loaded", "instruct", "qwen", "", 900.0, at=11.0)


def after(*events: Event, start: Snapshot | None = None) -> MachineView:
    view = MachineView().began(start or Snapshot(worker_pid=7))
    for event in events:
        view = view.seen(event)
    return view


def test_transitions_lead_through_the_phases() -> None:
    view = after(LOADING, LoadProgress("instruct", "qwen", 0.63))
    assert (view.snapshot.phase, view.snapshot.model, view.fraction) == ("loading", "qwen", 0.63)
    view = view.seen(WARM)
    assert (view.snapshot.phase, view.snapshot.seq, view.snapshot.worker_pid, view.last) == ("warm", 2, 7, WARM)


def test_several_models_are_warm() -> None:
    """A load and an unload beside others lead back to Warm."""

    def warm(view: MachineView) -> list[str]:
        return [each.role for each in view.snapshot.warm]

    beside = StateChanged(3, Phase.WARM, Phase.LOADING, "load", "embedding", "minilm", "fits", 5.0, at=12.0)
    view = after(LOADING, WARM, beside)
    assert (view.snapshot.phase, view.snapshot.role, warm(view)) == ("loading", "embedding", ["instruct"])
    view = view.seen(replace(beside, seq=4, source=Phase.LOADING, to=Phase.WARM, trigger="loaded"))
    assert (view.snapshot.phase, view.snapshot.role, warm(view)) == ("warm", "embedding", ["instruct", "embedding"])
    unload = replace(beside, seq=5, to=Phase.UNLOADING, trigger="unload")
    view = view.seen(unload)
    assert (view.snapshot.phase, view.snapshot.role) == ("unloading", "embedding")
    view = view.seen(replace(unload, seq=6, source=Phase.UNLOADING, to=Phase.WARM, trigger="unloaded"))
    assert (view.snapshot.phase, view.snapshot.role, warm(view)) == ("warm", "instruct", ["instruct"])
    view = view.seen(replace(beside, seq=7)).seen(
        replace(beside, seq=8, source=Phase.LOADING, to=Phase.WARM, trigger="load_failed")
    )
    assert (view.snapshot.role, view.snapshot.model, warm(view)) == ("instruct", "qwen", ["instruct"])
    assert warm(view.seen(WorkerLost(7, "signal SIGKILL", 1, 5, at=20.0))) == []


def test_the_policy_is_kept_while_models_come_and_go() -> None:
    view = after(PolicyChanged("fitting", "all models fit at once"), LOADING, WARM)
    assert (view.snapshot.policy, view.snapshot.policy_reason) == ("fitting", "all models fit at once")


def test_events_in_the_snapshot_are_ignored() -> None:
    view = after(start=Snapshot(seq=2, phase=Phase.WARM, role="instruct", since=11.0, worker_pid=7))
    assert view.seen(LOADING) == view
    assert view.seen(WorkerUp(6, at=3.0)) == view
    assert view.seen(WorkerLost(6, "signal SIGKILL", 1, 5, at=3.0)) == view


def test_a_lost_worker_clears_the_model() -> None:
    lost = WorkerLost(7, "signal SIGKILL", 2, 5, at=20.0)
    view = after(LOADING, WARM, QueueChanged(3, "a"), JobProgress("a", "decode", 4, 9, 41.0), lost)
    assert view.snapshot.worker_lost
    assert (view.snapshot.phase, view.snapshot.worker_pid, view.lost, view.generating) == ("empty", None, lost, False)
    view = view.seen(WorkerUp(8, at=21.0))
    assert (view.snapshot.worker_lost, view.snapshot.worker_pid, view.lost) == (False, 8, None)


def test_the_last_rate_is_kept_when_generation_ends() -> None:
    view = after(QueueChanged(0, "a"), JobProgress("a", "decode", 4, 9, 41.0))
    assert (view.tokens_per_second, view.generating) == (41.0, True)
    view = view.seen(JobChanged("a", JobKind.CHAT, JobState.DONE))
    assert (view.tokens_per_second, view.generating) == (41.0, False)


@pytest.mark.parametrize("stage", ["prefill", "embed"])
def test_other_stages_do_not_count_as_generating(stage: str) -> None:
    view = after(JobProgress("a", stage, 4, 9, 900.0))  # type: ignore[arg-type]
    assert (view.tokens_per_second, view.generating) == (None, False)


def test_the_last_queue_and_memory_readings_count() -> None:
    memory = Memory(16, 9, 1)
    view = after(QueueChanged(4, "a"), MemoryRead(memory))
    assert (view.depth, view.running, view.memory) == (4, "a", memory)


def test_readings_of_the_last_minutes_are_kept() -> None:
    view = after(*(MemoryRead(Memory(16, 16 - used), at=at) for at, used in ((0.0, 3), (10.0, 4), (200.0, 5))))
    assert view.readings == ((10.0, 4), (200.0, 5))


def test_unreturned_memory_is_shown_until_the_next_unload() -> None:
    short = Receipt("instruct", "qwen", Memory(), Memory(), 4 * 1024**3, 1024**3, 5.0)
    view = after(LOADING, WARM, short)
    assert view.short == short
    assert view.seen(Planned("instruct", "qwen", True, {}, {}, (), 0, 4096, "fits")) == view
    assert view.seen(replace(short, returned=short.expected)).short is None
    assert view.seen(WorkerLost(7, "signal SIGKILL", 1, 5, at=30.0)).short is None


def test_a_count_of_the_queue_never_replaces_a_later_event() -> None:
    view = after()
    assert view.counted(2, None).depth == 2
    assert view.seen(QueueChanged(4, None)).counted(2, None).depth == 4
    assert view.seen(QueueChanged(4, None)).began(Snapshot()).counted(2, None).depth == 2


def test_a_reading_taken_with_a_transition_counts() -> None:
    memory = Memory(16, 5, 4)
    changed = StateChanged(1, Phase.EMPTY, Phase.LOADING, "load", "instruct", "qwen", "", 1.0, after=memory, at=1.0)
    assert after(MemoryRead(Memory(16, 9, 1)), changed).memory == memory


def test_a_new_snapshot_replaces_the_state() -> None:
    view = after(LOADING, WARM).began(Snapshot(seq=9, phase=Phase.EMPTY, worker_pid=3))
    assert (view.snapshot.phase, view.snapshot.seq) == ("empty", 9)


@pytest.mark.parametrize(
    "event",
    [
        StateChanged(3, Phase.WARM, Phase.UNLOADING, "unload", "instruct", "qwen", "idle for 5 s", 900.0, at=30.0),
        WorkerLost(7, "signal SIGKILL", 1, 5, at=30.0),
        WorkerUp(8, at=30.0),
    ],
)
def test_the_rate_goes_with_its_model(event: Event) -> None:
    view = after(LOADING, WARM, JobProgress("a", "decode", 4, 9, 41.0))
    assert view.tokens_per_second == 41.0
    assert view.seen(event).tokens_per_second is None


def test_a_lost_or_new_worker_clears_the_marked_edge() -> None:
    view = after(LOADING, WARM)
    assert view.last == WARM
    assert view.seen(WorkerLost(7, "signal SIGKILL", 1, 5, at=20.0)).last is None
    assert view.seen(WorkerUp(8, at=20.0)).last is None


def test_a_worker_after_a_lost_one_is_restarted() -> None:
    lost = WorkerLost(7, "signal SIGKILL", 1, 5, at=20.0)
    assert after(LOADING, WARM, lost, WorkerUp(8, at=21.0)).snapshot.reason == "worker restarted"
    assert after(WorkerUp(8, at=21.0)).snapshot.reason == ""
