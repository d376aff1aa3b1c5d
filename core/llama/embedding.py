"""The embedding model: from texts to unit vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.llama.calls import never, pooled_outputs, tokenize
from core.llama.loaded_model import LoadedModel
from core.model_files.fingerprint import embedding_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from llama_cpp import Llama
    from numpy.typing import NDArray

    from core.model_files.spec import ModelSpec


class EmbeddingModel(LoadedModel):
    """A loaded embedding model."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        super().__init__(llama, spec)
        self.dimension = llama.n_embd()
        self.id = embedding_id(spec)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, special tokens included."""
        return len(tokenize(self.llama, text, add_special=True, parse_special=False))

    def embed(self, texts: Sequence[str], *, cancelled: Callable[[], bool] = never) -> NDArray[np.float32]:
        """Unit vectors [texts, dimension]; a text longer than the context is cut at its end.

        A text without a direction has the zero vector. Raises CancelledError.
        """
        import numpy as np

        vectors = pooled_outputs(self.llama, map(self._fitted, texts), self.dimension, cancelled)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        vectors /= lengths
        return vectors

    def _fitted(self, text: str) -> list[int]:
        """At most a batch of tokens, the last special token included; an empty text is one special token."""
        tokens = tokenize(self.llama, text, add_special=True, parse_special=False)
        if not tokens:
            return [max(0, self.llama.token_bos(), self.llama.token_eos())]
        room = self.llama.n_batch
        return tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]
