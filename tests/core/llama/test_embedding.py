from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.errors import CancelledError
from core.llama.calls import decode_sequences, never, tokenize
from core.llama.embedding import EmbeddingModel
from core.llama.engine import load_as
from core.model_files.fingerprint import embedding_id
from core.roles import Role
from tests.architectures.encoders import qwen3_embedding
from tests.core.conftest import spec_of
from tests.model_variants import renamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = "walked river bread rain bicycle garden letter evening office train music cold happy".split()  # noqa: SIM905
TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


def entries(count: int, seed: int) -> list[str]:
    """Entries of one to thirty random words."""
    dice = random.Random(seed)
    return [f"I {' '.join(dice.choices(WORDS, k=dice.randint(1, 30)))}." for _ in range(count)]


def test_unit_vectors_are_in_order_in_any_batches(embedding: EmbeddingModel) -> None:
    texts = entries(40, seed=7)
    together = embedding.embed(texts)
    assert together.shape == (40, embedding.dimension)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.vstack([embedding.embed([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-3)
    assert embedding.embed([]).shape == (0, embedding.dimension)


def test_llama_cpp_logs_nothing(embedding: EmbeddingModel, caplog: pytest.LogCaptureFixture) -> None:
    """It would log a line for each decode, in the log that users read."""
    with caplog.at_level("INFO", "charlie.llama"):
        embedding.embed(entries(40, seed=9))
    assert caplog.records == []


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00", "\ud800 lone", "\u202eabc\u200f", "\x1b[31mred", "日本語 🦊", "x" * 1_000_000, "word " * 20_000],
    ids=range(9),
)
def test_any_text_has_a_vector(embedding: EmbeddingModel, text: str) -> None:
    vectors = embedding.embed([text, "a walk"])
    assert np.isfinite(vectors).all()
    assert np.allclose(vectors[1], embedding.embed(["a walk"])[0], atol=1e-3)


def test_cancelled_and_usable_afterwards(embedding: EmbeddingModel) -> None:
    texts = entries(100, seed=8)
    before = embedding.embed(["a walk"])
    for polls_before in (0, 1, 3):
        polls = itertools.count()
        with pytest.raises(CancelledError):
            embedding.embed(texts, cancelled=lambda p=polls, n=polls_before: next(p) >= n)  # type: ignore[misc]
    assert np.array_equal(embedding.embed(["a walk"]), before)


def test_counted_tokens_include_special_tokens(embedding: EmbeddingModel) -> None:
    assert embedding.count_tokens("") == 2
    assert embedding.count_tokens("river walk") == 4


def test_the_id_depends_on_the_content_of_the_file(
    tiny: dict[Role, Path], embedding: EmbeddingModel, tmp_path: Path
) -> None:
    copy = tmp_path / tiny[Role.EMBEDDING].name
    copy.write_bytes(tiny[Role.EMBEDDING].read_bytes())
    assert embedding_id(spec_of(copy, Role.EMBEDDING)) == embedding.id
    data = bytearray(copy.read_bytes())
    data[200_000] ^= 1
    copy.write_bytes(data)
    assert embedding_id(spec_of(copy, Role.EMBEDDING)) != embedding.id


def test_queries_and_passages_get_the_words_of_their_family(
    tiny: dict[Role, Path], embedding: EmbeddingModel, tmp_path: Path
) -> None:
    named = {"general.name": "nomic-embed-text-v1.5"}
    file = renamed(tiny[Role.EMBEDDING], tmp_path / "mine.gguf", named)
    nomic = load_as(EmbeddingModel, spec_of(file, Role.EMBEDDING))
    texts = entries(3, seed=4)
    assert np.array_equal(nomic.embed(texts), embedding.embed([f"search_document: {text}" for text in texts]))
    asked = nomic.embed(texts, query=True)
    assert np.array_equal(asked, embedding.embed([f"search_query: {text}" for text in texts]))
    assert not np.allclose(asked, nomic.embed(texts), atol=1e-3)
    for text in texts:
        assert nomic.count_tokens(text) == embedding.count_tokens(f"search_document: {text}")
        assert nomic.count_tokens(text, query=True) == embedding.count_tokens(f"search_query: {text}")
    nomic.close()


@pytest.fixture
def qwen(tmp_path: Path) -> Iterator[EmbeddingModel]:
    file = qwen3_embedding.write(tmp_path / "qwen3.gguf")
    model = load_as(EmbeddingModel, spec_of(file, Role.EMBEDDING, context_length=256))
    yield model
    model.close()


def test_qwen3_pools_its_end_token(qwen: EmbeddingModel) -> None:
    """Which its first files do not add by themselves."""

    def by_hand(text: str) -> list[float]:
        (end,) = tokenize(qwen.llama, "<|endoftext|>", add_special=False, parse_special=True)
        tokens = tokenize(qwen.llama, text, add_special=True, parse_special=False)
        (row,) = decode_sequences(qwen.llama, [[*tokens, end]], qwen.dimension, never)
        unit: list[float] = row / np.linalg.norm(row)
        return unit

    assert np.allclose(qwen.embed(["a walk"])[0], by_hand("a walk"), atol=1e-5)
    assert np.allclose(qwen.embed(["a walk"], query=True)[0], by_hand(f"{TASK}a walk"), atol=1e-5)


def test_a_text_that_is_too_long_keeps_its_end_token(qwen: EmbeddingModel) -> None:
    tokens = qwen._fitted("walk " * 1000, query=False)
    assert len(tokens) == 256
    assert tokens[-1:] == qwen._fitted("", query=False)[-1:] == qwen._end
