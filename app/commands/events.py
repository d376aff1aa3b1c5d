"""`charlie events`: prints the events of models, jobs and workers."""

from __future__ import annotations

import json
from typing import Annotated, assert_never

import typer

from app.commands.output import AsJson, data
from app.commands.session import session
from core.events import types
from core.events.bus import KEPT_EVENTS
from core.events.wire import encode
from core.figures import clock, size


def events(
    as_json: AsJson = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new events.")] = False,
) -> None:
    show = line if not as_json else json_line
    with session(worker=follow) as running:
        if not follow:
            for event in running.client.bus.history():
                data(show(event))
            return
        for item in running.client.bus.follow(lambda: False, past=KEPT_EVENTS):
            running.tick()
            if item is not None and not isinstance(item, types.Snapshot):
                data(show(item))


def json_line(event: types.Event) -> str:
    """The event as a JSON object with its kind first; a transition's source is called `from`."""
    names = {"source": "from"}
    return json.dumps({names.get(key, key): value for key, value in json.loads(encode(event)).items()})


def line(event: types.Event) -> str:
    """The event as one line of text; a lasting event begins with its time."""
    match event:
        case types.LoadProgress():
            return f"          loading {event.role} · {event.model}  {event.fraction:.0%}"
        case types.JobProgress():
            return f"          {event.stage} {event.id}  {event.done} of {event.total}"
        case types.QueueChanged():
            return f"          queue {event.depth}"
        case types.MemoryRead():
            return f"          available {event.memory.available:,} of {event.memory.total:,} bytes"
        case types.LibraryChanged():
            return f"          changed {event.id}".rstrip()
        case _:
            return f"{clock(event.at)}  {_lasting(event)}".rstrip()


def _lasting(event: types.Lasting) -> str:
    match event:
        case types.StateChanged():
            about = " · ".join(part for part in (event.role, event.model, event.reason) if part)
            # Only loading and unloading take time; the others are waits.
            elapsed = (
                f"{event.elapsed_ms:.0f} ms" if event.source in (types.Phase.LOADING, types.Phase.UNLOADING) else ""
            )
            return f"{event.source} → {event.to}  {event.trigger}  {elapsed}  {about}"
        case types.Planned():
            first = f"unload {', '.join(event.unload)}, then " if event.unload else ""
            return f"plan  {first}{event.role} · {event.model}  {event.reason}"
        case types.Receipt():
            returned = f"{size(event.returned)} of {size(event.expected)} returned in {event.seconds:.2f} s"
            return f"{'MEMORY KEPT' if event.short else 'receipt'}  {event.role} · {event.model}  {returned}"
        case types.PolicyChanged():
            return f"policy {event.policy}  {event.reason}"
        case types.WorkerUp():
            return f"worker {event.pid} is up"
        case types.WorkerLost():
            return f"worker {event.pid} lost: {event.reason} ({event.attempt} of {event.attempts})"
        case types.JobChanged():
            return f"{event.job} {event.id}  {event.state}  {event.error}"
        case _:
            assert_never(event)
