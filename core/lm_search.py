"""DSPy's embedder and a retriever over our embedding model and reranker.

Only DSPy's callers import this module: it imports DSPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy
import numpy as np

from core.lm import lock_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.embedder import EmbeddingModel
    from core.reranker import RerankerModel

NEAR = 4
"""Times the passages that are asked for go to the reranker."""


def make_embedder(model: EmbeddingModel, *, cache: bool = True) -> dspy.Embedder:
    """A `dspy.Embedder` over a loaded model, which it borrows and never closes.

    DSPy's cache knows a callable by its source alone, so the model's id goes with every call.
    """

    def embed(texts: list[str], *, model_id: str) -> NDArray[np.float32]:
        if model_id != model.id:
            raise ValueError(f"This embedder is of the model {model.id} and was asked for {model_id}")
        with lock_of(model.llama):
            return model.embed(texts)

    return dspy.Embedder(embed, caching=cache, model_id=model.id)


class Retriever(dspy.Module):  # type: ignore[misc]  # dspy is untyped
    """The passages that answer a query best: by their vectors, and of these by the reranker, if there is one."""

    def __init__(
        self, passages: Sequence[str], embedder: dspy.Embedder, reranker: RerankerModel | None = None, k: int = 5
    ) -> None:
        super().__init__()
        self.passages, self.k = list(passages), k
        self._embedder, self._reranker = embedder, reranker
        self._vectors = embedder(self.passages) if self.passages else np.empty((0, 0), np.float32)

    def __deepcopy__(self, memo: dict[int, Any]) -> Retriever:
        return self

    def forward(self, query: str, k: int | None = None) -> dspy.Prediction:
        """At most `k` `passages`, best first, with their `indices` and their `scores`: 0 to 1 from the reranker, else
        the cosine.
        """
        wanted = self.k if k is None else k
        if not self.passages:
            return dspy.Prediction(passages=[], indices=[], scores=[])
        scores = self._vectors @ self._embedder(query)
        order = np.argsort(-scores, kind="stable")[: wanted * NEAR if self._reranker else wanted]
        found = [float(scores[index]) for index in order]
        if self._reranker:
            with lock_of(self._reranker.llama):
                found = self._reranker.score(query, [self.passages[index] for index in order])
            best = np.argsort(-np.array(found), kind="stable")[:wanted]
            order, found = order[best], [found[index] for index in best]
        return dspy.Prediction(
            passages=[self.passages[index] for index in order], indices=[int(index) for index in order], scores=found
        )
