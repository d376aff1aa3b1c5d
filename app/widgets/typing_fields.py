"""Fields in which keys and letters take effect in the order in which they were pressed.

Textual hands a key that stands for something up to the app first, and a letter or a paste that follows overtakes it:
what was typed after Ctrl+U would be deleted by it, what was typed after Ctrl+N would stay behind. As priority bindings
they would overtake letters in turn. So these fields do at once what their own keys and the screen's stand for.
"""

from __future__ import annotations

from textual import events
from textual.widget import Widget
from textual.widgets import Input, TextArea


class TypingArea(TextArea):
    async def _on_key(self, event: events.Key) -> None:
        await _obey(self, event)


class TypingField(Input):
    async def _on_key(self, event: events.Key) -> None:
        await _obey(self, event)


async def _obey(field: Widget, event: events.Key) -> None:
    bound = field.screen.active_bindings.get(event.key)
    if bound is not None and bound.node in (field, field.screen) and bound.enabled:
        event.prevent_default()
        event.stop()
        await bound.node.run_action(bound.binding.action)
