"""Makes pictures of the same state equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Input, TextArea

if TYPE_CHECKING:
    from textual.pilot import Pilot


async def still(pilot: Pilot[None]) -> None:
    """Stop blinking, with the cursor of the focused widget visible."""
    fields = (*pilot.app.screen.query(TextArea), *pilot.app.screen.query(Input))
    for field in fields:
        field.cursor_blink = False
    await pilot.pause()
    for field in fields:
        # A blink that was already due may have hidden the cursor; stopping again shows it, and none is due now.
        field.cursor_blink = True
        field.cursor_blink = False
        field.notify_style_update()  # a text area would show the line that it kept while the cursor was hidden
        field.refresh()
    await pilot.pause()
