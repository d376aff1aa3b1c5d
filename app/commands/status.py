"""`charlie ps`, `events` and `paths`: what is, what happened, and where things are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, assert_never

import typer

from app.commands.ask import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.client import Client
    from app.commands.session import Session
    from core.events import Event, Lasting, Memory, Snapshot

REFUSED_SHOWN = 3


def ps(as_json: AsJson = False) -> None:
    """Show the phase, the queue, the processes and the memory."""
    from app.commands.session import session
    from app.output import data, data_json

    with session(worker=False) as running:
        report = _report(running)
    if as_json:
        data_json(report)
    else:
        data(_as_table(report))


def present(running: Session) -> Snapshot:
    """The state now. The stored one is of an earlier run when nobody was running, or when its worker is dead."""
    from psutil import pid_exists

    from core.events import Snapshot

    snapshot = running.client.snapshot()
    if running.client.settings.database.url is not None:
        return snapshot
    if running.owner or snapshot.worker_pid is None or not pid_exists(snapshot.worker_pid):
        return Snapshot(seq=snapshot.seq, since=snapshot.since)
    return snapshot


def _report(running: Session) -> dict[str, Any]:
    client = running.client
    snapshot = present(running)
    refused, last = client.refused(REFUSED_SHOWN)
    return {
        "phase": snapshot.phase,
        "role": snapshot.role,
        "model": snapshot.model,
        "since": snapshot.since or None,
        "keep_alive_until": snapshot.keep_alive_until,
        "worker": {"pid": snapshot.worker_pid} if snapshot.worker_pid else None,
        "database": _database(client),
        "queue": [
            {"id": each.job.id, "kind": each.job.kind, "state": each.job.state, "position": each.position}
            for each in client.queue()
        ],
        "set_aside": [
            {"id": job.id, "kind": job.kind, "subject": job.subject, "ended": job.ended, "error": job.error}
            for job in client.jobs.aside()
        ],
        "refused": {"count": refused, "last": last},
        "memory": _memory(client, snapshot.worker_pid),
    }


def _database(client: Client) -> dict[str, Any]:
    from app.output import without_password
    from core.database import read_address

    url = client.settings.database.url
    if url is not None:
        return {"pid": None, "socket": None, "url": without_password(url)}
    address = read_address(client.paths)
    return {"pid": address.pid, "socket": address.socket} if address else {"pid": None, "socket": None}


def _memory(client: Client, worker: int | None) -> dict[str, Any]:
    """RAM as it is now, and the devices as the worker read them last."""
    from dataclasses import asdict

    from core.memory import read_ram

    ram = read_ram()
    read = _last_reading(client) if worker else None
    return {
        "ram": {"total": ram.total, "available": ram.available, "process_rss": _rss(worker)},
        "devices": [asdict(device) for device in read.devices] if read else [],
    }


def _rss(worker: int | None) -> int | None:
    """Bytes of RAM that the worker holds; None without a worker on this machine."""
    import psutil

    if worker is None:
        return None
    try:
        return int(psutil.Process(worker).memory_info().rss)
    except psutil.Error:
        return None


def _last_reading(client: Client) -> Memory | None:
    from core.bus import LIVE
    from core.events import MemoryRead, decode

    events = (decode(values["event"]) for _, values in client.redis.xrevrange(LIVE))
    return next((event.memory for event in events if isinstance(event, MemoryRead)), None)


def _as_table(report: dict[str, Any]) -> str:
    from time import localtime, strftime

    from app.output import counted, size, table

    def clock(at: float | None) -> str:
        return strftime("%Y-%m-%d %H:%M:%S", localtime(at)) if at else "-"

    ram, worker, database = report["memory"]["ram"], report["worker"], report["database"]
    rows = [
        ("phase", report["phase"]),
        ("model", " · ".join(part for part in (report["role"], report["model"]) if part) or "-"),
        ("since", clock(report["since"])),
        ("kept until", clock(report["keep_alive_until"])),
        ("worker", f"pid {worker['pid']}" if worker else "-"),
        ("database", database.get("url") or f"pid {database['pid']}, {database['socket']}"),
        ("RAM", f"{size(ram['available'])} of {size(ram['total'])} available"),
        *((device["name"], f"{size(device['free'])} of {size(device['total'])} free")
          for device in report["memory"]["devices"]),
        ("queue", counted(len(report["queue"]), "job") if report["queue"] else "empty"),
    ]  # fmt: skip
    if ram["process_rss"]:
        rows.insert(7, ("worker's RAM", size(ram["process_rss"])))
    jobs = [(f"  {each['position']}", f"{each['id']}  {each['kind']}  {each['state']}") for each in report["queue"]]
    return table([*rows, *jobs, *_not_done(report)])


def _not_done(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What somebody should look at, if there is anything."""
    from app.output import counted

    if aside := report["set_aside"]:
        yield "set aside", f"{counted(len(aside), 'job')}; `charlie retry JOB` or `charlie drop JOB` decides"
    for job in aside:
        yield "  !", f"{job['id']}  {job['kind']}  of {job['subject']}"
    if count := report["refused"]["count"]:
        yield "refused", f"{counted(count, 'message')} in the queue that Charlie did not write; the last of them:"
    for message in report["refused"]["last"]:
        yield "  !", message


def events(
    as_json: AsJson = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
) -> None:
    """Show the events, the oldest first: transitions, jobs and the worker."""
    from app.commands.session import session
    from app.output import data
    from core.bus import KEPT
    from core.events import Snapshot

    show = line if not as_json else json_line
    with session(worker=follow) as running:
        if not follow:
            for event in running.client.bus.history():
                data(show(event))
            return
        for item in running.client.bus.follow(lambda: False, past=KEPT):
            running.tick()
            if item is not None and not isinstance(item, Snapshot):
                data(show(item))


def json_line(event: Event) -> str:
    """The event as a JSON object with its kind first; a transition's source is called `from`."""
    import json

    from core.events import encode

    names = {"source": "from"}
    return json.dumps({names.get(key, key): value for key, value in json.loads(encode(event)).items()})


def line(event: Event) -> str:
    """The event in words, on one line; the time stands before those that last."""
    from time import localtime, strftime

    from core.events import JobProgress, LoadProgress, MemoryRead, QueueChanged

    match event:
        case LoadProgress():
            return f"          loading {event.role} · {event.model}  {event.fraction:.0%}"
        case JobProgress():
            return f"          {event.stage} {event.id}  {event.done} of {event.total}"
        case QueueChanged():
            return f"          queue {event.depth}"
        case MemoryRead():
            return f"          available {event.memory.available:,} of {event.memory.total:,} bytes"
        case _:
            return f"{strftime('%H:%M:%S', localtime(event.at))}  {_lasting(event)}".rstrip()


def _lasting(event: Lasting) -> str:
    from app.output import size
    from core.events import JobChanged, Planned, Receipt, StateChanged, WorkerLost, WorkerUp

    match event:
        case StateChanged():
            about = " · ".join(part for part in (event.role, event.model, event.reason) if part)
            # How long a model was warm, or none was, is no duration of a transition.
            elapsed = f"{event.elapsed_ms:.0f} ms" if event.source in ("loading", "unloading") else ""
            return f"{event.source} → {event.to}  {event.trigger}  {elapsed}  {about}"
        case Planned():
            first = f"unload {', '.join(event.unload)}, then " if event.unload else ""
            return f"plan  {first}{event.role} · {event.model}  {event.reason}"
        case Receipt():
            back = f"gave {size(event.returned)} back, {size(event.expected)} were taken, in {event.seconds:.2f} s"
            return f"{'MEMORY KEPT' if event.short else 'receipt'}  {event.role} · {event.model}  {back}"
        case WorkerUp():
            return f"worker {event.pid} is up"
        case WorkerLost():
            return f"worker {event.pid} lost: {event.reason} ({event.attempt} of {event.attempts})"
        case JobChanged():
            return f"{event.job} {event.id}  {event.state}  {event.error}"
        case _:
            assert_never(event)


def paths(as_json: AsJson = False) -> None:
    """Show where the files are."""
    from app.output import data, data_json, table
    from core.paths import find_paths

    found = find_paths()
    places = {
        "config": found.config_file,
        "data": found.data,
        "database": found.database,
        "models": found.models,
        "logs": found.logs,
        "run": found.run,
    }
    if as_json:
        data_json({name: str(path) for name, path in places.items()})
    else:
        data(table((name, str(path)) for name, path in places.items()))
