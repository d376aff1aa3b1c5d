"""Owns the processes: database, then worker, then whoever asked; and back in the other order.

Whoever gets the lock on the data folder owns both; everybody else attaches. When the owner leaves, one of the
attached takes over at its next `tick()`, or as soon as a call finds no database.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import redis

from app.output import without_password
from app.watchdog import Watchdog
from core.database import Server, answers, read_address, take_lock
from core.errors import DatabaseError
from core.events import Snapshot, WorkerLost
from core.tether import tethered
from tasks.queue import FINISH

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from app.client import Client
    from core.paths import Paths

log = logging.getLogger(__name__)

ATTACH_SECONDS = 20.0
STOP_SECONDS = 10.0
PATIENT_SECONDS = 2.0
RESTARTS = 5
"""How often in a row a worker that ends by itself is started again."""
RESTART_SECONDS = 1.0
"""A database that ended is started again at most this often."""
REMOVED = "The data folder was removed while Charlie ran; the database has been written there anew."
LARGE_PAGES = "glibc.malloc.hugetlb=1"
"""Has glibc ask for large pages, as its manual says under Tunables; elsewhere it means nothing. A KV cache is zeros at
first, hundreds of megabytes of them: with pages of 4 kB a load takes three times as long, and cannot be stopped there.
"""
STEADY_SECONDS = 30.0
"""A worker that lived this long is taken for well, and the count begins anew."""


class Runtime:
    """The database and the worker, owned or attached to. Use it as a context manager, on the main thread.

    With `worker=False` an owner starts the database alone, for a command that only reads or writes the library.
    With `on_wait` the running job, which is then somebody else's, is finished before an orderly end; `on_wait` is
    called when that takes a while. Without it the job is interrupted.
    """

    def __init__(self, client: Client, *, worker: bool = True, on_wait: Callable[[], None] | None = None) -> None:
        self._client = client
        self._on_wait = on_wait
        self._paths: Paths = client.paths
        self._wants_worker = worker
        self._server: Server | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._started = 0.0
        self._lost = 0
        self._next_start = 0.0
        self._next_restart = 0.0
        self.gave_up = False
        """The worker ended too often in a row, and is not started again."""

    @property
    def notice(self) -> str:
        """What a person should know of this start; mostly nothing."""
        if self._server is None or not self._server.cut_off:
            return ""
        return "The end of the database file was cut off, as by a power cut; what was not whole there has been dropped."

    @property
    def owner(self) -> bool:
        return self._server is not None or self._worker is not None

    def __enter__(self) -> Self:
        self._paths.make()
        if self._client.settings.database.url is not None:
            self._reach()
            return self
        try:
            self._own_or_attach()
            self._client.on_missing = self._take_over
        except BaseException:
            self.stop()
            raise
        return self

    def _own_or_attach(self) -> None:
        deadline = time.monotonic() + ATTACH_SECONDS
        while not self._own() and not self._attached():
            if time.monotonic() > deadline:
                raise DatabaseError(
                    "Another Charlie holds the data folder but its database does not answer.",
                    f"See who uses {self._paths.database / 'lock'}, or try again in a moment.",
                )
            time.sleep(0.02)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unwinding = kind is not None and not issubclass(kind, Exception)  # Ctrl+C or a signal
        self.stop(patient=not unwinding)

    def tick(self) -> str:
        """Mend what broke: start a lost worker or database again, or take over from an owner that left.

        Call it a few times a second; it does nothing when all is well. Returns what a person should know of it,
        mostly nothing.
        """
        if self._client.settings.database.url is not None:
            return ""
        if self._server is None:
            if read_address(self._paths) is None or not self._attached():
                self._own()
            return ""
        if self._server.removed:
            self._server.bring_back()
            log.warning(REMOVED)
            return REMOVED
        self._mend(self._server)
        return ""

    def _mend(self, server: Server) -> None:
        if server.process.poll() is not None:
            self._restart_database(server)
            if server.process.poll() is not None:
                return
        if self._worker is not None:
            self._look_after(self._worker)
        if self._worker is None and self._wants_worker and time.monotonic() >= self._next_start:
            self._start_worker()

    def _take_over(self) -> None:
        """Servers are started from the main thread alone: they die with the thread that started them."""
        if self._server is None and threading.current_thread() is threading.main_thread():
            self._own()

    def stop(self, *, patient: bool = True) -> None:
        """End the worker (it finishes or marks its job, and unloads), then the database (it saves)."""
        self._client.on_missing = None
        worker, self._worker = self._worker, None
        server, self._server = self._server, None
        try:
            if worker is not None:
                _end(worker, self._on_wait if patient else None)
        finally:
            self._client.close()
            if server is not None:
                server.stop()

    def _reach(self) -> None:
        try:
            self._client.redis.ping()
        except redis.RedisError as error:
            url = without_password(self._client.settings.database.url)
            raise DatabaseError(
                f"No database answers at {url}: {str(error).rstrip('.')}.", "Check database.url."
            ) from error

    def _attached(self) -> bool:
        """True when the owner's database answers."""
        address = read_address(self._paths)
        return address is not None and answers(address)

    def _own(self) -> bool:
        lock = take_lock(self._paths)
        if lock is None:
            return False
        try:
            self._server = Server(self._paths, lock)
        except BaseException:
            os.close(lock)
            raise
        self._forget_worker()
        if self._wants_worker:
            self._start_worker()
        return True

    def _forget_worker(self) -> None:
        """Whoever owns the database first has no worker yet: what an earlier one had loaded went with it."""
        snapshot = self._client.snapshot()
        if snapshot.worker_pid is not None or snapshot.phase != "empty":
            self._client.bus.amend(Snapshot(seq=snapshot.seq, since=time.time()))

    def _restart_database(self, server: Server) -> None:
        """Raises DatabaseError, with the server as it was, when it cannot be started."""
        if time.monotonic() < self._next_restart:
            return
        self._next_restart = time.monotonic() + RESTART_SECONDS
        log.warning("The database ended with status %s; starting it again.", server.process.returncode)
        server.restart()

    def _start_worker(self) -> None:
        """The worker reads end of file on its standard input when this process ends, however it ends.

        On Linux the kernel kills it too, also while it is still starting, or stopped.
        """
        command = [sys.executable, "-P", "-m", "tasks.worker", "--tethered"]
        if sys.platform == "linux":
            command = tethered(signal.SIGKILL, command)
        with (self._paths.logs / "worker.log").open("ab") as out:
            self._worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, "GLIBC_TUNABLES": with_large_pages(os.environ.get("GLIBC_TUNABLES", ""))},
            )
        self._started = time.monotonic()
        self._watchdog = Watchdog(self._client.settings.watchdog, self._worker.pid)

    def _look_after(self, worker: subprocess.Popen[bytes]) -> None:
        if worker.poll() is not None:
            code = worker.returncode
            self._mourn(worker, f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}")
            return
        try:
            heartbeat = self._client.bus.heartbeat()
        except redis.RedisError:
            return
        if self._watchdog is not None and (reason := self._watchdog.complaint(heartbeat)):
            worker.kill()
            worker.wait()
            self._mourn(worker, reason)

    def _mourn(self, worker: subprocess.Popen[bytes], reason: str) -> None:
        self._worker = self._watchdog = None
        if worker.stdin:
            worker.stdin.close()
        if time.monotonic() - self._started > STEADY_SECONDS:
            self._lost = 0
        self._lost += 1
        self._next_start = time.monotonic() + (0 if self._lost == 1 else 0.125 * 2**self._lost)
        self._tell(WorkerLost(worker.pid, reason, self._lost, RESTARTS))
        log.warning("The worker ended (%s), %d of %d times.", reason, self._lost, RESTARTS)
        if self._lost > RESTARTS:
            self._wants_worker, self.gave_up = False, True

    def _tell(self, lost: WorkerLost) -> None:
        """The worker is started again even if the database is away just now."""
        try:
            seq = self._client.snapshot().seq
            self._client.bus.publish(lost, Snapshot(seq=seq, since=lost.at, reason=lost.reason, worker_lost=True))
        except redis.RedisError as error:
            log.warning("The loss of the worker could not be published. %s", error)


def with_large_pages(tunables: str) -> str:
    """What the person has set counts."""
    if "glibc.malloc.hugetlb" in tunables:
        return tunables
    return ":".join(filter(None, (tunables, LARGE_PAGES)))


def _end(process: subprocess.Popen[bytes], on_wait: Callable[[], None] | None) -> None:
    try:
        if on_wait is not None:
            process.send_signal(FINISH)
            _await_job(process, on_wait)
    finally:  # also when the person lost patience and interrupted the waiting
        _terminate(process)


def _await_job(process: subprocess.Popen[bytes], on_wait: Callable[[], None]) -> None:
    try:
        process.wait(PATIENT_SECONDS)
    except subprocess.TimeoutExpired:
        on_wait()
        process.wait()


def _terminate(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
