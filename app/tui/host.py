"""The part of the application that its widgets know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from textual.widget import Widget

from app.tui.machine_view import MachineView

if TYPE_CHECKING:
    from app.client import Client


class Host(Protocol):
    @property
    def client(self) -> Client:
        """The way to the queue, the conversations and the journal. While that is opened, this blocks."""

    async def drawn(self) -> None:
        """Return once the first prompt is on the screen: what may be later than that waits for it."""

    async def opened(self) -> None:
        """Return once `client` does not block."""

    def between_keys(self, call: Callable[[], object]) -> None:
        """Call what redraws much: at once, or, while a person types, right after the next key is drawn.

        A key that comes during such a redraw waits for its end, so the time just after a key is best.
        """

    @property
    def last_words(self) -> list[str]:
        """Sentences that are printed once the interface has ended."""

    @property
    def fetch(self) -> Callable[..., object]:
        """Starts the download of a role's model in the background, unless one runs."""

    @property
    def view(self) -> MachineView:
        """The latest state of the machine; a widget follows it with `watch(self.app, "view", …)`."""


def host(widget: Widget) -> Host:
    return cast("Host", widget.app)


class HasClient(Widget):
    """To be named after the class that gives a widget its looks: Textual takes the styles of the first one."""

    @property
    def client(self) -> Client:
        return host(self).client
