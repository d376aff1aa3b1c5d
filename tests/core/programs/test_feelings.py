"""Moods and distress in the space of the real embedding model; the examples' vectors that the package ships."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.llama.embedding import EmbeddingModel
from core.llama.engine import load_as
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.programs.feelings import FILE, MOODS, Feelings, certain, examples, personal, vectors_file
from tests.minilm import write_minilm

DISTRESS = "We had soup. I took the rope out of the shed and thought about how quick it would be to die."
SAD = "We buried my aunt today. I miss her, and I cried all the way home."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddingModel]:
    file = write_minilm(tmp_path_factory.mktemp("minilm") / "all-MiniLM-L6-v2.gguf")
    made = load_as(EmbeddingModel, default_spec(read_header(file)))
    yield made
    made.close()


def test_the_shipped_vectors_are_those_of_the_examples(model: EmbeddingModel, tmp_path: Path) -> None:
    file = vectors_file(model.id, tmp_path)
    assert file.parent == FILE.parent, "make them again: python -m tests.benchmarks.feelings --vectors"
    assert list(FILE.parent.glob("feelings-*.npy")) == [file]
    shipped, texts = np.load(file).astype(np.float32), examples().texts
    assert len(shipped) == len(texts)
    for number in range(0, len(texts), 60):
        assert shipped[number] @ model.embed([texts[number]])[0] > 0.999


def test_moods_and_distress(model: EmbeddingModel, tmp_path: Path) -> None:
    feelings = Feelings(np.load(vectors_file(model.id, tmp_path)))
    texts = ["I won! We sang and danced until midnight, what a happy day.", "I am furious with the bank and its lies."]
    assert feelings.moods(model.embed(texts)) == ["joyful", "angry"]
    for text, expected in ((DISTRESS, True), (SAD, False), ("", False)):
        said = personal(text)
        assert feelings.distress(said, model.embed(said)) is expected


def test_a_correction_is_an_example_for_similar_entries(model: EmbeddingModel, tmp_path: Path) -> None:
    vectors = np.load(vectors_file(model.id, tmp_path))
    before, after = model.embed(["Sorted my stamps again.", "Sorted my stamps for an hour."])
    (found,) = Feelings(vectors).moods(after[None])
    other = next(mood for mood in MOODS if mood != found)
    assert Feelings(vectors, [(before, other)]).moods(after[None]) == [other]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I want to kill myself.", True),
        ("i wanna die", True),
        ("I’ve been suicidal for weeks", True),
        ("I don't want to die.", False),
        ("I'm dying for a coffee, this heat is killing me.", False),
        ("My uncle took his own life.", False),
    ],
)
def test_some_words_are_certain(text: str, expected: bool) -> None:
    assert certain(text) is expected
