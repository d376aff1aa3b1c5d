"""The embedding model: texts in, unit vectors out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from core.errors import CancelledError
from core.native import decode_sequences, never, tokenize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from llama_cpp import Llama
    from numpy.typing import NDArray

    from core.model_files import ModelSpec

HASHED_BYTES = 1 << 20


class EmbeddingModel:
    """A loaded embedding model. One thread at a time; never deep-copied, as `llama` would load its file again."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        self.llama = llama
        self.spec = spec
        self.dimension = llama.n_embd()
        self.id = model_id(spec)

    def close(self) -> None:
        """Give the memory back at once; a second call does nothing."""
        self.llama.close()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, with the special tokens that the model puts around it."""
        return len(tokenize(self.llama, text, add_special=True, parse_special=False))

    def embed(self, texts: Sequence[str], *, cancelled: Callable[[], bool] = never) -> NDArray[np.float32]:
        """Unit vectors [texts, dimension]; a text longer than the context is cut at its end.

        Many short texts share one decode. A text without any meaning to the model has the vector 0. Raises
        CancelledError.
        """
        import numpy as np

        vectors = np.empty((len(texts), self.dimension), np.float32)
        done = 0
        for batch in self._batches(texts):
            if cancelled():
                raise CancelledError
            vectors[done : done + len(batch)] = decode_sequences(self.llama, batch, self.dimension, cancelled)
            done += len(batch)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        vectors /= lengths
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[list[list[int]]]:
        """Tokens of the texts, in groups that fit one decode."""
        room, most = self.llama.n_batch, self.llama.context_params.n_seq_max
        batch: list[list[int]] = []
        used = 0
        for text in texts:
            tokens = self._fitted(text, room)
            if batch and (used + len(tokens) > room or len(batch) == most):
                yield batch
                batch, used = [], 0
            batch.append(tokens)
            used += len(tokens)
        if batch:
            yield batch

    def _fitted(self, text: str, room: int) -> list[int]:
        """At most `room` tokens, the closing special token included; an empty text is one space of some kind."""
        tokens = tokenize(self.llama, text, add_special=True, parse_special=False)
        if not tokens:
            return [max(0, self.llama.token_bos(), self.llama.token_eos())]
        return tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]


def model_id(spec: ModelSpec) -> str:
    """What a model's vectors are stored under: the same for the same file, wherever it lies."""
    with spec.path.open("rb") as file:
        digest = hashlib.sha256(file.read(HASHED_BYTES))
    digest.update(f"{spec.header.file_bytes} {spec.pooling}".encode())
    return f"{spec.path.name}:{digest.hexdigest()[:16]}"
