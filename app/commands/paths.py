"""`charlie paths`: prints the paths of Charlie's files."""

from __future__ import annotations

from app.commands.output import AsJson, answer, table
from core.paths import find_paths


def paths(as_json: AsJson = False) -> None:
    found = find_paths()
    folders = {name: str(getattr(found, name)) for name in ("data", "database", "models", "logs", "run")}
    places = {"config": str(found.config_file), **folders}
    answer(places, table(places.items()), as_json=as_json)
