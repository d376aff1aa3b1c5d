"""The worker process: a Huey consumer of one thread, and the threads that only read or set flags."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis
from huey.consumer import Consumer

from core.bus import Bus
from core.database import await_writable, connect
from core.errors import CharlieError
from core.events import Heartbeat, Memory, MemoryRead, WorkerUp
from core.library import Library
from core.paths import find_paths
from core.settings import SettingsFile
from tasks.jobs import CANCEL, Jobs
from tasks.queue import FINISH
from tasks.runner import Runner
from tasks.tools import Tools

if TYPE_CHECKING:
    from types import FrameType

    from core.database import RedisClient
    from core.paths import Paths

log = logging.getLogger(__name__)

READ_SECONDS = 1.0
BEAT_SECONDS = 1.0
NOTICEABLE = 16 * 1024**2
"""Bytes; a smaller change of a reading is not worth an event."""
LEAVE_SECONDS = 8.0
TETHERED = "--tethered"
"""With this argument the worker ends when its standard input, a pipe from its owner, closes."""


def main() -> None:
    """Serve until told to end (SIGTERM or SIGINT: the running job is marked interrupted, the model unloaded)."""
    # When an assertion of llama.cpp fails, it would run a debugger on this process first, which takes its time.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    paths = find_paths()
    paths.make()
    # A file of its own: while llama.cpp loads, llama-cpp-python sends the process's output to nowhere.
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        filename=paths.logs / "worker.log",
    )
    # These tell of each message and callback; our jobs and transitions are told of by events.
    for chatty in ("huey", "transitions", "gguf"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if TETHERED in sys.argv:
        threading.Thread(target=_end_with_owner, daemon=True).start()
    try:
        _serve(paths)
    except CharlieError as error:
        log.error("%s", error)  # noqa: TRY400  # its sentence says all
        sys.exit(1)


def _serve(paths: Paths) -> None:
    from states.manager import ModelManager

    settings = SettingsFile()
    url = settings.current().database.url
    text, raw = connect(paths, url), connect(paths, url, decode=False)
    bus = Bus(text)
    tools = Tools(ModelManager(settings, paths, bus), bus, Jobs(text), Library(text), raw)
    await_writable(text, tools.leaving)
    runner = Runner(tools)
    runner.recover()
    manager = tools.manager
    runner.queue.on_shutdown(name="unload")(manager.leave)
    manager.arrive(WorkerUp(os.getpid()))
    own = Bus(text)  # so that what is read beside the work does not count as its progress
    for watch in (_watch_cancels, _watch_memory):
        threading.Thread(target=watch, args=(text, runner, own), daemon=True).start()
    threading.Thread(target=_beat, args=(runner, bus), daemon=True).start()
    _Consumer(runner).run()


class _Consumer(Consumer):  # type: ignore[misc]  # huey has no types
    """Ends on SIGTERM, SIGINT and SIGHUP, which interrupt the running job, and on FINISH, which waits for it."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(
            runner.queue,
            workers=1,
            worker_type="thread",
            periodic=False,
            graceful_signal="TERM",
            shutdown_timeout=LEAVE_SECONDS,
        )
        self._runner = runner
        # Huey would start itself anew on SIGHUP, and outlive the terminal that was closed.
        self._signal_actions |= {signal.SIGHUP: (False, True), FINISH: (False, True)}

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        if number == FINISH:
            self._runner.finish()
            self.shutdown_timeout = None
        else:
            self._runner.leave()
        super()._handle_signal(number, frame)

    def stop(self, graceful: bool = False) -> None:  # noqa: ARG002  # every signal ends it in order
        super().stop(graceful=True)


def _end_with_owner() -> None:
    """The pipe closes however the owner ends; what was taken from the queue is recovered at the next start."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def _watch_cancels(text: RedisClient, runner: Runner, _: Bus) -> None:
    while True:
        try:
            with text.pubsub() as channel:
                channel.subscribe(CANCEL)
                while True:
                    message: Any = channel.get_message(timeout=5.0)
                    if message is None:
                        continue
                    if message["type"] == "subscribe":  # also after the connection was lost
                        runner.look()
                    else:
                        runner.cancel(message["data"])
        except redis.RedisError:
            time.sleep(0.1)


def _beat(runner: Runner, bus: Bus) -> None:
    """Give a sign of life. It tells whether the work goes on, too: a thread of its own lives on while that hangs."""
    for beats in itertools.count(1):
        with suppress(redis.RedisError):  # the database is away; its owner knows
            bus.beat(Heartbeat(os.getpid(), beats, bus.published, runner.busy, runner.phase))
        time.sleep(BEAT_SECONDS)


def _watch_memory(_: RedisClient, runner: Runner, bus: Bus) -> None:
    from states.room import read_memory

    last = Memory()
    read_memory()
    # llama.cpp's module is imported by now: what stays for good is not looked through at each unload.
    gc.freeze()
    while True:
        now = read_memory()
        if _differ(now, last):
            last = now
            try:
                bus.publish(MemoryRead(now))
            except redis.RedisError:
                log.warning("A reading of the memory could not be published.")
        runner.relieve(now)
        runner.describe_at_rest()
        time.sleep(READ_SECONDS)


def _differ(now: Memory, last: Memory) -> bool:
    pairs = [(now.available, last.available), (now.process_rss, last.process_rss)]
    pairs += [(new.free, old.free) for new, old in zip(now.devices, last.devices, strict=False)]
    return len(now.devices) != len(last.devices) or any(abs(new - old) >= NOTICEABLE for new, old in pairs)


if __name__ == "__main__":
    main()
