"""`charlie paths`: prints the paths of Charlie's files."""

from __future__ import annotations

from app.commands.output import AsJson, data, data_json, table
from core.paths import find_paths


def paths(as_json: AsJson = False) -> None:
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
