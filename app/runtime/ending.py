"""Ends the worker's process."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable

from tasks.queue.huey_queue import FINISH

STOP_SECONDS = 10.0
SILENT_WAIT_SECONDS = 2.0


def end_worker(process: subprocess.Popen[bytes], on_wait: Callable[[], None] | None) -> None:
    """End a worker: with `on_wait` after its running job, without it at once. It then unloads."""
    try:
        if on_wait is not None:
            process.send_signal(FINISH)
            try:
                process.wait(SILENT_WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                on_wait()
                process.wait()
    finally:  # also when Ctrl+C interrupts the wait
        _terminate(process)


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
