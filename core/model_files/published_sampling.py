"""The sampling that a model's family is published with, from sampling.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path


def published_sampling(names: str) -> tuple[tuple[str, float], ...]:
    """The settings for a model with these names in its header; none for an unknown family."""
    names = re.sub(r"[\s_-]+", "-", names.lower())
    found = next((values for pattern, values in _families().items() if re.search(pattern, names)), {})
    return tuple(found.items())


@cache
def _families() -> dict[str, dict[str, float]]:
    return tomllib.loads(Path(__file__).with_name("sampling.toml").read_text(encoding="utf-8"))
