"""Symbol, word and colour of each phase, the same on all screens."""

from __future__ import annotations

from dataclasses import dataclass

from core.events.types import Phase


@dataclass(frozen=True, slots=True)
class Look:
    symbol: str
    word: str
    style: str
    meaning: str


PHASE_LOOKS: dict[Phase, Look] = {
    Phase.WARM: Look("●", "Warm", "bold $text-success", "a model is loaded and answers at once"),
    Phase.LOADING: Look("◐", "Loading", "bold $text-warning", "a model is being loaded"),
    Phase.UNLOADING: Look("◌", "Unloading", "bold $text-warning", "a model is being unloaded and its memory freed"),
    Phase.EMPTY: Look("○", "Empty", "bold $foreground-muted", "no model is loaded"),
}
LOST = Look("✕", "Worker lost", "bold $text-error", "the worker process ended and is being restarted")
