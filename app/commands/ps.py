"""`charlie ps`: the phase, the queue, the processes and the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import psutil

from app.client import Client
from app.commands.attach import Session
from app.commands.output import AsJson, answer, table
from app.commands.session import session
from core.database.connection import read_address, without_password
from core.database.keys import LIVE
from core.events.types import MemoryRead, Phase, Snapshot
from core.events.wire import decode
from core.figures import counted, local_time, size
from core.memory.readings import read_ram
from core.memory.types import Memory

REFUSED_SHOWN = 3


def ps(as_json: AsJson = False) -> None:
    with session(worker=False) as running:
        report = _report(running)
    answer(report, _as_table(report), as_json=as_json)


def current_snapshot(running: Session) -> Snapshot:
    """The stored snapshot; an empty one if it is left over from an earlier run or a dead worker."""
    snapshot = running.client.snapshot()
    if running.client.settings.database.url is not None:
        return snapshot
    if running.owner or snapshot.worker_pid is None or not psutil.pid_exists(snapshot.worker_pid):
        return Snapshot(seq=snapshot.seq, since=snapshot.since)
    return snapshot


def _report(running: Session) -> dict[str, Any]:
    client = running.client
    snapshot = current_snapshot(running)
    refused, last = client.refused(REFUSED_SHOWN)
    return {
        "phase": snapshot.phase,
        "role": snapshot.role,
        "model": snapshot.model,
        "since": snapshot.since or None,
        "warm": [asdict(each) for each in snapshot.warm],
        "policy": {"policy": snapshot.policy, "reason": snapshot.policy_reason} if snapshot.policy else None,
        "worker": {"pid": snapshot.worker_pid} if snapshot.worker_pid else None,
        "database": _database(client),
        "queue": [
            {"id": each.job.id, "kind": each.job.kind, "state": each.job.state, "position": each.position}
            for each in client.queue()
        ],
        "set_aside": [
            {"id": job.id, "kind": job.kind, "subject": job.subject, "ended": job.ended, "error": job.error}
            for job in client.jobs.parked()
        ],
        "refused": {"count": refused, "last": last},
        "memory": _memory(client, snapshot.worker_pid),
    }


def _database(client: Client) -> dict[str, Any]:
    url = client.settings.database.url
    if url is not None:
        return {"pid": None, "socket": None, "url": without_password(url)}
    address = read_address(client.paths)
    return {"pid": address.pid, "socket": address.socket} if address else {"pid": None, "socket": None}


def _memory(client: Client, worker: int | None) -> dict[str, Any]:
    """The current RAM, and the worker's last reading of the devices."""
    ram, rss, devices = read_ram(), None, list[dict[str, Any]]()
    if worker is not None:
        with suppress(psutil.Error):  # it runs on another machine
            rss = psutil.Process(worker).memory_info().rss
        events = (decode(values["event"]) for _, values in client.redis.xrevrange(LIVE))
        read = next((event.memory for event in events if isinstance(event, MemoryRead)), Memory())
        devices = [asdict(device) for device in read.devices]
    return {"ram": {"total": ram.total, "available": ram.available, "process_rss": rss}, "devices": devices}


def _moment(at: float | None) -> str:
    return local_time(at, "%Y-%m-%d %H:%M:%S") if at else "-"


def _models(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The model that is being loaded or unloaded, and each warm one."""
    if report["phase"] in (Phase.LOADING, Phase.UNLOADING):
        yield report["phase"], f"{report['role']} · {report['model']}"
    for each in report["warm"]:
        until = _moment(each["kept_until"]) if each["kept_until"] else "its memory is needed"
        yield "warm", f"{each['role']} · {each['model']} · {'pinned' if each['pinned'] else f'kept until {until}'}"


def _as_table(report: dict[str, Any]) -> str:
    ram, worker, database, policy = report["memory"]["ram"], report["worker"], report["database"], report["policy"]
    rows = [
        ("phase", report["phase"]),
        ("since", _moment(report["since"])),
        *_models(report),
        ("policy", f"{policy['policy']}: {policy['reason']}" if policy else "-"),
        ("worker", f"pid {worker['pid']}" if worker else "-"),
        ("database", database.get("url") or f"pid {database['pid']}, {database['socket']}"),
        ("RAM", f"{size(ram['available'])} of {size(ram['total'])} available"),
        *([("worker's RAM", size(ram["process_rss"]))] if ram["process_rss"] else []),
        *((device["name"], f"{size(device['free'])} of {size(device['total'])} free")
          for device in report["memory"]["devices"]),
        ("queue", counted(len(report["queue"]), "job") if report["queue"] else "empty"),
    ]  # fmt: skip
    jobs = [(f"  {each['position']}", f"{each['id']}  {each['kind']}  {each['state']}") for each in report["queue"]]
    return table([*rows, *jobs, *_problems(report)])


def _problems(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Parked jobs and refused messages, for the user to decide on."""
    if parked := report["set_aside"]:
        yield "parked", f"{counted(len(parked), 'job')}; `charlie retry JOB` or `charlie drop JOB` (skips the entry)"
    for job in parked:
        yield "  !", f"{job['id']}  {job['kind']}  of {job['subject']}"
    if count := report["refused"]["count"]:
        yield "refused", f"{counted(count, 'message')} in the queue are not Charlie's; the last of them:"
    for message in report["refused"]["last"]:
        yield "  !", message
