"""How each phase looks: symbol, word and colour, the same wherever it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.events import PhaseName


@dataclass(frozen=True, slots=True)
class Look:
    symbol: str
    word: str
    style: str
    meaning: str


LOOKS: dict[PhaseName, Look] = {
    "warm": Look("●", "Warm", "bold $text-success", "a model is loaded and answers at once"),
    "loading": Look("◐", "Loading", "bold $text-warning", "a model is being loaded"),
    "unloading": Look("◌", "Unloading", "bold $text-warning", "a model is being unloaded, its memory comes back"),
    "empty": Look("○", "Empty", "bold $foreground-muted", "no model is loaded"),
}
LOST = Look("✕", "Worker lost", "bold $text-error", "the worker's process ended; it is started again")
