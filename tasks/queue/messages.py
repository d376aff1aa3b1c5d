"""The messages of the queue: plain JSON, checked before use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from huey.registry import Message
from huey.serializer import Serializer

from core.events.types import JobKind

EVICT = "evict_idle"
JOB_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
PREFIX = "tasks.queue"
"""Prefix of the task name in every message. It stays when modules move: queues outlive versions."""
TASKS = frozenset(f"{PREFIX}.{kind.value}" for kind in JobKind)
EVICTION = f"{PREFIX}.{EVICT}"


class JsonMessages(Serializer):  # type: ignore[misc]  # huey has no types
    """A message has the task's name, an id, plain arguments, and the time it is due, if any."""

    def _serialize(self, data: Any) -> bytes:
        if not isinstance(data, Message):
            return json.dumps(data).encode()
        return _encode(data.id, data.name, data.args or (), data.eta)

    def _deserialize(self, data: bytes) -> Any:
        return _decode(data)


def job_message(kind: JobKind, job_id: str) -> bytes:
    return _encode(job_id, f"{PREFIX}.{kind.value}", (job_id,))


def eviction_message(due: datetime) -> bytes:
    return _encode(EVICT, EVICTION, (), due)


def job_ids(messages: Iterable[bytes | str]) -> list[str]:
    """The jobs of these messages, without evictions and without what other programs have put into the queue."""
    found = []
    for message in messages:
        try:
            read = _decode(message)
        except Exception:  # noqa: BLE001, S112  # the worker rejects it when its turn comes
            continue
        if read.args:
            found.append(read.id)
    return found


def _encode(id_: str, name: str, args: Iterable[str], eta: datetime | None = None) -> bytes:
    due = eta.isoformat() if eta else None
    return json.dumps({"id": id_, "name": name, "args": list(args), "eta": due}).encode()


def _decode(data: bytes | str) -> Any:
    message = json.loads(data)
    if not isinstance(message, dict) or set(message) != {"id", "name", "args", "eta"}:
        raise ValueError("it has other fields")
    id_, name, args, eta = message["id"], message["name"], message["args"], message["eta"]
    if name == EVICTION:
        if (id_, args) != (EVICT, []) or not isinstance(eta, str | None):
            raise ValueError("it is no eviction")
    elif name not in TASKS:
        raise ValueError("there is no such task")
    elif not (isinstance(id_, str) and JOB_ID.fullmatch(id_)) or args != [id_] or eta is not None:
        raise ValueError("it is no job")
    due = None if eta is None else datetime.fromisoformat(eta)
    if due is not None and due.tzinfo is not None:  # Huey's own times have no zone, and cannot be compared with it
        raise ValueError("its time has a zone")
    return Message(id_, name, due, 0, 0, None, tuple(args), {})
