"""Where a job is that has not said anything yet: waiting, loading, reading. Never blank."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from textual.content import Content
from textual.widgets import Static

from app.output import counted
from app.widgets.figures import bar
from core.events import (
    Event,
    JobChanged,
    JobProgress,
    LoadProgress,
    MemoryRead,
    Planned,
    QueueChanged,
    Receipt,
    StateChanged,
    WorkerLost,
    WorkerUp,
)
from core.text import one_line
from tasks.jobs import TAKEN, JobState

if TYPE_CHECKING:
    from app.client import QueuedJob

BAR_CELLS = 10
MODEL_WIDTH = 28


def rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:,.0f} tok/s" if tokens_per_second >= 10 else f"{tokens_per_second:.1f} tok/s"


class JobLine(Static):
    """One line about the job `job_id`. Feed it every event; it picks out those that concern the job."""

    DEFAULT_CSS = "JobLine { height: 1; color: $text-muted; }"

    def __init__(self, job_id: str, state: JobState, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.job_id = job_id
        self.state = state
        self._show("waiting")
        self._enter(state)

    def place(self, queue: list[QueuedJob]) -> None:
        """Take the job's state and place from those that run and wait now."""
        for queued in queue:
            if queued.job.id != self.job_id:
                continue
            if queued.job.state is JobState.QUEUED and self.state is JobState.QUEUED:
                parts = ["waiting", f"{queued.ahead} ahead" if queued.ahead else "next"]
                if queued.wait is not None and queued.wait >= 1:
                    parts.append(f"about {queued.wait:,.0f} s")
                self._show(" · ".join(parts))
            elif self.state is JobState.QUEUED:
                self._enter(queued.job.state)

    def happened(self, event: Event) -> None:
        match event:
            case JobChanged(id=self.job_id, state=state):
                self._enter(JobState(state))
            case JobProgress(id=self.job_id):
                self._progress(event)
            case LoadProgress(model=model, fraction=fraction) if self.state in TAKEN:
                self._loading(model, fraction)
            # A job that runs may need a second model: what the worker loads, it loads for the one job that it works on.
            case StateChanged(to="unloading", model=model) if self.state in TAKEN:
                self._show(f"making room · unloading {one_line(model or 'the other model', MODEL_WIDTH)}")
            case StateChanged(to="loading", model=model) if self.state in TAKEN:
                self._loading(model or "the model", 0.0)
            case StateChanged(to="warm") if self.state is JobState.RUNNING:
                self._show("reading")
            case WorkerLost(attempt=attempt, attempts=attempts):
                self._show(f"the worker ended · starting it again ({attempt} of {attempts})")
            case JobChanged() | JobProgress() | LoadProgress() | StateChanged() | WorkerUp():
                pass
            case QueueChanged() | MemoryRead() | Planned() | Receipt():
                pass
            case _:
                assert_never(event)

    def _enter(self, state: JobState) -> None:
        self.state = state
        if state is JobState.WAITING:
            self._show("loading …")
        elif state is JobState.RUNNING:
            self._show("reading")

    def _progress(self, progress: JobProgress) -> None:
        self.state = JobState.RUNNING
        match progress.stage:
            case "prefill" if not progress.total:  # of a program's prompt only what was read is known
                self._show(f"reading · {counted(progress.done, 'token')}")
            case "prefill":
                self._show(f"reading {progress.done:,} of {progress.total:,} tokens")
            case "decode":
                speed = f" · {rate(progress.tokens_per_second)}" if progress.tokens_per_second else ""
                self._show(f"{counted(progress.done, 'token')}{speed} · Esc stops")
            case "embed":
                self._show(f"finding what is near · {progress.done:,} of {progress.total:,}")
            case "rerank":
                self._show(f"comparing {progress.done:,} of {progress.total:,} entries")
            case _:
                assert_never(progress.stage)

    def _loading(self, model: str, fraction: float) -> None:
        full, rest = bar(fraction, BAR_CELLS)
        self._show(f"loading {one_line(model, MODEL_WIDTH)} {full}{rest} {fraction:.0%}")

    def _show(self, line: str) -> None:
        self.update(Content(line), layout=False)  # its size never changes
