from __future__ import annotations

import pytest

from core import starter
from core.model_files.gguf import read_header
from core.roles import Role

MEGABYTE = 10**6
LIMITS = {Role.INSTRUCT: 12 * MEGABYTE, Role.EMBEDDING: 8 * MEGABYTE, Role.RERANKER: 8 * MEGABYTE}


@pytest.mark.parametrize("role", Role)
def test_starters_are_small_and_their_headers_name_them(role: Role) -> None:
    path = starter.path_of(role)
    header = read_header(path)
    assert header.starter
    assert header.name == f"starter-{role.value}"
    assert path.stat().st_size <= LIMITS[role]


@pytest.mark.parametrize("role", Role)
def test_each_starter_has_a_model_card(role: Role) -> None:
    card = starter.path_of(role).with_suffix(".md").read_text(encoding="utf-8")
    assert card.startswith(f"# starter-{role.value}\n")
    assert "License: MIT" in card


def test_the_shapes_of_the_starters() -> None:
    instruct, embedding, reranker = (read_header(starter.path_of(role)) for role in Role)
    assert (instruct.architecture, instruct.context_length) == ("llama", 2048)
    assert "<|im_start|>" in (instruct.chat_template or "")
    assert (embedding.architecture, embedding.pooling) == ("bert", "mean")
    assert (reranker.architecture, reranker.is_reranker) == ("bert", True)
