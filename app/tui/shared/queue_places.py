"""The places in the queue of the jobs that a widget shows."""

from __future__ import annotations

from asyncio import to_thread

from textual.widget import Widget

from app.tui.host import host
from app.tui.shared.coalesced import Coalesced
from app.tui.shared.job_line import JobLine
from app.tui.shared.notice import Notice
from core.events.types import Event, JobChanged, JobState, QueueChanged


class QueuePlaces:
    """Keeps every JobLine inside `widget` up to date."""

    def __init__(self, widget: Widget, notice: Notice) -> None:
        self._widget = widget
        self._reading = Coalesced(widget, self._read, notice.fail)

    def happened(self, event: Event) -> None:
        lines = self._widget.query(JobLine)
        for line in lines:
            line.happened(event)
        if isinstance(event, JobChanged | QueueChanged) and any(line.state is JobState.QUEUED for line in lines):
            self.refresh()

    def refresh(self) -> None:
        self._reading.request()

    async def _read(self) -> None:
        lines = list(self._widget.query(JobLine))
        queue = await to_thread(host(self._widget).client.positions, [line.job_id for line in lines])
        for line in lines:
            line.place(queue)
