from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.events.bus import Bus
from core.library.conversations import Conversations
from core.library.journal import Journal
from core.paths import find_paths
from core.settings_file import SettingsFile, load_settings
from states.manager import ModelManager
from tasks.handlers.context import TaskContext
from tests.conftest import settle
from tests.model_files import write_slow
from tests.tiny_models import configure_reranker


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instruct model whose prefill and decoding are slow enough to be cancelled."""
    return write_slow(tmp_path_factory.mktemp("slow") / "slow.gguf")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A worker on tiny models of all three roles, for the tests of one module."""
    with pytest.MonkeyPatch.context() as patch:
        settle(tmp_path_factory.mktemp("served"), patch)
        configure_reranker(find_paths())
        client = Client(load_settings(), find_paths())
        with Runtime(client):
            yield client


def context_here(client: Client) -> TaskContext:
    """A context of this process, with a manager of its own."""
    bus = Bus(client.redis)
    manager = ModelManager(SettingsFile(), client.paths, bus)
    return TaskContext(manager, bus, client.jobs, Conversations(client.redis), Journal(client.redis), client._raw)


def configure_slow(slow: Path) -> None:
    paths = find_paths()
    paths.make()
    paths.config_file.write_text(f'[instruct]\nfile = "{slow}"\ncontext_length = 16384\nthreads = 1\n')
    configure_reranker(paths)


@pytest.fixture(scope="module")
def slowly(tmp_path_factory: pytest.TempPathFactory, slow: Path) -> Iterator[Client]:
    """A worker on the slow instruct model, for the tests of one module."""
    with pytest.MonkeyPatch.context() as patch:
        settle(tmp_path_factory.mktemp("slowly"), patch)
        configure_slow(slow)
        client = Client(load_settings(), find_paths())
        with Runtime(client):
            yield client


@pytest.fixture
def slow_runtime(home: Path, slow: Path) -> Iterator[tuple[Runtime, Client]]:
    """A worker on the slow instruct model, to be ended by the test."""
    configure_slow(slow)
    client = Client(load_settings(), find_paths())
    with Runtime(client) as running:
        yield running, client
