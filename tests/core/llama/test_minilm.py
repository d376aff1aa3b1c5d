"""all-MiniLM-L6-v2, a real embedding model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.llama.engine import EmbeddingModel, load_as
from core.roles import Role
from tests.core.conftest import spec_of
from tests.minilm import reference, write_minilm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.model_files.families import Pooling

TEXTS = [
    "This is an example sentence",
    "Each sentence is converted",
    "I had my teeth checked; the dentist's drill was loud.",
    "Naïve café, 北京, Übermut, and 3.14 €!",
    "Rain. " * 30,
    "x",
]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddingModel]:
    file = write_minilm(tmp_path_factory.mktemp("minilm") / "all-MiniLM-L6-v2.gguf")
    model = load_as(EmbeddingModel, spec_of(file, Role.EMBEDDING))
    yield model
    model.close()


def test_its_vectors_are_those_of_the_published_weights(minilm: EmbeddingModel) -> None:
    for vectors in (minilm.embed(TEXTS), minilm.embed(TEXTS, query=True)):
        agreement = np.sum(vectors * reference(TEXTS), axis=1)
        assert (agreement >= 0.999).all(), agreement


@pytest.mark.parametrize("pooling", ["cls", "last"])
def test_other_poolings_are_taken_from_the_header(tmp_path: Path, pooling: Pooling) -> None:
    file = write_minilm(tmp_path / "minilm.gguf", pooling)
    model = load_as(EmbeddingModel, spec_of(file, Role.EMBEDDING))
    agreement = np.sum(model.embed(TEXTS) * reference(TEXTS, pooling), axis=1)
    model.close()
    assert (agreement >= 0.999).all(), agreement


def test_its_meanings(minilm: EmbeddingModel) -> None:
    dentist, garden = minilm.embed([TEXTS[2], "We planted beans behind the shed."])
    (question,) = minilm.embed(["When did I see someone about my tooth?"], query=True)
    assert dentist @ question > garden @ question + 0.2
