"""Dialogs: one asks before something is deleted, one for a line of text, one for one of a few words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList

from app.tui.shared.typing_fields import TypingField

_CSS = """
{name} {{ align: center middle; background: $background 60%; }}
{name} > Vertical {{
    width: 60; max-width: 90%; height: auto; padding: 1 2; background: $panel;
}}
{name} Horizontal {{ height: auto; align-horizontal: right; margin-top: 1; }}
{name} Label {{ width: 100%; }}
{name} Button {{ margin-left: 2; }}
{name} Input {{ margin-top: 1; }}
{name} .keys {{ margin-top: 1; color: $text-muted; }}
"""


class ConfirmDialog(ModalScreen[bool]):
    """Returns True only if the user chose to delete."""

    CSS = _CSS.format(name="ConfirmDialog")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "dismiss(False)", "Keep", id="dialog.keep", tooltip="Delete nothing"),
        Binding("y", "dismiss(True)", "Delete", id="dialog.delete", tooltip="Delete it"),
        Binding("left,up", "app.focus_previous", "Back", id="dialog.back", tooltip="Go to the button before"),
        Binding("right,down", "app.focus_next", "Next", id="dialog.next", tooltip="Go to the next button"),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(Content(self._question))
            with Horizontal():
                yield Button("Keep", id="keep", compact=True)
                yield Button(self._yes, id="delete", variant="error", compact=True)
            keys = f"y: {self._yes} · n, Esc: Keep · ← →, Tab, Enter: choose"
            yield Label(Content(keys), classes="keys")

    @on(Button.Pressed)
    def answer(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "delete")


class TextDialog(ModalScreen[str | None]):
    """Asks for one line of text; returns None if the user left it with Escape. `on_change` gets what was typed."""

    CSS = _CSS.format(name="TextDialog")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave", id="dialog.leave", tooltip="Change nothing"),
    ]

    def __init__(self, question: str, text: str, on_change: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self._question = question
        self._text = text
        self._on_change = on_change

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(Content(self._question))
            yield TypingField(self._text, compact=True)

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        self._on_change(event.value)

    @on(Input.Submitted)
    def answer(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class ChoiceDialog(ModalScreen[str | None]):
    """Returns one of the `words`; None if the user left it with Escape."""

    CSS = _CSS.format(name="ChoiceDialog")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave", id="dialog.unchosen", tooltip="Change nothing"),
    ]

    def __init__(self, question: str, words: Sequence[str], present: str) -> None:
        super().__init__()
        self._question = question
        self._words = words
        self._options = OptionList(*map(Content, words), compact=True)
        self._options.highlighted = words.index(present) if present in words else 0

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(Content(self._question))
            yield self._options
            yield Label("Enter: choose · Esc: leave", classes="keys")

    @on(OptionList.OptionSelected)
    def answer(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._words[event.option_index])
