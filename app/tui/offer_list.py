"""The models of the catalogue for a role, one of them chosen: on the first card and on the Models screen."""

from __future__ import annotations

from asyncio import to_thread

from textual import work
from textual.content import Content
from textual.widgets import Static

from app.offers import Offer, best, find_offers
from app.tui.host import host
from app.tui.machine_view import MachineView
from core.errors import CharlieError
from core.figures import rate, size
from core.memory import rates
from core.memory.rates import Rates
from core.memory.readings import read_ram
from core.memory.types import Memory
from core.model_files.catalogue import CatalogueModel, catalogue
from core.roles import Role
from core.text import one_line

WORDS = 0.75
"""Of a token, in English."""
NAME_WIDTH = 18
LONGEST = 200
HIGH = 30
"""A list with its own line of keys shows only the chosen model in a lower window."""


class OfferList(Static):
    DEFAULT_CSS = "OfferList { height: auto; margin-top: 1; }"

    def __init__(self, keys: str = "", *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.offers: tuple[Offer, ...] = ()
        self._keys = keys
        self._role = Role.INSTRUCT
        self._models: tuple[CatalogueModel, ...] = ()
        self._rates: Rates | None = None
        self._ram = Memory()
        """Until the worker has read the memory, accelerators included."""
        self._index: int | None = None
        """Index of the model chosen with the keys; None for the one that suits the machine."""
        self._state = "looking at this machine …"

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._view_changed, init=False)

    def on_resize(self) -> None:
        self._draw()

    def _view_changed(self, old: MachineView, new: MachineView) -> None:
        if old.memory != new.memory and self._found() != self.offers:
            self._draw()

    @property
    def chosen(self) -> Offer | None:
        if not self.offers:
            return None
        return best(self.offers) if self._index is None else self.offers[self._index]

    def offer(self, role: Role) -> None:
        """Show the models for a role."""
        if role != self._role or not self._models:
            self._role, self._index = role, None
            self._read()

    def choose(self, step: int) -> None:
        if self.chosen is not None:
            self._index = (self.offers.index(self.chosen) + step) % len(self.offers)
            self._draw()

    def fetch(self) -> None:
        """Fetch the chosen model, if the list is to be seen."""
        if self.region and self.chosen is not None:
            host(self).fetch(self._role, self.chosen.model)

    @work(exclusive=True)
    async def _read(self) -> None:
        """Read the catalogue and the machine's rates, which another process measures once."""
        paths = host(self).client.paths
        self._models = (await to_thread(catalogue, paths))[self._role]
        self._ram = await to_thread(read_ram)
        self._rates, self._state = await to_thread(rates.known_rates, paths), ""
        if self._rates is None:
            self._state = "measuring the speed of this machine …"
            self._draw()
            try:
                self._rates, self._state = await to_thread(rates.rates, paths), ""
            except (CharlieError, OSError) as error:
                self._state = str(error)
        self._draw()

    def _found(self) -> tuple[Offer, ...]:
        memory, reserve = host(self).view.memory or self._ram, host(self).client.settings.memory
        return find_offers(self._models, self._role, memory, reserve, self._rates)

    def _draw(self) -> None:
        self.offers = self._found()
        lines = [Content(self._keys)] if self._keys else []
        if (chosen := self.chosen) is not None:
            lines += self._lines(chosen)
        if self._state:
            lines.append(Content.styled(one_line(self._state, LONGEST), "$text-warning"))
        self.update(Content("\n").join(lines))

    def _lines(self, chosen: Offer) -> list[Content]:
        shown = (chosen,) if self._keys and self.app.size.height < HIGH else self.offers
        header = f"  {'model':<{NAME_WIDTH}} download    memory"
        header += "  words/s    answer" if self._role is Role.INSTRUCT else ""
        listed = [self._row(each, chosen) for each in shown]
        model, speed = chosen.model, chosen.speed
        about = f"  {one_line(model.good_for, LONGEST)} · {one_line(model.licence, LONGEST)}"
        if speed is not None:
            about += f"\n  predicted: prefill {rate(speed.prefill)}, decode {rate(speed.decode)}"
            about += f", about {model.thoughts:,} tokens of thoughts" if model.thoughts else ""
        return [Content.styled(header, "$foreground-muted"), *listed, Content.styled(about, "$foreground-muted")]

    def _row(self, offer: Offer, chosen: Offer) -> Content:
        mark, speed = "●" if offer is chosen else "○", offer.speed
        text = f"{mark} {one_line(offer.model.name, NAME_WIDTH):<{NAME_WIDTH}}"
        text += f"{size(offer.model.bytes):>9}{size(offer.memory):>10}"
        if self._role is Role.INSTRUCT:
            words, seconds = (f"{speed.decode * WORDS:.1f}", f"{offer.seconds:.0f} s") if speed else ("…", "…")
            text += f"{words:>9}{seconds:>10}"
        if not offer.fits:
            note = ("  too large now", "$text-error")
        elif offer is best(self.offers) and offer.suits:
            note = ("  ✓ suits", "$text-success")
        else:
            note = ("" if offer.suits or offer.speed is None else "  slow here", "$text-warning")
        return Content.assemble((text, "bold" if offer is chosen else ""), note)
