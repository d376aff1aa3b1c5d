"""Owns the processes: starts the database, then the worker, and stops them in the reverse order.

The process that gets the lock on the data folder owns both; all others attach. When the owner ends, an attached
process takes over at its next `tick()`, or when a call finds no database.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import redis

from app.client import Client
from app.runtime.ending import end_worker
from app.runtime.upkeep import Upkeep, adopt
from app.runtime.watchdog import Watchdog
from core.database import keys
from core.database.connection import NEWER, answers, newer_error, read_address, without_password
from core.database.schema import forbid_writes, is_newer
from core.database.server import POLL_SECONDS, START_SECONDS, Server, take_lock
from core.die_with_parent import bound_to_parent
from core.errors import DatabaseError
from core.events.types import Phase, Snapshot, WorkerLost
from core.paths import Paths

log = logging.getLogger(__name__)

ATTACH_SECONDS = 20.0
RESTARTS = 5
"""The worker is given up when it crashes more often than this in a row."""
RESTART_SECONDS = 1.0
"""The shortest time between two restarts of the database."""
REMOVED = "The data folder was removed while Charlie ran; the database was written there again."
TUNABLES = ("glibc.malloc.hugetlb=1", "glibc.malloc.arena_max=1")
"""Of glibc's malloc (Tunables in its manual); ignored elsewhere. Large pages: a new KV cache is hundreds of megabytes
of zeros; with pages of 4 kB a load takes three times as long, and cannot be cancelled there. One arena: `malloc_trim`
keeps the free end of any other, so that an unload would wait in vain for a compute buffer to come back.
"""
SPINS = "50000"
"""How often a computing thread looks for the others (GOMP_SPINCOUNT in libgomp's manual) before it sleeps, about a
millisecond: more than lies between two tokens, as waking would cost each 4%. By default it is six times as long: beside
a busy program a token takes seconds, and core/llama/threads.py chooses between two tokens.
"""
STEADY_SECONDS = 30.0
"""A worker that ran this long was healthy, so the count of crashes restarts."""


class Runtime:
    """The database and the worker, owned or attached to. Use it as a context manager, on the main thread.

    With `worker=False` an owner starts only the database, for a command that reads or writes the library.
    With `on_wait` an orderly end waits for the running job, which another process has submitted; `on_wait` is called
    when this takes long. Without it the job is interrupted. With `note` an orderly end does all upkeep that is due,
    and notes it when this takes long.
    """

    def __init__(
        self,
        client: Client,
        *,
        worker: bool = True,
        on_wait: Callable[[], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._client = client
        self._on_wait = on_wait
        self._note = note
        self._paths: Paths = client.paths
        self._wants_worker = worker
        self._server: Server | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._upkeep: Upkeep | None = None
        self._read_only = False
        self._started = threading.Event()
        self._worker_started = 0.0
        self._lost = 0
        self._next_start = 0.0
        self._next_restart = 0.0

    @property
    def notice(self) -> str:
        """A message for the user about this start; usually empty."""
        if self._read_only:
            return NEWER
        if self._server is None or not self._server.cut_off:
            return ""
        return "The end of the database file was cut off, as by a power cut; an incomplete write there was dropped."

    @property
    def owner(self) -> bool:
        return self._server is not None or self._worker is not None

    def __enter__(self) -> Self:
        try:
            for _ in self.starting():
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def starting(self) -> Generator[str, None, None]:
        """Start or attach in short steps, on the main thread; each yields a message for the user, usually empty.

        Until the end, or an early close, the client's calls on other threads wait for it. Raises DatabaseError.
        """
        self._paths.make()
        self._client.on_missing = self._wait_for_start
        try:
            if self._client.settings.database.url is None:
                yield from self._own_or_attach()
                self._check_schema()
            else:
                yield from _in_background(self._check_url)
                self._check_schema()
                self._adopt()
        finally:
            self._client.on_missing = self._take_over  # never called with a database.url
            self._started.set()
        yield self.notice

    def _wait_for_start(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            self._started.wait(START_SECONDS)

    def _own_or_attach(self) -> Iterator[str]:
        deadline = time.monotonic() + ATTACH_SECONDS
        while True:
            yield from self._owning()
            if self.owner or self._owner_answers():
                return
            if time.monotonic() > deadline:
                raise DatabaseError(
                    "Another Charlie holds the data folder but its database does not answer.",
                    f"Find the process that holds {self._paths.database / 'lock'}, or try again in a moment.",
                )
            yield ""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        unwinding = kind is not None and not issubclass(kind, Exception)  # Ctrl+C or a signal
        self.stop(patient=not unwinding)

    def tick(self) -> str:
        """Restart a dead worker or database, or take over from an owner that ended.

        Call it a few times a second. Returns a message for the user, usually empty.
        """
        if self._client.settings.database.url is not None:
            return ""
        if self._server is None:
            if not self._owner_answers():
                self._try_to_own()
            return ""
        if self._server.removed:
            self._server.bring_back()
            log.warning(REMOVED)
            return REMOVED
        self._restart_dead(self._server)
        return ""

    def _restart_dead(self, server: Server) -> None:
        if not server.socket.exists():
            log.warning("The database's socket was removed, and no process can connect to it.")
            server.process.kill()
            server.process.wait()
        if server.process.poll() is not None:
            self._restart_database(server)
            if server.process.poll() is not None:
                return
        if self._worker is not None:
            self._check_worker(self._worker)
        if self._worker is None and self._wants_worker and not self._read_only and time.monotonic() >= self._next_start:
            self._start_worker()

    def _take_over(self) -> None:
        """Only on the main thread: a server dies with the thread that started it."""
        if self._server is None and threading.current_thread() is threading.main_thread():
            self._try_to_own()

    def stop(self, *, patient: bool = True) -> None:
        """End the worker, which finishes or marks its job and unloads; do the upkeep; end the database, which saves."""
        began = time.monotonic()
        self._client.on_missing = None
        worker, self._worker = self._worker, None
        server, self._server = self._server, None
        upkeep, self._upkeep = self._upkeep, None
        try:
            if worker is not None:
                end_worker(worker, self._on_wait if patient else None)
            if upkeep is not None:
                upkeep.finish(self._note if patient else None, began)
        finally:
            self._client.close()
            if server is not None:
                server.stop()

    def _check_url(self) -> None:
        try:
            self._client.redis.ping()
        except redis.RedisError as error:
            url = without_password(self._client.settings.database.url)
            raise DatabaseError(
                f"No database answers at {url}: {str(error).rstrip('.')}.", "Check database.url."
            ) from error

    def _check_schema(self) -> None:
        """Raises DatabaseError for newer data that another process owns, unless that has forbidden writes."""
        if self.owner or not is_newer(self._client.redis):
            return
        try:
            self._client.redis.set(keys.WRITABLE, 1)
        except redis.exceptions.NoPermissionError:
            self._read_only = True
            return
        raise newer_error()

    def _owner_answers(self) -> bool:
        address = read_address(self._paths)
        return address is not None and answers(address)

    def _try_to_own(self) -> None:
        for _ in self._owning():
            time.sleep(POLL_SECONDS)

    def _owning(self) -> Iterator[str]:
        """Own database and worker, unless another process holds the lock."""
        lock = take_lock(self._paths)
        if lock is None:
            return
        try:
            server = Server(self._paths, lock)
            for _ in server.starting():
                yield ""
        except BaseException:
            os.close(lock)
            raise
        self._server = server
        if is_newer(self._client.redis):
            forbid_writes(self._client.redis)
            server.read_only = self._read_only = True
            return
        yield from _in_background(self._adopt)
        self._clear_snapshot()
        if self._wants_worker:
            self._start_worker()

    def _adopt(self) -> None:
        self._upkeep = adopt(self._client)

    def _clear_snapshot(self) -> None:
        """A new owner has no worker yet; clear what the previous worker left in the snapshot."""
        snapshot = self._client.snapshot()
        if snapshot.worker_pid is not None or snapshot.phase != Phase.EMPTY:
            self._client.bus.amend(Snapshot(seq=snapshot.seq, since=time.time()))

    def _restart_database(self, server: Server) -> None:
        """Raises DatabaseError when the server cannot be started; a later call tries again."""
        if time.monotonic() < self._next_restart:
            return
        self._next_restart = time.monotonic() + RESTART_SECONDS
        log.warning("The database ended with status %s; starting it again.", server.process.returncode)
        server.restart()

    def _start_worker(self) -> None:
        """The end of this process closes the worker's standard input, and the worker ends.

        On Linux the kernel also kills a worker that is starting or stopped.
        """
        command = [sys.executable, "-P", "-m", "tasks.worker", "--tethered"]
        if sys.platform == "linux":
            command = bound_to_parent(signal.SIGKILL, command)
        with (self._paths.logs / "worker.log").open("ab") as out:
            self._worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={
                    "GOMP_SPINCOUNT": SPINS,  # the user's own value wins
                    **os.environ,
                    "GLIBC_TUNABLES": with_tunables(os.environ.get("GLIBC_TUNABLES", "")),
                },
            )
        self._worker_started = time.monotonic()
        self._watchdog = Watchdog(self._client.settings.watchdog, self._worker.pid)

    def _check_worker(self, worker: subprocess.Popen[bytes]) -> None:
        if worker.poll() is not None:
            code = worker.returncode
            self._record_loss(worker, f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}")
            return
        try:
            heartbeat = self._client.bus.heartbeat()
        except redis.RedisError:
            return
        if self._watchdog is not None and (reason := self._watchdog.problem(heartbeat)):
            worker.kill()
            worker.wait()
            self._record_loss(worker, reason)

    def _record_loss(self, worker: subprocess.Popen[bytes], reason: str) -> None:
        self._worker = self._watchdog = None
        if worker.stdin:
            worker.stdin.close()
        if time.monotonic() - self._worker_started > STEADY_SECONDS:
            self._lost = 0
        self._lost += 1
        self._next_start = time.monotonic() + (0 if self._lost == 1 else 0.125 * 2**self._lost)
        self._publish_loss(WorkerLost(worker.pid, reason, self._lost, RESTARTS))
        log.warning("The worker ended (%s), %d of %d times.", reason, self._lost, RESTARTS)
        if self._lost > RESTARTS:
            self._wants_worker = False

    def _publish_loss(self, lost: WorkerLost) -> None:
        """A failure is only logged; the worker is restarted all the same."""
        try:
            seq = self._client.snapshot().seq
            self._client.bus.publish(lost, Snapshot(seq=seq, since=lost.at, reason=lost.reason, worker_lost=True))
        except redis.RedisError as error:
            log.warning("The loss of the worker could not be published. %s", error)


def _in_background(call: Callable[[], None]) -> Iterator[str]:
    """One step after the other until the call has ended, on a thread of its own: it may take seconds."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call)
        while not running.done():
            yield ""
    running.result()


def with_tunables(tunables: str) -> str:
    """The user's own values win."""
    ours = (each for each in TUNABLES if each.partition("=")[0] not in tunables)
    return ":".join(filter(None, (tunables, *ours)))
