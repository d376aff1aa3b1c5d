"""The part of the application that its widgets know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from textual.widget import Widget

from app.client import Client
from app.tui.machine_view import MachineView

if TYPE_CHECKING:
    from core.model_files.catalogue import CatalogueModel
    from core.roles import Role


class Host(Protocol):
    @property
    def client(self) -> Client:
        """The way to the queue, the conversations and the journal."""

    @property
    def last_words(self) -> list[str]:
        """Sentences that are printed once the interface has ended."""

    @property
    def fetch(self) -> Callable[[Role, CatalogueModel], object]:
        """Starts a download in the background, unless one runs."""

    @property
    def view(self) -> MachineView:
        """The latest state of the machine; a widget follows it with `watch(self.app, "view", …)`."""


def host(widget: Widget) -> Host:
    return cast("Host", widget.app)
