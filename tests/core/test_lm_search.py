"""DSPy's embedder and our retriever over the starter models."""

from __future__ import annotations

import copy
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dspy
import numpy as np
import pytest

from core import starter
from core.engine import load_embedding, load_reranker
from core.lm_search import Retriever, make_embedder
from core.settings import Role
from tests.core.conftest import spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.embedder import EmbeddingModel
    from core.reranker import RerankerModel

PASSAGES = [
    "I repaired the bike with Anna.",
    "We watched a film at home.",
    "I baked bread for my neighbour.",
    "I painted the fence.",
    "I planted roses.",
]


@pytest.fixture(scope="module")
def embedding() -> Iterator[EmbeddingModel]:
    with closing(load_embedding(spec_of(starter.path_of(Role.EMBEDDING), Role.EMBEDDING))) as model:
        yield model


@pytest.fixture(scope="module")
def reranker() -> Iterator[RerankerModel]:
    with closing(load_reranker(spec_of(starter.path_of(Role.RERANKER), Role.RERANKER))) as model:
        yield model


@pytest.fixture(autouse=True)
def _memory_cache() -> None:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True, restrict_pickle=True)


def test_an_embedder_embeds_one_text_and_many(embedding: EmbeddingModel) -> None:
    embedder = make_embedder(embedding)
    many = embedder(PASSAGES)
    assert many.shape == (len(PASSAGES), embedding.dimension)
    np.testing.assert_allclose(embedder(PASSAGES[1]), many[1], atol=1e-5)


def test_two_models_never_share_a_vector(embedding: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = type(embedding).embed

    def embed(self: EmbeddingModel, texts: list[str]) -> Any:
        asked.append(self.id)
        return original(self, texts)

    monkeypatch.setattr(type(embedding), "embed", embed)
    other = copy.copy(embedding)
    other.id = "another model"
    for model in (embedding, other, embedding, other):
        make_embedder(model)(["hello"])
    assert asked == [embedding.id, "another model"], "each was asked once, and then the cache"


def test_a_retriever_finds_what_is_meant_and_the_reranker_orders_it(
    embedding: EmbeddingModel, reranker: RerankerModel
) -> None:
    embedder = make_embedder(embedding)
    for retriever in (Retriever(PASSAGES, embedder, k=2), Retriever(PASSAGES, embedder, reranker, k=2)):
        found = retriever(query="When did I mend the bicycle?")
        assert found.indices[0] == 0
        assert found.passages == [PASSAGES[index] for index in found.indices]
        assert found.scores == sorted(found.scores, reverse=True)
        assert len(found.indices) == 2
        assert len(retriever(query="the garden", k=4).indices) == 4
    assert Retriever([], embedder, reranker)(query="anything").passages == []


def test_a_copied_program_shares_the_models(embedding: EmbeddingModel, reranker: RerankerModel) -> None:
    class Answering(dspy.Module):  # type: ignore[misc]  # dspy is untyped
        def __init__(self) -> None:
            super().__init__()
            self.retrieve = Retriever(PASSAGES, make_embedder(embedding), reranker)

    program = Answering()
    assert program.deepcopy().retrieve is program.retrieve
