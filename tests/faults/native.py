"""The worker killed by the kernel out of memory, aborted by llama.cpp, and hanging."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil

from core.events.types import JobState
from core.roles import Role
from tasks.jobs.records import Job
from tests.faults import phases
from tests.faults.outcome import RECOVERED_SECONDS, REPORTED_SECONDS, Fault, Outcome, TooLateError, too_slow
from tests.faults.stage import SLOW, Stage, left_on, stage
from tests.faults.worker import Check, is_interrupted, keeps_its_text
from tests.model_files import write_aborting
from tests.waiting import ended

MIB = 1024**2
HELD_SECONDS = 2.0
"""How long the watchdog waits; it reads a heartbeat that comes once a second."""
BEAT_SECONDS = 1.0

SABOTAGE = """
import sys
if 'tasks.worker' in sys.orig_argv:
    import threading
    from pathlib import Path
    {imported}
    now, whole = Path(__file__).with_name('now'), {owner}
    def sabotaged(*args, **kwargs):
        if now.exists():
            now.unlink()
            {does}
        return whole(*args, **kwargs)
    {owner} = sabotaged
"""
"""A `sitecustomize` that replaces one call of a worker's function, after the file `now` was created."""
HANGS = "threading.Event().wait()"
ABORTS = "from llama_cpp._ggml import libggml; libggml.ggml_abort(b'ops.cpp', 1, b'GGML_ASSERT(%s) failed', b'false')"


class Sabotage:
    """Replaces the first call of a worker's function after `now()`."""

    def __init__(self, home: Path, imported: str, owner: str, does: str) -> None:
        self._folder = home / "sabotage"
        self._folder.mkdir()
        text = SABOTAGE.format(imported=imported, owner=owner, does=does)
        (self._folder / "sitecustomize.py").write_text(text)

    @property
    def variables(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self._folder)}

    def now(self) -> float:
        (self._folder / "now").touch()
        return time.monotonic()


def _lost(on: Stage, job: Job, began: float, check: Check, allowed: float = 0.0) -> tuple[str, float, list[str]]:
    """The line that reports the loss, seconds until the next worker is up, and what was missed."""
    reported, saw = on.output.wait("lost", began)
    back, _ = on.output.wait("is up", began)
    if len(on.jobs) < 2:
        on.queue_more()
    missed = check(on, job)
    missed += [*on.wait_for_jobs(), *on.broken_promises()]
    missed += too_slow("the report", reported, allowed + REPORTED_SECONDS)
    missed += too_slow("the worker's return", back, allowed + RECOVERED_SECONDS)
    return f"{saw.partition('  ')[2]}, after {reported:.2f} s", back, missed


def _outcome(on: Stage, saw: str, back: float, missed: list[str]) -> Outcome:
    jobs, entries = on.jobs_lost(), on.entries_lost()
    on.stop()
    return Outcome(saw, back, jobs, entries, left_on(on.home), tuple(missed))


# The kernel kills it: a memory cgroup around the worker, of version 1 or 2.


@contextmanager
def _group(pid: int) -> Iterator[Path | None]:
    """Moves a process to a new memory cgroup below its own; yields None where none can be made."""
    made = None
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        folder = Path("/sys/fs/cgroup") / controllers / path.lstrip("/") / f"charlie-test-{pid}"
        if controllers not in ("", "memory") or not folder.parent.is_dir():
            continue
        with suppress(OSError):
            folder.mkdir()
            made = folder
            if any((folder / name).exists() for name in ("memory.max", "memory.limit_in_bytes")):
                (folder / "cgroup.procs").write_text(str(pid))
                break
            folder.rmdir()
        made = None
    try:
        yield made
    finally:
        if made is not None:
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                psutil.Process(pid).wait(RECOVERED_SECONDS)
            made.rmdir()


def _limit(group: Path, more: int) -> None:
    """Limits a cgroup to its present use and `more` bytes."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        if (group / limit).exists():
            (group / limit).write_text(str(int((group / used).read_text()) + more))


def _kernel_kills(group: Path) -> int:
    for name in ("memory.events", "memory.oom_control"):
        if (group / name).exists():
            counts = dict(line.split() for line in (group / name).read_text().splitlines())
            return int(counts["oom_kill"])
    return 0


def out_of_memory(home: Path, phase: str, reach: phases.Reach, more: int) -> Outcome:
    """Memory runs out during the work, after the plan, as when another program takes it."""
    with stage(home) as on:
        with _group(on.worker()) as group:
            if group is None:
                return _outcome(on, "not provoked: no memory cgroup can be made here", 0.0, [])
            job = reach(on)
            began = time.monotonic()
            _limit(group, more)
            if ended(on.client.jobs, job.id).state is JobState.DONE:
                raise TooLateError("the job was done before memory ran out")
            kills = _kernel_kills(group)
        on.check_lost_in(phase)
        saw, back, missed = _lost(on, job, began, is_interrupted)
        return _outcome(on, saw, back, [*missed, *([] if kills else ["the kernel did not kill it"])])


# llama.cpp aborts.


def aborted_in_decode(home: Path) -> Outcome:
    sabotage = Sabotage(home, "from core.llama.instruct import InstructModel", "InstructModel._eval", ABORTS)
    with stage(home, **sabotage.variables) as on:
        job = phases.decoding(on)
        return _outcome(on, *_lost(on, job, sabotage.now(), keeps_its_text))


def aborted_by_a_file(home: Path) -> Outcome:
    """A file that passes every check, but makes llama.cpp abort while it opens it."""
    (home / SLOW).unlink()
    write_aborting(home / SLOW)
    with stage(home) as on:
        began = time.monotonic()
        job = on.track(on.client.warm(Role.INSTRUCT))
        return _outcome(on, *_lost(on, job, began, is_interrupted))


# It hangs.


def _loading(on: Stage, now: Callable[[], float]) -> tuple[Job, float]:
    began = now()
    return phases.loading(on), began


def _unloading(on: Stage, now: Callable[[], float]) -> tuple[Job, float]:
    ended(on.client.jobs, on.client.warm(Role.INSTRUCT).id)
    began = now()
    return phases.unloading(on), began


def _decoding(on: Stage, now: Callable[[], float]) -> tuple[Job, float]:
    return phases.decoding(on), now()


def hanging(
    home: Path,
    place: tuple[str, str, str],
    setting: str,
    reach: Callable[[Stage, Callable[[], float]], tuple[Job, float]],
    check: Check,
) -> Outcome:
    sabotage = Sabotage(home, *place)
    limit = {f"CHARLIE_WATCHDOG__{setting}_SECONDS": str(HELD_SECONDS)}
    with stage(home, **sabotage.variables, **limit) as on:
        job, began = reach(on, sabotage.now)
        if len(on.jobs) < 2:
            on.queue_more()
        saw, back, missed = _lost(on, job, began, check, HELD_SECONDS + BEAT_SECONDS)
        return _outcome(on, f"{saw} (the watchdog waits {HELD_SECONDS:.0f} s)", back, missed)


IN_LOAD = ("from core.llama import engine", "engine.load", f"kwargs['on_progress'] = lambda fraction: {HANGS}")
IN_CLOSE = ("from llama_cpp import Llama", "Llama.close", HANGS)
IN_DECODE = ("from core.llama.instruct import InstructModel", "InstructModel._eval", HANGS)

FAULTS = [
    Fault(
        "worker killed by the kernel, out of memory, while loading",
        partial(out_of_memory, phase="loading", reach=phases.loading, more=4 * MIB),
    ),
    Fault(
        "worker killed by the kernel, out of memory, in prefill",
        partial(out_of_memory, phase="warm", reach=phases.prefilling, more=MIB // 4),
    ),
    Fault("llama.cpp aborts (ggml_abort) while decoding", aborted_in_decode),
    Fault("llama.cpp aborts on a file", aborted_by_a_file),
    Fault(
        "a load that hangs",
        partial(hanging, place=IN_LOAD, setting="PROGRESS", reach=_loading, check=is_interrupted),
    ),
    Fault(
        "an unload that does not end",
        partial(hanging, place=IN_CLOSE, setting="UNLOAD", reach=_unloading, check=is_interrupted),
    ),
    Fault(
        "a reply without progress",
        partial(hanging, place=IN_DECODE, setting="PROGRESS", reach=_decoding, check=keeps_its_text),
    ),
]
