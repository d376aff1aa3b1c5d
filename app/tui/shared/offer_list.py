"""The models of the catalogue for a role, one of them chosen: on the first card and on the Models screen."""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING

from textual import work
from textual.content import Content
from textual.widgets import Static

from app.offers import Offer, best, find_offers
from app.tui.host import host
from core.errors import CharlieError
from core.figures import rate, size
from core.memory import rates
from core.memory.readings import read_ram
from core.roles import Role
from core.text import one_line

if TYPE_CHECKING:
    from app.tui.machine_view import MachineView

WORDS = 0.75
"""Of a token, in English."""
NAME_WIDTH = 18
LONGEST = 200
MOST_ROWS = 7
HIGH = 30
"""The Models screen shows only the chosen model in a lower window."""


class OfferList(Static):
    DEFAULT_CSS = "OfferList { height: auto; margin-top: 1; }"

    def __init__(self, *, in_low_windows: bool = False, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.role: Role | None = None
        self.offers: tuple[Offer, ...] = ()
        self._heading = ""
        self._all = in_low_windows
        self._index: int | None = None
        """Index of the model chosen with the keys; None for the one that suits the machine."""
        self._state = ""

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._view_changed, init=False)
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _view_changed(self, old: MachineView, new: MachineView) -> None:
        """The worker's first reading names the accelerators, which this process does not see."""
        if new.memory and not (old.memory and old.memory.devices == new.memory.devices):
            self._find()

    @property
    def chosen(self) -> Offer | None:
        if not self.offers:
            return None
        return best(self.offers) if self._index is None else self.offers[self._index]

    def offer(self, role: Role | None, heading: str = "") -> None:
        """Show the models for a role; None hides them."""
        self._heading = heading
        if role != self.role:
            self.role, self._index, self.offers = role, None, ()
            self._find()
        self._draw()

    def choose(self, step: int) -> None:
        if self.chosen is not None:
            self._index = (self.offers.index(self.chosen) + step) % len(self.offers)
            self._draw()

    def fetch(self) -> None:
        if self.role is not None and self.chosen is not None:
            host(self).fetch(self.role, self.chosen.model)

    @work(exclusive=True)
    async def _find(self) -> None:
        """Find the offers; their speeds once the machine's rates are measured."""
        client, role = host(self).client, self.role
        if role is None:
            return
        measured = await to_thread(rates.known_rates, client.paths)
        try:
            while True:
                memory = host(self).view.memory or await to_thread(read_ram)
                self.offers = find_offers(client.paths, role, memory, client.settings.memory, measured)
                self._state = "" if measured else "measuring the speed of this machine …"
                self._draw()
                if measured:
                    return
                measured = await to_thread(rates.rates, client.paths)
        except (CharlieError, OSError) as error:
            self._state = str(error)
            self._draw()

    def _draw(self) -> None:
        self.display = self.role is not None
        chosen = self.chosen
        if chosen is None:
            self.update(Content.styled(self._state or "looking at this machine …", "$foreground-muted"))
            return
        rows = MOST_ROWS if self._all or self.app.size.height >= HIGH else 1
        first = max(0, min(self.offers.index(chosen) - rows // 2, len(self.offers) - rows))
        suiting = best(self.offers)
        lines = [Content(self._heading)] if self._heading else []
        lines.append(Content.styled(f"  {'model':<{NAME_WIDTH}} download    memory", "$foreground-muted"))
        if self.role is Role.INSTRUCT:
            lines[-1] += Content.styled("  words/s    answer", "$foreground-muted")
        lines += [self._row(each, chosen, suiting) for each in self.offers[first : first + rows]]
        lines.append(Content.styled(about(chosen), "$foreground-muted"))
        if self._state:
            lines.append(Content.styled(one_line(self._state, LONGEST), "$text-warning"))
        self.update(Content("\n").join(lines))

    def _row(self, offer: Offer, chosen: Offer, suiting: Offer) -> Content:
        mark, speed = "●" if offer is chosen else "○", offer.speed
        text = f"{mark} {one_line(offer.model.name, NAME_WIDTH):<{NAME_WIDTH}}"
        text += f"{size(offer.model.bytes):>9}{size(offer.memory):>10}"
        if self.role is Role.INSTRUCT:
            words, seconds = (f"{speed.decode * WORDS:.1f}", f"{offer.seconds:.0f} s") if speed else ("…", "…")
            text += f"{words:>9}{seconds:>10}"
        if not offer.fits:
            note = ("  too large now", "$text-error")
        elif offer is suiting and offer.suits:
            note = ("  ✓ suits", "$text-success")
        else:
            note = ("" if offer.suits or offer.speed is None else "  slow here", "$text-warning")
        return Content.assemble((text, "bold" if offer is chosen else ""), note)


def about(offer: Offer) -> str:
    """What a model is good for, its licence, and both of its predicted speeds."""
    model = offer.model
    lines = [f"  {one_line(model.good_for, LONGEST)} · {one_line(model.licence, LONGEST)}"]
    if offer.speed is not None:
        thoughts = f", after about {model.thoughts:,} of thoughts" if model.thoughts else ""
        lines.append(f"  predicted: prefill {rate(offer.speed.prefill)}, decode {rate(offer.speed.decode)}{thoughts}")
    return "\n".join(lines)
