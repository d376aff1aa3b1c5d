"""When keys are pressed: what redraws much waits for the moment after a key, and garbage for a longer pause."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from textual.app import App

TYPING_SECONDS = 0.2
"""Who has pressed a key within this time is typing. The longest time for which streamed text is held back."""
PAUSE_SECONDS = 1.0
"""After so long without a key, nobody waits for the screen."""
COLLECT_SECONDS = (10.0, 600.0)
"""Time between two collections of all garbage: at least, and at most if the keys never pause."""
YOUNG_GENERATION = 1


class KeyPauses:
    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._pressed = self._collected = time.monotonic()
        self._held: list[Callable[[], object]] = []

    def pressed(self) -> None:
        """A key is on its way to its widget."""
        self._pressed = time.monotonic()
        if self._held:
            self._app.screen.call_after_refresh(self._release)

    def between_keys(self, call: Callable[[], object]) -> None:
        """See Host.between_keys."""
        if time.monotonic() - self._pressed > TYPING_SECONDS:
            call()
            return
        if not self._held:
            self._app.set_timer(TYPING_SECONDS, self._release)
        self._held.append(call)

    def _release(self) -> None:
        held, self._held = self._held, []
        for call in held:
            call()

    def collect(self) -> None:
        """Collect garbage, as the caller of the app has turned off Python's own collection.

        The young objects take some milliseconds. All objects take a tenth of a second or more, in which the app
        takes no key, so they wait for a pause.
        """
        now = time.monotonic()
        least, most = COLLECT_SECONDS
        if now - self._collected >= (least if now - self._pressed >= PAUSE_SECONDS else most):
            gc.collect()
            self._collected = time.monotonic()
        else:
            gc.collect(YOUNG_GENERATION)
