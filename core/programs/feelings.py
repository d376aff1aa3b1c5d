"""The mood of an entry, and distress: kernel ridge regression over labelled examples, in any embedding model's space.

numpy is imported inside the functions: the interface reads MOODS.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.library.chunking import sentences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

MOODS = ("joyful", "calm", "sad", "anxious", "angry", "tired")
FILE = Path(__file__).with_name("feelings.toml")
MOOD_RIDGE, DISTRESS_RIDGE = 2.0, 0.3
DISTRESS, WORDS_SCORE = 0.5, 0.1
"""The least score of a sentence that speaks of distress, and the part of it that its words give."""
CORRECTION_WEIGHT = 4.0
"""Of an entry whose mood a person has set; an example counts 1."""
PERSON = re.compile(r"\b(i|im|ive|me|my|myself)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Examples:
    texts: list[str]
    """Those of moods come first."""
    moods: list[int]
    distressed: list[bool]
    words: re.Pattern[str]
    certain: re.Pattern[str]


@cache
def examples() -> Examples:
    """The examples of feelings.toml."""
    data = tomllib.loads(FILE.read_text("utf-8"))
    moods = [(number, text) for number, mood in enumerate(MOODS) for text in data["moods"][mood]]
    yes, no = data["distress"]["yes"], data["distress"]["no"]
    words, certain = (re.compile("|".join(data["distress"][key]), re.IGNORECASE) for key in ("words", "certain"))
    texts = [text for _, text in moods] + yes + no
    distressed = [False] * len(moods) + [True] * len(yes) + [False] * len(no)
    return Examples(texts, [number for number, _ in moods], distressed, words, certain)


def certain(text: str) -> bool:
    """Whether the words alone tell that somebody is in distress, as in "I want to die"."""
    return examples().certain.search(text.replace("’", "'")) is not None


def has_words(text: str) -> bool:
    """Whether the words of a sentence let one think of distress."""
    return examples().words.search(text) is not None


def personal(text: str) -> list[str]:
    """The sentences in which somebody may speak of their own distress."""
    text = text.replace("’", "'")
    said = [text[start:end] for start, end in sentences(text)]
    return [each for each in said if PERSON.search(each) or has_words(each)]


def vectors_file(model_id: str, folder: Path) -> Path:
    """The file with the examples' vectors of an embedding model: the package's, else one in `folder`."""
    key = hashlib.sha256("\n".join([model_id, *examples().texts]).encode()).hexdigest()[:16]
    shipped = FILE.with_name(f"feelings-{key}.npy")
    return shipped if shipped.exists() else folder / shipped.name


class Feelings:
    """`vectors` are those of the examples; `corrected` are entries' vectors with the moods that a person gave them."""

    def __init__(self, vectors: Vectors, corrected: Sequence[tuple[Vectors, str]] = ()) -> None:
        import numpy as np

        vectors = vectors.astype(np.float32)
        labels = examples().moods + [MOODS.index(mood) for _, mood in corrected]
        given = np.concatenate([vectors[: len(examples().moods)], *(vector[None] for vector, _ in corrected)])
        weights = np.repeat([1.0, CORRECTION_WEIGHT], [len(examples().moods), len(corrected)])
        self._mood = _fit(_unit(given), np.eye(len(MOODS))[labels], MOOD_RIDGE / weights)
        self._centre = vectors.mean(axis=0)
        distressed = np.array(examples().distressed, float)[:, None]
        self._distress = _fit(_unit(vectors - self._centre), distressed, np.full(len(vectors), DISTRESS_RIDGE))

    def moods(self, vectors: Vectors) -> list[str]:
        """The mood of each text."""
        return [MOODS[number] for number in self._mood(_unit(vectors)).argmax(axis=1)]

    def clearest(self, vectors: Vectors, mood: str = "") -> tuple[str, int]:
        """The mood of an entry, if it has none yet, and the number of the sentence that speaks most clearly of it."""
        scores = self._mood(_unit(vectors))
        number = MOODS.index(mood) if mood in MOODS else int(scores.mean(axis=0).argmax())
        return MOODS[number], int(scores[:, number].argmax())

    def distress(self, said: Sequence[str], vectors: Vectors) -> bool:
        """Whether one of the sentences speaks of distress."""
        scores = self._distress(_unit(vectors - self._centre))[:, 0] if said else ()
        return any(
            score + WORDS_SCORE * has_words(text) > DISTRESS or certain(text)
            for text, score in zip(said, scores, strict=True)
        )


def _unit(vectors: Any) -> Any:
    import numpy as np

    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _fit(vectors: Any, targets: Any, ridge: Any) -> Callable[[Any], Any]:
    import numpy as np

    mean = targets.mean(axis=0)
    weights = np.linalg.solve(_kernel(vectors, vectors) + np.diag(ridge), targets - mean)
    return lambda others: _kernel(others, vectors) @ weights + mean


def _kernel(a: Any, b: Any) -> Any:
    return ((1 + a @ b.T) / 2) ** 3
