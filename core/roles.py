"""The roles of models."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The use of a model. One file is configured for each role."""

    INSTRUCT = "instruct"
    EMBEDDING = "embedding"
    RERANKER = "reranker"
