"""A text area in which keys and letters take effect in the order in which they were pressed."""

from __future__ import annotations

from textual import events
from textual.widgets import TextArea


class TypingArea(TextArea):
    """Does what its own keys and the screen's stand for at once.

    Textual hands such a key up to the app first, and a letter or a paste that follows overtakes it: what was typed
    after Ctrl+U would be deleted by it, what was typed after Ctrl+N would stay behind. As priority bindings they would
    overtake letters in turn.
    """

    async def _on_key(self, event: events.Key) -> None:
        bound = self.screen.active_bindings.get(event.key)
        if bound is not None and bound.node in (self, self.screen) and bound.enabled:
            event.prevent_default()
            event.stop()
            await bound.node.run_action(bound.binding.action)
