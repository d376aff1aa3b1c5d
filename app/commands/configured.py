"""Every setting with its value, and where that comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from core.paths import Paths
    from core.settings import Settings


def list_settings(settings: Settings, paths: Paths) -> Iterator[tuple[str, Any, str]]:
    """Every setting: its key, its value, and where that comes from."""
    from app.output import without_password
    from core.settings import ENV_PREFIX

    written = _read_toml(paths.config_file)
    values = settings.model_dump()
    values["database"]["url"] = without_password(settings.database.url)
    for key, value in _flatten(values):
        variable = ENV_PREFIX + key.replace(".", "__").upper()
        place = str(paths.config_file) if _has(written, key) else "default"
        yield key, value, variable if variable in os.environ else place


def _read_toml(file: Path) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(file.read_text()) if file.exists() else {}


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _has(written: dict[str, Any], key: str) -> bool:
    at: Any = written
    for part in key.split("."):
        if not isinstance(at, dict) or part not in at:
            return False
        at = at[part]
    return True
