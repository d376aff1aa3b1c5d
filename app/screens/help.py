"""Help: every key of the screen it was called on, from the bindings themselves, and what the symbols mean."""

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

from app.declared import Declared
from app.widgets.phases import LOOKS, LOST


def cells(found: Iterable[Declared]) -> Iterator[Static]:
    """The cells of a table of three columns, under a heading for each screen or widget that has keys."""
    for heading, group in groupby(found, key=_heading):
        yield Static(Content(heading), classes="heading")
        for each in group:
            off = "" if each.enabled else "off"
            yield Static(Content("  ".join(each.keys)), classes="keys")
            yield Static(Content(each.title), classes=off)
            yield Static(Content(each.help), classes="meaning")
    yield Static(Content("The status bar"), classes="heading")
    for look in (*LOOKS.values(), LOST):
        yield Static(Content.styled(look.symbol, look.style))
        yield Static(Content.styled(look.word, look.style))
        yield Static(Content(look.meaning), classes="meaning")


def _heading(each: Declared) -> str:
    if isinstance(each.node, App):
        return "Everywhere"
    if isinstance(each.node, Screen):
        return type(each.node).__name__.removesuffix("Screen")
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(each.node).__name__).strip()
    return f"In the {words}"


class HelpScreen(ModalScreen[None]):
    """Lies over the screen that it explains."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q", "dismiss(None)", "Close", id="help.close", tooltip="Close the help"),
    ]

    def __init__(self, found: Iterable[Declared]) -> None:
        super().__init__()
        self._found = list(found)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            yield Grid(*cells(self._found))

    def on_mount(self) -> None:
        self.query_one("#help").focus()
