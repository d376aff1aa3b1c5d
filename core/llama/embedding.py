"""The embedding model: from texts to unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.llama.calls import Llama, LoadedModel, NDArray, llama_cpp, never, np, pooled_outputs, tokenize
from core.model_files.fingerprint import embedding_id
from core.model_files.spec import ModelSpec


class EmbeddingModel(LoadedModel):
    """A loaded embedding model."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        super().__init__(llama, spec)
        self.dimension = llama_cpp.llama_model_n_embd_out(llama.model)
        self.id = embedding_id(spec)
        self._form = spec.header.text_form
        end = tokenize(llama, self._form.end, add_special=False, parse_special=True)
        self._end = end if len(end) == 1 else []

    def count_tokens(self, text: str, *, query: bool = False) -> int:
        """Number of tokens of a passage or query, with what the model's family puts around it."""
        return len(self._tokens(text, query=query))

    def embed(
        self, texts: Sequence[str], *, query: bool = False, cancelled: Callable[[], bool] = never
    ) -> NDArray[np.float32]:
        """Unit vectors [texts, dimension] of passages, or of queries; one longer than the context is cut at its end.

        A text without a direction has the zero vector. Raises CancelledError.
        """
        sequences = (self._fitted(text, query=query) for text in texts)
        vectors = pooled_outputs(self.llama, sequences, self.dimension, cancelled)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        vectors /= lengths
        return vectors

    def _tokens(self, text: str, *, query: bool) -> list[int]:
        before = self._form.query if query else self._form.passage
        tokens = tokenize(self.llama, before + text, add_special=True, parse_special=False)
        # Most headers have the vocabulary add the end; those of the first files do not.
        return tokens if tokens[-1:] == self._end else tokens + self._end

    def _fitted(self, text: str, *, query: bool) -> list[int]:
        """At most a batch of tokens, the last special token included; an empty text is one special token."""
        tokens = self._tokens(text, query=query)
        if not tokens:
            return [max(0, self.llama.token_bos(), self.llama.token_eos())]
        room = self.llama.n_batch
        return tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]
