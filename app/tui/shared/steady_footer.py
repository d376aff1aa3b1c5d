"""The keys at the bottom of a screen."""

from __future__ import annotations

from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer


class SteadyFooter(Footer):
    """Changes only with the keys that it shows.

    Textual's own makes all keys anew after each change of focus, twice, and the next key press waits for that.
    """

    held = False
    """Set it to show no keys before `release`."""
    _shown: list[tuple[Binding, bool, str]] | None = None

    def bindings_changed(self, screen: Screen[object]) -> None:
        if self.held:
            return
        shown = [(key, on, tip) for _, key, on, tip in screen.active_bindings.values() if key.show]
        if screen.app.app_focus and shown == self._shown:
            return
        self._shown = shown if screen.app.app_focus else None
        super().bindings_changed(screen)

    def release(self) -> None:
        self.held = False
        self.call_later(self.bindings_changed, self.screen)
