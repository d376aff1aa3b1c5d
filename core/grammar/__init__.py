"""A bounded grammar (GBNF) from a JSON schema: what a model writes under it parses, and it always ends.

llama.cpp's own conversion allows strings without end and raw control characters, so that a small model runs
into `max_tokens` in the middle of a value. Here every value has a bound in bytes, and a token is never less
than a byte: a grammar of at most `budget` bytes is written in at most `budget` tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.grammar.nodes import GrammarError
from core.grammar.schema import node
from core.grammar.writer import write

if TYPE_CHECKING:
    from typing import Any

__all__ = ["GrammarError", "bounded_grammar"]


def bounded_grammar(schema: dict[str, Any] | None, budget: int) -> str:
    """The GBNF text for `schema` (any JSON object when None), at most `budget` bytes of text.

    A schema that is marked with `schema.SECTIONS` gives the format of DSPy's ChatAdapter.
    Raises GrammarError when the schema uses what is not supported or `budget` is too small.
    """
    return write(node(schema), budget)
