"""The history of a text: its revisions, and what distinguishes each from the present text."""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from core.figures import counted, moment
from core.library.records import Revision, RevisionKind
from core.text import printable

MOST_WORDS = 1_000
"""In longer passages, whole lines are compared instead of words, which would take seconds."""
MOST_LINES = 2_000
"""Lines of a difference that are shown."""
OLD, NEW = ("- ", "$text-error"), ("+ ", "$text-success")
_WORD = re.compile(r"\s*\S+|\s+")


def difference(revision: str, present: str) -> Content:
    """The lines that the two texts do not share, those of the revision marked with -, with the changed words bold."""
    old, new = printable(revision).split("\n"), printable(present).split("\n")
    shown: list[Content] = []
    for tag, i, j, k, m in SequenceMatcher(None, old, new).get_opcodes():
        if tag == "equal":
            kept = [Content.styled(f"  {line}", "dim") for line in old[i:j]]
            shown += [kept[0], Content.styled("  …", "dim"), kept[-1]] if len(kept) > 3 else kept
        else:
            shown += _replaced("\n".join(old[i:j]), "\n".join(new[k:m]), i < j, k < m)
    return Content("\n").join(shown[:MOST_LINES])


def _replaced(old: str, new: str, has_old: bool, has_new: bool) -> Iterator[Content]:
    before, after = _WORD.findall(old), _WORD.findall(new)
    long = max(len(before), len(after)) > MOST_WORDS or not (has_old and has_new)
    codes = [] if long else SequenceMatcher(None, before, after).get_opcodes()
    kept = [("".join(before[i:j]), tag == "equal") for tag, i, j, _, _ in codes] or [(old, True)]
    added = [("".join(after[k:m]), tag == "equal") for tag, _, _, k, m in codes] or [(new, True)]
    for parts, (sign, style), wanted in ((kept, OLD, has_old), (added, NEW, has_new)):
        if wanted:
            text = Content.assemble(*((part, style if same else f"bold {style}") for part, same in parts))
            yield from (Content.assemble((sign, style), line) for line in text.split("\n", allow_blank=True))


class HistoryScreen(ModalScreen[Revision | None]):
    """Lists the revisions, newest first, and returns the one to bring back.

    `present` gives the text that a revision is compared with: a conversation has a present title and present replies.
    """

    CSS = """
    HistoryScreen { align: center middle; background: $background 60%; }
    #history { width: 94%; max-width: 140; height: 90%; padding: 1 1 0 1; background: $panel; border: round $primary; }
    #revisions {
        width: 26; height: 1fr; background: transparent; scrollbar-size-vertical: 1; text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    #difference { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    #difference:focus { background: $boost; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="history.close", tooltip="Change nothing"),
        Binding("enter", "choose", "Bring back", id="history.choose", tooltip="Bring the revision back"),
    ]

    def __init__(self, title: str, revisions: Sequence[Revision], present: Callable[[Revision], str]) -> None:
        super().__init__()
        self._title = title
        self._revisions = revisions
        self._present = present
        self.options = OptionList(*(Option(_label(each), each.id) for each in revisions), id="revisions", compact=True)
        self.difference = Static()

    def compose(self) -> ComposeResult:
        with Horizontal(id="history") as box:
            box.border_title = Content(f"History of “{printable(self._title)}”")
            box.border_subtitle = Content("- then, + now · Enter brings it back · Tab scrolls · Esc closes")
            yield self.options
            with VerticalScroll(id="difference"):
                yield self.difference

    def on_mount(self) -> None:
        self.options.focus()

    @property
    def highlighted(self) -> Revision | None:
        return None if self.options.highlighted is None else self._revisions[self.options.highlighted]

    @on(OptionList.OptionHighlighted)
    @work(exclusive=True)
    async def compare(self) -> None:
        if (revision := self.highlighted) is not None:
            self.difference.update(await to_thread(difference, revision.text, self._present(revision)))
            self.query_one("#difference").scroll_home(animate=False)

    @on(OptionList.OptionSelected)
    def action_choose(self) -> None:
        self.dismiss(self.highlighted)


def _label(revision: Revision) -> Content:
    kind = "" if revision.kind is RevisionKind.TEXT else f"{revision.kind} · "
    return Content.assemble(f"{moment(revision.at)}\n", (f"  {kind}{counted(len(revision.text), 'character')}", "dim"))
