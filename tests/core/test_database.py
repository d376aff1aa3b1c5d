"""The embedded server: one per data folder, private, and as durable as it promises."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from core import database
from core.database import LONGEST_SOCKET_PATH, Server, connect, read_address, take_lock
from core.errors import DatabaseError
from core.paths import Paths, find_paths
from tests.waiting import ends_within


def start(paths: Paths) -> Server:
    lock = take_lock(paths)
    assert lock is not None
    try:
        return Server(paths, lock)
    except BaseException:
        os.close(lock)
        raise


@pytest.fixture
def server(paths: Paths) -> Iterator[Server]:
    made = start(paths)
    yield made
    made.stop()


def test_it_is_private(server: Server, paths: Paths) -> None:
    """No port, a socket that only the user can reach, folders that only the user can enter."""
    process = psutil.Process(server.process.pid)
    assert "redis-server" in process.name()
    assert process.net_connections("inet") == []
    for folder in (paths.database, paths.run, server.run, paths.logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
    assert read_address(paths) == database.Address(str(server.socket), server.process.pid, os.getpid())


def test_a_second_one_is_impossible(paths: Paths) -> None:
    server = start(paths)
    assert take_lock(paths) is None
    server.stop()
    start(paths).stop()


def test_also_while_an_orphan_lives(paths: Paths) -> None:
    """The server inherits the lock, so it is held until the server itself has gone."""
    server = start(paths)
    os.close(server._lock)
    assert take_lock(paths) is None
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server._lock = lock = take_lock(paths) or -1
    assert lock > 0
    server.stop()


def test_stopping_leaves_nothing(paths: Paths) -> None:
    server = start(paths)
    server.stop()
    assert server.process.returncode == 0
    assert not psutil.pid_exists(server.process.pid)
    assert list(paths.run.iterdir()) == []
    assert read_address(paths) is None


def test_data_survive_kill_9(paths: Paths) -> None:
    """Also what was written a moment before; a client outlives the server."""
    server = start(paths)
    client = connect(paths, None)
    for number in range(1000):
        client.rpush("list", number)
    server.process.kill()
    server.process.wait()
    server.restart()
    assert client.llen("list") == 1000
    server.stop()
    server = start(paths)
    assert client.lrange("list", -1, -1) == ["999"]
    client.close()
    server.stop()


def test_a_cut_off_end_of_the_file_is_no_harm(paths: Paths) -> None:
    server = start(paths)
    client = connect(paths, None)
    client.set("a", "1")
    client.set("b", "2")
    server.stop()
    file = paths.database / "appendonly.aof"
    os.truncate(file, file.stat().st_size - 3)
    server = start(paths)
    assert server.cut_off
    assert client.get("a") == "1"
    client.close()
    server.stop()
    server = start(paths)
    assert not server.cut_off
    server.stop()


def test_damage_in_the_middle_is_told_with_the_way_out(paths: Paths) -> None:
    server = start(paths)
    client = connect(paths, None)
    for number in range(100):
        client.set(f"key {number}", "x" * 50)
    client.close()
    server.stop()
    file = paths.database / "appendonly.aof"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\x00" * 40
    file.write_bytes(data)
    with pytest.raises(DatabaseError, match="bytes cannot be read") as failed:
        start(paths)
    assert str(file) in failed.value.message
    assert "`charlie repair`" in failed.value.hint
    assert file.read_bytes() == data
    assert list(paths.run.iterdir()) == []
    lock = take_lock(paths)
    assert lock is not None
    os.close(lock)


def test_words_of_yesterday_are_not_repeated(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends without a word must not be explained by what another one has logged."""
    start(paths).stop()
    monkeypatch.setattr(database, "find_executable", lambda: shutil.which("false"))
    with pytest.raises(DatabaseError) as failed:
        start(paths)
    assert "bye bye" not in failed.value.message


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    paths = Paths(*(deep / name for name in ("config", "data", "models", "logs", "run")))
    paths.make()
    server = start(paths)
    assert len(os.fsencode(server.socket)) < LONGEST_SOCKET_PATH
    assert not server.socket.is_relative_to(deep)
    assert stat.S_IMODE(server.run.stat().st_mode) == 0o700
    client = connect(paths, None)
    assert client.ping()
    client.close()
    server.stop()
    assert not server.run.exists()


def test_no_server(paths: Paths) -> None:
    assert read_address(paths) is None
    client = connect(paths, None)
    began = time.monotonic()
    with pytest.raises(redis.ConnectionError, match="no database is running"):
        client.ping()
    assert time.monotonic() - began < 10
    (paths.database / "address.json").write_text("{")
    assert read_address(paths) is None
    (paths.database / "address.json").write_text('{"socket": "x"}')
    assert read_address(paths) is None


def test_a_url_that_is_none(paths: Paths) -> None:
    with pytest.raises(DatabaseError, match=r"database\.url = 'nonsense'"):
        connect(paths, "nonsense")


OWNER = """
import signal, sys
from core.database import Server, take_lock
from core.paths import find_paths
paths = find_paths()
paths.make()
server = Server(paths, take_lock(paths))
print(server.process.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_with_its_owner(home: Path, number: signal.Signals) -> None:
    """Within two seconds, saved, and with the lock let go of."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        with ends_within(int(owner.stdout.readline()), 2):
            owner.send_signal(number)
            owner.wait()
    made = start(find_paths())
    made.stop()
