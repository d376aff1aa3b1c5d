"""The embedded server: one for each data folder, private and durable."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from core.database.connection import Address, connect, read_address
from core.database.server import LONGEST_SOCKET_PATH, Server, take_lock
from core.errors import DatabaseError
from core.paths import Paths, find_paths
from tests.waiting import ends_within


def start(paths: Paths) -> Server:
    lock = take_lock(paths)
    assert lock is not None
    try:
        server = Server(paths, lock)
        deque(server.starting(), maxlen=0)  # each step asks the server
    except BaseException:
        os.close(lock)
        raise
    return server


@pytest.fixture
def server(paths: Paths) -> Iterator[Server]:
    made = start(paths)
    yield made
    made.stop()


def test_the_server_is_private(server: Server, paths: Paths) -> None:
    """No port; socket and folders are only for the user."""
    process = psutil.Process(server.process.pid)
    assert "redis-server" in process.name()
    assert process.net_connections("inet") == []
    for folder in (paths.database, paths.run, server.run, paths.logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
    assert read_address(paths) == Address(str(server.socket), server.process.pid, os.getpid())


def test_a_second_server_on_the_same_folder_is_impossible(paths: Paths) -> None:
    server = start(paths)
    assert take_lock(paths) is None
    server.stop()
    start(paths).stop()


def test_an_orphaned_server_keeps_the_lock(paths: Paths) -> None:
    """The server inherits the lock, which is held until the server ends."""
    server = start(paths)
    os.close(server._lock)
    assert take_lock(paths) is None
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(20)
    server._lock = lock = take_lock(paths) or -1
    assert lock > 0
    server.stop()


def test_stopping_leaves_no_process_and_no_run_folder(paths: Paths) -> None:
    server = start(paths)
    server.stop()
    assert server.process.returncode == 0
    assert not psutil.pid_exists(server.process.pid)
    assert list(paths.run.iterdir()) == []
    assert read_address(paths) is None


def test_data_survives_kill_9(paths: Paths) -> None:
    """Also the last write; a client survives the server."""
    server = start(paths)
    client = connect(paths, None)
    for number in range(1000):
        client.rpush("list", number)
    server.process.kill()
    server.process.wait(20)
    server.restart()
    assert client.llen("list") == 1000
    server.stop()
    server = start(paths)
    assert client.lrange("list", -1, -1) == ["999"]
    client.close()
    server.stop()


def test_an_incomplete_last_command_is_dropped(paths: Paths) -> None:
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


def test_damage_in_the_middle_is_reported_with_the_command_that_repairs_it(paths: Paths) -> None:
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


def test_an_error_shows_no_log_of_an_earlier_server(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ended without a log line is not explained by the log of another one."""
    start(paths).stop()
    monkeypatch.setattr("core.database.server.find_executable", lambda: shutil.which("false"))
    with pytest.raises(DatabaseError) as failed:
        start(paths)
    assert "bye bye" not in failed.value.message


def test_a_long_path_moves_the_socket_to_a_temporary_folder(tmp_path: Path) -> None:
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


def test_a_client_without_a_server_raises(paths: Paths) -> None:
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


def test_an_invalid_url_is_refused(paths: Paths) -> None:
    with pytest.raises(DatabaseError, match=r"database\.url = 'nonsense'"):
        connect(paths, "nonsense")


OWNER = """
import signal, sys
from core.database.server import Server, take_lock
from core.paths import find_paths
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # nohup and others ignore it for their children
paths = find_paths()
paths.make()
server = Server(paths, take_lock(paths))
list(server.starting())
print(server.process.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_server_ends_with_its_owner(home: Path, number: signal.Signals) -> None:
    """Within two seconds, saved, and with the lock released."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            with ends_within(int(owner.stdout.readline()), 2):
                owner.send_signal(number)
                owner.wait(20)
        finally:
            owner.kill()
    made = start(find_paths())
    made.stop()
