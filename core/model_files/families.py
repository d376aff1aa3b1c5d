"""What the names in a header tell of a family: the texts that its embedding models read around a text, its sampling."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

Pooling = Literal["mean", "cls", "last", "rank"]


@dataclass(frozen=True, slots=True)
class TextForm:
    """The texts before a query and before a passage, and the token after both.

    `pooling` is for files of the family whose header names none.
    """

    query: str = ""
    passage: str = ""
    end: str = ""
    pooling: Pooling | None = None


PLAIN: Final = TextForm()
_SEARCH: Final = "Represent this sentence for searching relevant passages: "
_TASK: Final = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
FAMILIES: Final[tuple[tuple[str, TextForm], ...]] = (
    (r"snowflake-arctic-embed-[lm]-v2", TextForm("query: ", pooling="cls")),
    (r"snowflake-arctic-embed|mxbai-embed-large|\bbge-(small|base|large)-en", TextForm(_SEARCH, pooling="cls")),
    (r"nomic-(embed-text|bert-moe)|modernbert-embed", TextForm("search_query: ", "search_document: ", pooling="mean")),
    (r"qwen3-embedding", TextForm(_TASK, end="<|endoftext|>", pooling="last")),
    (r"embedding-?gemma|gemma-embedding", TextForm("task: search result | query: ", "title: none | text: ")),
    (r"gte-qwen|\be5-mistral", TextForm(f"{_TASK} ", pooling="last")),
    (r"\be5-large-instruct", TextForm(f"{_TASK} ", pooling="mean")),
    (r"lfm2\.5-embedding", TextForm("query: ", "document: ")),
    (r"\be5-(small|base|large)", TextForm("query: ", "passage: ", pooling="mean")),
)
"""Patterns of names, in lower case and with hyphens, as the makers' model cards have it. The first match counts: the
base model is among the names, so a family stands before the one that it was made from."""


def text_form(names: str) -> TextForm:
    """The form of the model with these names; plain for an unknown one, and for one trained on plain texts."""
    return next((form for pattern, form in FAMILIES if re.search(pattern, _hyphened(names))), PLAIN)


def published_sampling(names: str) -> tuple[tuple[str, float], ...]:
    """The settings that the maker publishes for the model with these names; none for an unknown one."""
    found = (values for pattern, values in sampling_families().items() if re.search(pattern, _hyphened(names)))
    return tuple(next(found, {}).items())


@cache
def sampling_families() -> dict[str, dict[str, float]]:
    return tomllib.loads(Path(__file__).with_name("sampling.toml").read_text(encoding="utf-8"))


def _hyphened(names: str) -> str:
    return re.sub(r"[\s_-]+", "-", names.lower())
