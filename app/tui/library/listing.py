"""What the lists of entries, conversations and search results share: records in lines, of which one is opened."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option


@dataclass
class Opened(Message):
    """The user wants to open the record with this id."""

    id: str
    source: Widget


class Listing(Vertical):
    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.options = OptionList(compact=True)

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(Opened(event.option_id, self))

    def refill(self, shown: list[Option], opened: str | None, highlight: str | None = None) -> None:
        """Show these options, with the cursor on `highlight`, or where it was, or on the `opened` record."""
        options, place = self.options, self.options.highlighted
        wanted = highlight or (options.highlighted_option.id if options.highlighted_option else opened)
        options.set_options(shown)
        ids = [option.id for option in shown]
        wanted = wanted if wanted in ids else opened
        if wanted is not None and wanted in ids:
            options.highlighted = ids.index(wanted)
        elif shown and place is not None:  # what was there has been deleted
            options.highlighted = min((n for n, id_ in enumerate(ids) if id_), key=lambda n: abs(n - place))
