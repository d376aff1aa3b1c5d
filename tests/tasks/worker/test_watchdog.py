"""A worker that lives but does not work is replaced. Real processes, a real SIGSTOP, a prefill that really hangs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from app.client import Client
from app.runtime.owner import Runtime
from app.runtime.watchdog import Watchdog
from core.events.types import Heartbeat, JobState, Phase, StateChanged, WorkerLost, WorkerUp
from core.paths import find_paths
from core.roles import Role
from core.settings import WatchdogSettings
from core.settings_file import load_settings
from tests.tasks.worker.test_recovery import serving, worker_pid
from tests.waiting import ended, first

BACK_SECONDS = 3.0


def hold_still(pid: int) -> None:
    """Stop a process and wait for all its threads: until they have stopped, one could take a job."""
    process = psutil.Process(pid)
    process.suspend()
    threads = [psutil.Process(thread.id) for thread in process.threads()]
    end = time.monotonic() + BACK_SECONDS
    while any(thread.status() != psutil.STATUS_STOPPED for thread in threads):
        assert time.monotonic() < end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, "it was stopped"), ({"STOPPED_SECONDS": "0", "SILENCE_SECONDS": "2"}, "it gave no sign of life for ")],
    ids=["stopped", "silent"],
)
def test_a_stopped_worker_is_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], reason: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"CHARLIE_WATCHDOG__{name}", value)
    client = Client(load_settings(), find_paths())
    with Runtime(client) as running:
        events = serving(running, client)
        assert ended(client.jobs, client.warm(Role.EMBEDDING).id).state is JobState.DONE
        old = worker_pid(client)
        hold_still(old)
        began = time.monotonic()
        waiting = client.warm(Role.INSTRUCT)
        lost = first(events, lambda event: isinstance(event, WorkerLost))
        assert isinstance(lost, WorkerLost)
        assert (lost.pid, lost.attempt) == (old, 1)
        assert lost.reason.startswith(reason)
        back = first(events, lambda event: isinstance(event, WorkerUp))
        assert isinstance(back, WorkerUp)
        assert time.monotonic() - began < BACK_SECONDS + (2 if settings else 0)
        assert back.pid != old
        assert not psutil.pid_exists(old)
        assert ended(client.jobs, waiting.id).state is JobState.DONE
        assert client.snapshot().role == "instruct"


@pytest.mark.slow
def test_work_without_progress_is_ended(home: Path, slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole prompt is one batch: many seconds without progress."""
    monkeypatch.setenv("CHARLIE_WATCHDOG__PROGRESS_SECONDS", "1.5")
    client = Client(load_settings(), find_paths())
    client.paths.make()
    client.paths.config_file.write_text(
        f'[instruct]\nfile = "{slow}"\ncontext_length = 16384\nthreads = 1\nbatch = 16384\n'
    )
    with Runtime(client) as running:
        events = serving(running, client)
        conversation = client.conversations.new_conversation().id
        stuck = client.chat(conversation, "a walk by the river " * 700, max_tokens=5)
        after = client.warm(Role.EMBEDDING)
        lost = first(events, lambda event: isinstance(event, WorkerLost))
        assert isinstance(lost, WorkerLost)
        assert lost.reason.startswith("its work made no progress for ")
        end = first(events, lambda event: isinstance(event, StateChanged) and event.trigger == "loaded")
        assert isinstance(end, StateChanged)
        assert end.role == "embedding"
        assert ended(client.jobs, stuck.id).state is JobState.INTERRUPTED
        assert ended(client.jobs, after.id).state is JobState.DONE


def test_what_counts_as_silence_and_as_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("app.runtime.watchdog.time.monotonic", lambda: now)
    pid = os.getpid()
    settings = WatchdogSettings(silence_seconds=10, unload_seconds=20, progress_seconds=60)
    watchdog = Watchdog(settings, pid)
    now = 150.0  # no heartbeat yet: it may still be starting
    assert watchdog.problem(None) == ""
    assert watchdog.problem(Heartbeat(pid + 1, 99)) == ""
    assert watchdog.problem(Heartbeat(pid, 1)) == ""
    now = 161.0
    assert watchdog.problem(Heartbeat(pid, 1)) == "it gave no sign of life for 11 s"
    assert watchdog.problem(Heartbeat(pid, 2, 5, busy=True, phase=Phase.WARM)) == ""
    now = 220.0
    assert watchdog.problem(Heartbeat(pid, 3, 5, busy=True, phase=Phase.WARM)) == ""
    now = 222.0
    assert watchdog.problem(Heartbeat(pid, 4, 5, busy=True, phase=Phase.WARM)) == "its work made no progress for 61 s"
    assert watchdog.problem(Heartbeat(pid, 5, 6, busy=True, phase=Phase.UNLOADING)) == ""
    now = 243.0
    assert watchdog.problem(Heartbeat(pid, 6, 6, busy=True, phase=Phase.UNLOADING)) == (
        "an unload did not end within 21 s"
    )
    assert watchdog.problem(Heartbeat(pid, 7, 6, busy=False, phase=Phase.EMPTY)) == ""
