"""The trash: deleted entries and conversations, to bring back or to remove for good."""

from __future__ import annotations

import time
from asyncio import to_thread
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from app.library_changes import bring_back
from app.purge import purge
from app.tui.host import host
from app.tui.shared.dialogs import ConfirmDialog
from app.tui.shared.notice import Notice
from core.figures import counted, moment
from core.library.trash import KEPT_SECONDS, TrashItem, TrashKind
from core.text import one_line

TITLE_CELLS = 60
DAY = 24 * 3600


class TrashScreen(ModalScreen[None]):
    """The screens below follow what is brought back."""

    CSS = """
    TrashScreen { align: center middle; background: $background 60%; }
    #trash { width: 94%; max-width: 110; height: 80%; padding: 1 1 0 1; background: $panel; border: round $primary; }
    #deleted { height: 1fr; background: transparent; scrollbar-size-vertical: 1; text-wrap: nowrap; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="trash.close", tooltip="Close the trash"),
        Binding("x,delete", "remove", "Remove", id="trash.remove", tooltip="Remove it for good"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[str, TrashItem] = {}
        self.options = OptionList(id="deleted", compact=True)
        self.notice = Notice()

    def compose(self) -> ComposeResult:
        with Vertical(id="trash") as box:
            box.border_title = "Trash"
            box.border_subtitle = "Enter brings back · x removes for good · Esc closes"
            yield self.options
            yield self.notice

    def on_mount(self) -> None:
        self.options.focus()
        self.fill()

    @work(group="trash")
    async def fill(self) -> None:
        with self.notice.failures():
            self._items = {item.id: item for item in await to_thread(host(self).client.trash.items)}
            highlighted = self.options.highlighted or 0
            self.options.set_options(Option(_label(item), item.id) for item in self._items.values())
            self.options.highlighted = min(highlighted, len(self._items) - 1) if self._items else None
            if not self._items and not self.notice.has_class("-shown"):
                self.notice.say("The trash is empty.")

    @on(OptionList.OptionSelected)
    @work(group="trash")
    async def bring_back(self, event: OptionList.OptionSelected) -> None:
        item = self._items[str(event.option_id)]
        with self.notice.failures():
            await to_thread(bring_back, host(self).client, item)
            self.notice.say(f"“{_title(item)}” is back.")
        self.fill()

    @work(group="trash")
    async def action_remove(self) -> None:
        if (option := self.options.highlighted_option) is None:
            return
        item = self._items[str(option.id)]
        question = f"Remove “{_title(item)}” for good? Nothing can bring it back then."
        if not await self.app.push_screen_wait(ConfirmDialog(question, "Remove")):
            return
        with self.notice.failures():
            purged = await to_thread(purge, host(self).client, [item.id])
            self.notice.say(f"“{_title(item)}” is removed.")
            if purged.backups:
                names = ", ".join(purged.backups)
                self.notice.say(f"Removed. Backups still hold it: {names}; `charlie backup renew` makes them anew.")
        self.fill()


def _title(item: TrashItem) -> str:
    return one_line(item.title, TITLE_CELLS) or "Untitled"


def _label(item: TrashItem) -> Content:
    left = max(0, round((item.deleted + KEPT_SECONDS - time.time()) / DAY))
    kind = "entry" if item.kind is TrashKind.ENTRY else "chat"
    facts = f"\n  {kind} · deleted {moment(item.deleted)} · {counted(left, 'day')} left"
    return Content.assemble(_title(item), (facts, "dim"))
