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
from core.settings import Policy
from core.settings_file import load_settings
from tests import waiting
from tests.conftest import settle

PATIENCE = 600.0
"""Seconds for one job: on a slow machine a measurement takes longer than a test may, and does not fail for it."""


@contextmanager
def home(files: Mapping[Role, Path], policy: Policy = Policy.AUTO) -> Iterator[Client]:
    """A client whose settings name only these model files and the policy of memory. No process is started."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        settle(Path(folder), patch)
        patch.setattr(waiting, "PATIENCE", PATIENCE)
        paths = find_paths()
        paths.make()
        models = "".join(f'[{role}]\nfile = "{file}"\n' for role, file in files.items())
        paths.config_file.write_text(f'[memory]\npolicy = "{policy}"\n{models}')
        client = Client(load_settings(), paths)
        yield client
        client.close()
