"""The worker process: Huey's consumer with one thread, beside it threads that only read or set flags."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import redis

from core.database import RedisClient, keys
from core.database.connection import await_writable, connect
from core.errors import CharlieError
from core.events.bus import Bus
from core.events.types import Heartbeat, MemoryRead, WorkerUp
from core.library.conversations import Conversations
from core.library.journal import Journal
from core.memory.readings import read_memory
from core.memory.types import Memory
from core.paths import Paths, find_paths
from core.settings_file import SettingsFile
from tasks.handlers.context import TaskContext
from tasks.jobs.store import Jobs
from tasks.worker.consumer import SignalConsumer
from tasks.worker.recovery import recover
from tasks.worker.runner import Runner

log = logging.getLogger(__name__)

READ_SECONDS = 1.0
BEAT_SECONDS = 1.0
NOTICEABLE = 16 * 1024**2
"""Bytes; a smaller change of memory is not published."""
TETHERED = "--tethered"
"""With this argument the worker ends when its standard input, a pipe from its owner, closes."""


def main() -> None:
    """Serve until a signal comes: SIGTERM and SIGINT interrupt the running job, then the model is unloaded."""
    # Without this, a failed assertion in llama.cpp first runs a debugger on this process, which takes seconds.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    paths = find_paths()
    paths.make()
    # A file, not stderr: while llama.cpp loads, llama-cpp-python discards the output of the process.
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        filename=paths.logs / "worker.log",
    )
    # These log each message and callback; our events publish jobs and transitions already.
    for chatty in ("huey", "transitions", "gguf"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if TETHERED in sys.argv:
        threading.Thread(target=_end_with_owner, daemon=True).start()
    try:
        _serve(paths)
    except CharlieError as error:
        log.error("%s", error)  # noqa: TRY400  # its sentence is enough
        sys.exit(1)


def _serve(paths: Paths) -> None:
    from states.manager import ModelManager

    settings = SettingsFile()
    url = settings.current().database.url
    text, raw = connect(paths, url), connect(paths, url, decode=False)
    bus = Bus(text)
    context = TaskContext(ModelManager(settings, paths, bus), bus, Jobs(text), Conversations(text), Journal(text), raw)
    await_writable(text, context.leaving)
    runner = Runner(context)
    recover(context, runner.queue)
    manager = context.manager
    runner.queue.on_shutdown(name="unload")(manager.leave)
    crashed = bus.snapshot().worker_lost
    manager.announcer.arrive(WorkerUp(os.getpid()))
    if not crashed:  # a preload may have been the cause, and would be again
        runner.preload()
    own = Bus(text)  # apart from `bus`, whose counter is the progress of the work
    for watch in (_watch_cancels, _watch_memory):
        threading.Thread(target=watch, args=(text, runner, own), daemon=True).start()
    threading.Thread(target=_beat, args=(runner, bus), daemon=True).start()
    SignalConsumer(runner).run()


def _end_with_owner() -> None:
    """The pipe closes however the owner ends; the next worker recovers a taken job."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def _watch_cancels(text: RedisClient, runner: Runner, _: Bus) -> None:
    while True:
        try:
            with text.pubsub() as channel:
                channel.subscribe(keys.CANCELS)
                while True:
                    message: Any = channel.get_message(timeout=5.0)
                    if message is None:
                        continue
                    if message["type"] == "subscribe":  # also after the connection was lost
                        runner.catch_up_on_cancel()
                    else:
                        runner.cancel(message["data"])
        except redis.RedisError:
            time.sleep(0.1)


def _beat(runner: Runner, bus: Bus) -> None:
    """Publish heartbeats with a progress counter, since this thread goes on while the worker thread hangs."""
    for beats in itertools.count(1):
        with suppress(redis.RedisError):  # the database is away; its owner knows
            bus.beat(Heartbeat(os.getpid(), beats, bus.published, runner.busy, runner.phase))
        time.sleep(BEAT_SECONDS)


def _watch_memory(_: RedisClient, runner: Runner, bus: Bus) -> None:
    last = Memory()
    read_memory()
    # llama.cpp is imported by now; frozen objects are left out of the garbage collection at each unload.
    gc.freeze()
    while True:
        now = read_memory()
        if _differ(now, last):
            last = now
            try:
                bus.publish(MemoryRead(now))
            except redis.RedisError:
                log.warning("A reading of the memory could not be published.")
        runner.eviction.hasten(now, runner.busy)
        runner.idle_work.queue_next(runner.busy)
        time.sleep(READ_SECONDS)


def _differ(now: Memory, last: Memory) -> bool:
    pairs = [(now.available, last.available), (now.process_rss, last.process_rss)]
    pairs += [(new.free, old.free) for new, old in zip(now.devices, last.devices, strict=False)]
    return len(now.devices) != len(last.devices) or any(abs(new - old) >= NOTICEABLE for new, old in pairs)


if __name__ == "__main__":
    main()
