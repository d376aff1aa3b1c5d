"""The progress of a job that has no output yet: waiting, loading, reading. Never blank."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, assert_never

from textual.content import Content
from textual.widgets import Static

from core.events import types as events
from core.figures import bar, counted, rate
from core.text import one_line

if TYPE_CHECKING:
    from app.client import QueuedJob

BAR_CELLS = 10
MODEL_WIDTH = 28


class JobLine(Static):
    """One line about the job `job_id`. Pass it every event; it picks those about the job."""

    DEFAULT_CSS = "JobLine { height: 1; color: $text-muted; }"

    def __init__(self, job_id: str, state: events.JobState, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.job_id = job_id
        self.state = state
        self._thinking_since = 0.0
        self._show("waiting")
        self._enter(state)

    def place(self, queue: list[QueuedJob]) -> None:
        """Take the job's state and place from the present queue."""
        for queued in queue:
            if queued.job.id != self.job_id:
                continue
            if queued.job.state is events.JobState.QUEUED and self.state is events.JobState.QUEUED:
                parts = ["waiting", f"{queued.ahead} ahead" if queued.ahead else "next"]
                if queued.wait is not None and queued.wait >= 1:
                    parts.append(f"about {queued.wait:,.0f} s")
                self._show(" · ".join(parts))
            elif self.state is events.JobState.QUEUED:
                self._enter(queued.job.state)

    def happened(self, event: events.Event) -> None:
        match event:
            case events.JobChanged(id=self.job_id, state=state):
                self._enter(events.JobState(state))
            case events.JobProgress(id=self.job_id):
                self._progress(event)
            case events.LoadProgress(model=model, fraction=fraction) if self.state in events.TAKEN:
                self._loading(model, fraction)
            # A running job may need a second model. The worker has one job, so each load is for that job.
            case events.StateChanged(to=events.Phase.UNLOADING, model=model) if self.state in events.TAKEN:
                self._show(f"making room · unloading {one_line(model or 'the other model', MODEL_WIDTH)}")
            case events.StateChanged(to=events.Phase.LOADING, model=model) if self.state in events.TAKEN:
                self._loading(model or "the model", 0.0)
            case events.StateChanged(trigger="loaded") if self.state is events.JobState.RUNNING:
                self._show("reading")
            case events.WorkerLost(attempt=attempt, attempts=attempts):
                self._show(f"the worker ended · restarting it ({attempt} of {attempts})")
            case (
                events.JobChanged()
                | events.JobProgress()
                | events.LoadProgress()
                | events.StateChanged()
                | events.WorkerUp()
                | events.QueueChanged()
                | events.MemoryRead()
                | events.LibraryChanged()
                | events.Planned()
                | events.PolicyChanged()
                | events.Receipt()
            ):
                pass
            case _:
                assert_never(event)

    def _enter(self, state: events.JobState) -> None:
        self.state = state
        if state is events.JobState.WAITING:
            self._show("waiting for the model …")
        elif state is events.JobState.RUNNING:
            self._show("reading")

    def _progress(self, progress: events.JobProgress) -> None:
        self.state = events.JobState.RUNNING
        match progress.stage:
            case "prefill" if not progress.total:  # the length of a program's prompt is not known
                self._show(f"reading · {counted(progress.done, 'token')}")
            case "prefill":
                self._show(f"reading {progress.done:,} of {progress.total:,} tokens")
            case "think":
                self._thinking_since = self._thinking_since or time.monotonic()
                self._show(f"thinking … {time.monotonic() - self._thinking_since:.0f} s · Esc stops")
            case "decode":
                speed = f" · {rate(progress.tokens_per_second)}" if progress.tokens_per_second else ""
                self._show(f"{counted(progress.done, 'token')}{speed} · Esc stops")
            case "embed":
                self._show(f"indexing · {progress.done:,} of {progress.total:,}")
            case _:
                assert_never(progress.stage)

    def _loading(self, model: str, fraction: float) -> None:
        full, rest = bar(fraction, BAR_CELLS)
        self._show(f"loading {one_line(model, MODEL_WIDTH)} {full}{rest} {fraction:.0%}")

    def _show(self, line: str) -> None:
        self.update(Content(line), layout=False)  # its size never changes
