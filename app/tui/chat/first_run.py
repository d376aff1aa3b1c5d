"""The empty page of a chat: on a first start a card with what answers now, and what this machine could run."""

from __future__ import annotations

from asyncio import to_thread
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from app.tui.fetching import models_command
from app.tui.host import host
from app.tui.machine_view import MachineView
from app.tui.shared.dialogs import TextDialog
from core.errors import CharlieError
from core.roles import Role

if TYPE_CHECKING:
    from app.tui.offer_list import OfferList

INVITATION = "Say something, and Charlie answers.\nNothing of it leaves this machine."
UNCONFIGURED = "A small model (135M) answers now, and it is weak. F4 offers larger ones."
NOW = """A small model (135M) answers now, and it is weak.
This machine could run a larger one. Nothing is fetched unasked."""
KEYS = "F6 fetch · F7 choose · F8 a file of your own · Esc close for good"
CLOSED = "first-run-closed"
"""A file in the data folder."""


class FirstRun(Vertical):
    """The card is gone once a model is configured, or somebody has closed it."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.invitation = Static(id="invitation")
        self._offers: OfferList | None = None
        """Made for the card, which few starts show."""

    def compose(self) -> ComposeResult:
        yield self.invitation
        with Vertical(id="card") as card:
            card.border_title, card.border_subtitle = "Welcome to Charlie", KEYS
            yield Static(NOW)

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._view_changed, init=False)
        self.look()

    def _view_changed(self, old: MachineView, new: MachineView) -> None:
        if old.fetch and not new.fetch:
            self.look()

    @work(exclusive=True, group="look")
    async def look(self) -> None:
        """Read the settings again, and show the card or an invitation."""
        await host(self).opened()
        configured, closed = await to_thread(is_configured), (host(self).client.paths.data / CLOSED).exists()
        hint = ("", "") if configured else (f"\n\n{UNCONFIGURED}", "dim")
        self.invitation.update(Content.assemble(INVITATION, hint))
        self.set_class(not configured and not closed, "-card")
        if self.has_class("-card"):
            if self._offers is None:
                from app.tui.offer_list import OfferList

                self._offers = OfferList()
                await self.query_one("#card").mount(self._offers)
            self._offers.offer(Role.INSTRUCT)

    def choose(self, step: int) -> None:
        if self._offers is not None:
            self._offers.choose(step)

    def fetch(self) -> None:
        if self._offers is not None:
            self._offers.fetch()

    @work
    async def use_own_file(self) -> None:
        typed = await self.app.push_screen_wait(TextDialog("The path of a GGUF file on this machine", ""))
        if typed and typed.strip():
            try:
                await models_command(["use", Role.INSTRUCT, "--", typed.strip()])
            except CharlieError as error:
                self.app.notify(str(error), severity="error", markup=False, timeout=20)
            self.look()

    def close(self) -> None:
        """Close the card for good, if it is there."""
        if self._offers is not None and self._offers.region:
            (host(self).client.paths.data / CLOSED).touch()
            self.look()


def is_configured() -> bool:
    """Whether a model is configured; with settings that cannot be read, the next job explains them."""
    from core.settings_file import load_settings  # the first screen does not wait for it

    with suppress(CharlieError):
        return load_settings().instruct.file is not None
    return True
