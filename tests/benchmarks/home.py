"""A Charlie with a folder of its own, for what is measured of the journal and of the queue."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.client import Client
from core.paths import find_paths
from core.settings import Role, load_settings


@contextmanager
def home(files: Mapping[Role, Path]) -> Iterator[Client]:
    """A client whose settings name these model files; nothing runs yet."""
    before = os.environ.get("CHARLIE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHARLIE_HOME"] = folder
        try:
            paths = find_paths()
            paths.make()
            paths.config_file.write_text("".join(f'[{role}]\nfile = "{file}"\n' for role, file in files.items()))
            client = Client(load_settings(), paths)
            yield client
            client.close()
        finally:
            os.environ.pop("CHARLIE_HOME")
            if before is not None:
                os.environ["CHARLIE_HOME"] = before
