"""A client with its own CHARLIE_HOME."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.client import Client
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tests.conftest import settle


@contextmanager
def home(files: Mapping[Role, Path]) -> Iterator[Client]:
    """A client whose settings name only these model files. No process is started."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        settle(Path(folder), patch)
        paths = find_paths()
        paths.make()
        paths.config_file.write_text("".join(f'[{role}]\nfile = "{file}"\n' for role, file in files.items()))
        client = Client(load_settings(), paths)
        yield client
        client.close()
