"""The two dialogs: one asks before something is destroyed, one asks for a line of text."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

from app.widgets.typing_fields import TypingField

_CSS = """
{name} {{ align: center middle; background: $background 60%; }}
{name} > Vertical {{
    width: 60; max-width: 90%; height: auto; padding: 1 2; background: $panel;
}}
{name} Horizontal {{ height: auto; align-horizontal: right; margin-top: 1; }}
{name} Label {{ width: 100%; }}
{name} Button {{ margin-left: 2; }}
{name} Input {{ margin-top: 1; }}
"""


class ConfirmDialog(ModalScreen[bool]):
    """Asks a question and answers True only when the person chose to destroy."""

    CSS = _CSS.format(name="ConfirmDialog")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(False)", "Keep", id="dialog.keep", tooltip="Destroy nothing"),
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
                yield Button(self._yes, id="destroy", variant="error", compact=True)

    @on(Button.Pressed)
    def answer(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "destroy")


class TextDialog(ModalScreen[str | None]):
    """Asks for one line of text; None when it was left with Escape."""

    CSS = _CSS.format(name="TextDialog")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave", id="dialog.leave", tooltip="Leave it as it was"),
    ]

    def __init__(self, question: str, text: str) -> None:
        super().__init__()
        self._question = question
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(Content(self._question))
            yield TypingField(self._text, compact=True)

    @on(Input.Submitted)
    def answer(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
