"""Decides from heartbeats whether a worker must be replaced: stopped, silent, or without progress."""

from __future__ import annotations

import time

import psutil

from core.events.types import Heartbeat, Phase
from core.settings import WatchdogSettings


class Watchdog:
    """Watches one worker. This process's clock measures how long its heartbeat has not changed."""

    def __init__(self, settings: WatchdogSettings, pid: int) -> None:
        self._settings = settings
        self._process = psutil.Process(pid)
        self._pid = pid
        self._seen = Heartbeat(pid)
        self._beat = self._progress = time.monotonic()
        self._stopped: float | None = None

    def problem(self, heartbeat: Heartbeat | None) -> str:
        """The reason to replace the worker, given the last heartbeat in the database; empty if there is none."""
        now = time.monotonic()
        if heartbeat is not None and heartbeat.pid == self._pid:
            self._record(heartbeat, now)
        if self._stopped_too_long(now):
            return "it was stopped"
        settings = self._settings
        if self._seen.beats and 0 < settings.silence_seconds < now - self._beat:
            return f"it gave no sign of life for {now - self._beat:.0f} s"
        if not self._seen.busy:
            return ""
        still = now - self._progress
        if self._seen.phase == Phase.UNLOADING and 0 < settings.unload_seconds < still:
            return f"an unload did not end within {still:.0f} s"
        if 0 < settings.progress_seconds < still:
            return f"its work made no progress for {still:.0f} s"
        return ""

    def _record(self, heartbeat: Heartbeat, now: float) -> None:
        if heartbeat.beats != self._seen.beats:
            self._beat = now
        if heartbeat.progress != self._seen.progress or not heartbeat.busy:
            self._progress = now
        self._seen = heartbeat

    def _stopped_too_long(self, now: float) -> bool:
        """Whether SIGSTOP has held it for longer than the limit."""
        try:
            stopped = self._process.status() == psutil.STATUS_STOPPED
        except psutil.Error:  # it has ended, which the owner handles
            stopped = False
        self._stopped = (self._stopped or now) if stopped else None
        limit = self._settings.stopped_seconds
        return self._stopped is not None and 0 < limit < now - self._stopped
