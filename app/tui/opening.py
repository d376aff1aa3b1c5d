"""What the interface opens late: its client once the first prompt is drawn, a screen when it is first shown."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

if TYPE_CHECKING:
    from app.client import Client

SCREENS = {
    "journal": "journal.screen:JournalScreen",
    "models": "models.screen:ModelsScreen",
    "log": "log.screen:LogScreen",
    "trash": "library.trash:TrashScreen",
}
"""By name: the module below app.tui, and the screen in it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A client, and its runtime: it starts in the steps of `starting`, then a timer calls `tick` to repair it.

    Both give messages for the user, usually empty ones.
    """

    client: Client
    tick: Callable[[], str] | None = None
    starting: Generator[str, None, None] | None = None


def make_screen(name: str) -> Screen[Any]:
    return _kind(name)()


def import_screens() -> None:
    """Make the bindings of all screens known."""
    for name in SCREENS:
        _kind(name)


def _kind(name: str) -> Callable[[], Screen[Any]]:
    module, _, kind = SCREENS[name].partition(":")
    found: Callable[[], Screen[Any]] = getattr(import_module(f"app.tui.{module}"), kind)
    return found
