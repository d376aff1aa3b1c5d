"""Encodes events as JSON, and decodes them."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from functools import cache
from typing import Any, TypeVar, cast, get_args

from pydantic import TypeAdapter, ValidationError

from core.events.types import Event, Heartbeat, Snapshot
from core.text import clean

log = logging.getLogger(__name__)
Known = TypeVar("Known")
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}


def encode(event: Event | Snapshot | Heartbeat) -> str:
    """One JSON object with a `kind`. Lone surrogates, as in some file names, are replaced, so it can always be sent."""
    return clean(json.dumps({"kind": type(event).__name__, **asdict(event)}, ensure_ascii=False))


def decode(text: str) -> Event | None:
    """The event; None for an unknown kind or value. Unknown fields are ignored."""
    data = json.loads(text)
    kind = _KINDS.get(data.pop("kind", ""))
    if kind is None:
        log.warning("An event of an unknown kind was skipped: %.200s", text)
        return None
    try:
        event: Event = _decoder(kind).validate_python(data)
    except ValidationError:
        log.warning("An event with an unknown value was skipped: %.200s", text)
        return None
    return event


def decode_known(kind: type[Known], text: str | None) -> Known | None:
    """A snapshot or heartbeat; with an unknown value, of a later version, it counts as none."""
    try:
        # mypy takes the hash of a class for that of its objects.
        found: Known | None = _decoder(cast("Any", kind)).validate_json(text) if text else None
    except ValidationError:
        return None
    return found


@cache
def _decoder(kind: type[Any]) -> TypeAdapter[Any]:
    """Made when it is first needed, since that takes milliseconds."""
    return TypeAdapter(kind)
