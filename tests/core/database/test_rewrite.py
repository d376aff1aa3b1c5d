"""The rewriting of the database file: removed texts leave it, and kill -9 or a full disk lose nothing."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.database import keys
from core.database.connection import read_address
from core.database.rewrite import rewrite, unremoved
from core.paths import find_paths
from core.settings_file import load_settings
from tests.e2e.processes import until
from tests.faults.files import fill, small_disk

WRITTEN = "Tulips of the neighbour"


def removed_entry(client: Client) -> None:
    entry = client.journal.new_entry(WRITTEN)
    client.journal.delete_entry(entry.id)
    client.trash.purge([entry.id])


def file_holds_it() -> bool:
    return any(WRITTEN.encode() in path.read_bytes() for path in find_paths().database.glob("*.aof"))


@contextmanager
def running() -> Iterator[tuple[Client, Runtime]]:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        yield client, runtime


def test_nothing_is_rewritten_without_a_reason(client: Client) -> None:
    before = (client.paths.database / "appendonly.aof").stat().st_ino
    client.journal.new_entry("A walk.")
    assert rewrite(client.redis, 10)
    assert (client.paths.database / "appendonly.aof").stat().st_ino == before


def test_removals_during_a_rewrite_are_not_forgotten(client: Client) -> None:
    removed_entry(client)
    stopped = iter([lambda: client.redis.incr(keys.UNREMOVED)])

    def stop() -> bool:
        next(stopped, lambda: None)()
        return False

    for number in range(2_000):
        client.redis.set(f"filler {number}", os.urandom(2_000).hex())
    assert rewrite(client.redis, 20, stop)
    assert unremoved(client.redis) == 2
    assert rewrite(client.redis, 20)
    assert unremoved(client.redis) == 0


@pytest.mark.parametrize("server", [True, False], ids=["the server", "the process that rewrites"])
def test_kill_9_in_the_rewriting_loses_nothing(home: Path, server: bool) -> None:
    with running() as (client, runtime):
        removed_entry(client)
        entries = [client.journal.new_entry(f"Entry {number}") for number in range(100)]
        for number in range(3_000):  # so that it takes a while
            client.redis.set(f"filler {number}", os.urandom(4_000).hex())
        address = read_address(client.paths)
        assert address is not None
        client.redis.bgrewriteaof()
        until(lambda: bool(psutil.Process(address.pid).children()))
        (child,) = psutil.Process(address.pid).children()
        child.suspend()
        os.kill(address.pid if server else child.pid, signal.SIGKILL)
        if server:
            child.kill()
            assert runtime._server is not None
            runtime._server.process.wait(20)
            runtime.tick()
            assert [path.name for path in client.paths.database.glob("*.aof")] == ["appendonly.aof"]
        assert client.journal.entries() == list(reversed(entries))
        assert file_holds_it()
        until(lambda: not client.redis.info("persistence")["aof_rewrite_in_progress"])
        client.journal.new_entry("Saved afterwards.")
        assert rewrite(client.redis, 20)
    with running() as (client, _):
        assert not file_holds_it()  # nor does an unfinished file, which a start removes
        assert len(client.journal.entries()) == 101


def test_a_full_disk_in_the_rewriting_loses_nothing(home: Path) -> None:
    with small_disk(find_paths().database) as mounted:
        if not mounted:
            pytest.skip("no file system can be mounted here")
        with running() as (client, _):
            entry = client.journal.new_entry("x" * 200_000)
            removed_entry(client)
            ballast = fill(client.paths.database)
            assert not rewrite(client.redis, 20)
            assert unremoved(client.redis) == 1
            assert client.journal.entry(entry.id) == entry
            ballast.unlink()
            until(lambda: client.redis.set(keys.WRITABLE, 1))
            assert rewrite(client.redis, 20)
            assert not file_holds_it()
            assert client.journal.entry(entry.id) == entry


def test_a_copy_of_the_file_after_a_rewriting_is_whole(client: Client, tmp_path: Path) -> None:
    """As after a power cut then: every saved text is in the new file."""
    removed_entry(client)
    entry = client.journal.new_entry("Saved before.")
    assert rewrite(client.redis, 20)
    after = client.journal.new_entry("Saved after.")
    copy = Path(shutil.copy(client.paths.database / "appendonly.aof", tmp_path / "copy.aof")).read_bytes()
    assert entry.text.encode() in copy
    assert after.text.encode() in copy
