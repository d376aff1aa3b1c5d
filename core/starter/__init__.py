"""The starter models: three small GGUF files for when no model is configured; `optimizers/starter` trained them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.roles import Role


def path_of(role: Role) -> Path:
    return Path(__file__).parent / f"starter-{role.value}.gguf"
