"""Help: every key of the screen it was called on, from the bindings themselves, and what the symbols mean."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from app.declared import Declared
from app.widgets.phases import LOOKS, LOST

KEYS_WIDTH = 18
TITLE_WIDTH = 18


def keys_text(found: Iterable[Declared]) -> Content:
    """The keys, under a heading for each screen or widget that has them."""
    lines: list[Content] = []
    for heading, group in groupby(found, key=_heading):
        lines += [Content(""), Content.styled(heading, "bold $text-accent")]
        lines += [_line(each) for each in group]
    return Content("\n").join(lines[1:])


def _heading(each: Declared) -> str:
    if isinstance(each.node, App):
        return "Everywhere"
    if isinstance(each.node, Screen):
        return type(each.node).__name__.removesuffix("Screen")
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(each.node).__name__).strip()
    return f"In the {words}"


def _line(each: Declared) -> Content:
    style = "" if each.enabled else "$text-disabled"
    keys = " ".join(each.keys)
    return Content.assemble(
        (f"{keys:<{KEYS_WIDTH}}", "bold"), (f"{each.title:<{TITLE_WIDTH}}", style), (each.help, "$text-muted")
    )


def symbols_text() -> Content:
    """The phases as the status bar shows them."""
    lines = [Content.styled("The status bar", "bold $text-accent")]
    for look in (*LOOKS.values(), LOST):
        name = f"{look.symbol} {look.word}"
        lines.append(Content.assemble((f"{name:<{KEYS_WIDTH}}", look.style), (look.meaning, "$text-muted")))
    return Content("\n").join(lines)


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
            yield Static(keys_text(self._found))
            yield Static(symbols_text(), id="symbols")

    def on_mount(self) -> None:
        self.query_one("#help").focus()
