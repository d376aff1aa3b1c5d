"""Tells from a worker's signs of life whether it has to be replaced: stopped, silent, or without progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from core.events import Heartbeat

if TYPE_CHECKING:
    from core.settings import WatchdogSettings


class Watchdog:
    """Watches one worker. It measures with its own clock how long a sign stays the same, never with two clocks."""

    def __init__(self, settings: WatchdogSettings, pid: int) -> None:
        self._settings = settings
        self._process = psutil.Process(pid)
        self._pid = pid
        self._seen = Heartbeat(pid)
        self._beat = self._progress = time.monotonic()
        self._stopped: float | None = None

    def complaint(self, heartbeat: Heartbeat | None) -> str:
        """Why the worker has to be replaced, given the last heartbeat in the database; empty while it is well."""
        now = time.monotonic()
        if heartbeat is not None and heartbeat.pid == self._pid:
            self._take(heartbeat, now)
        if self._has_been_stopped(now):
            return "it was stopped"
        settings = self._settings
        if self._seen.beats and 0 < settings.silence_seconds < now - self._beat:
            return f"it gave no sign of life for {now - self._beat:.0f} s"
        if not self._seen.busy:
            return ""
        still = now - self._progress
        if self._seen.phase == "unloading" and 0 < settings.unload_seconds < still:
            return f"an unload did not end within {still:.0f} s"
        if 0 < settings.progress_seconds < still:
            return f"its work made no progress for {still:.0f} s"
        return ""

    def _take(self, heartbeat: Heartbeat, now: float) -> None:
        if heartbeat.beats != self._seen.beats:
            self._beat = now
        if heartbeat.progress != self._seen.progress or not heartbeat.busy:
            self._progress = now
        self._seen = heartbeat

    def _has_been_stopped(self, now: float) -> bool:
        """Whether SIGSTOP holds it; a stop that passes at once is let go."""
        try:
            stopped = self._process.status() == psutil.STATUS_STOPPED
        except psutil.Error:  # it is gone, which is told of elsewhere
            stopped = False
        self._stopped = (self._stopped or now) if stopped else None
        limit = self._settings.stopped_seconds
        return self._stopped is not None and 0 < limit < now - self._stopped
