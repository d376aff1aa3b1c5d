"""Pictures of the same state are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Input, TextArea

if TYPE_CHECKING:
    from textual.pilot import Pilot


async def still(pilot: Pilot[None]) -> None:
    """Stop what blinks, with the cursor of whatever has the focus in sight."""
    fields = (*pilot.app.screen.query(TextArea), *pilot.app.screen.query(Input))
    for field in fields:
        field.cursor_blink = False
    await pilot.pause()
    for field in fields:
        # A blink that was due already may have hidden it meanwhile; stopping once more shows it, and none is due now.
        field.cursor_blink = True
        field.cursor_blink = False
    await pilot.pause()
