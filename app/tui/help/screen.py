"""Help: the keys of the screen below it, from its bindings, and the meaning of the symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from app.tui.keys import Shortcut
from app.tui.shared.phase_looks import LOST, PHASE_LOOKS


def cells(found: Iterable[Shortcut]) -> Iterator[Static]:
    """The cells of a table of three columns, with a heading for each screen or widget."""
    for heading, group in groupby(found, key=_heading):
        yield Static(Content(heading), classes="heading")
        for each in group:
            off = "" if each.enabled else "off"
            yield Static(Content("  ".join(each.keys)), classes="keys")
            yield Static(Content(each.title), classes=off)
            yield Static(Content(each.help), classes="meaning")
    yield Static(Content("The status bar"), classes="heading")
    for look in (*PHASE_LOOKS.values(), LOST):
        yield Static(Content.styled(look.symbol, look.style))
        yield Static(Content.styled(look.word, look.style))
        yield Static(Content(look.meaning), classes="meaning")


def _heading(each: Shortcut) -> str:
    if isinstance(each.node, App):
        return "Everywhere"
    if isinstance(each.node, Screen):
        return type(each.node).__name__.removesuffix("Screen")
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(each.node).__name__).strip()
    return f"In the {words}"


class HelpScreen(ModalScreen[None]):
    """Lies over the screen whose keys it lists."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q", "dismiss(None)", "Close", id="help.close", tooltip="Close the help"),
    ]

    def __init__(self, found: Iterable[Shortcut]) -> None:
        super().__init__()
        self._found = list(found)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            yield Grid(*cells(self._found))

    def on_mount(self) -> None:
        self.query_one("#help").focus()
