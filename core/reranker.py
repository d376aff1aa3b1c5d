"""The reranker: a query and passages in, one score per passage out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.errors import CancelledError
from core.native import decode_sequences, never, tokenize, vocab_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llama_cpp import Llama

    from core.model_files import ModelSpec


class RerankerModel:
    """A loaded reranker. One thread at a time; never deep-copied, as `llama` would load its file again."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        self.llama = llama
        self.spec = spec

    def close(self) -> None:
        """Give the memory back at once; a second call does nothing."""
        self.llama.close()

    def score(self, query: str, passages: Sequence[str], *, cancelled: Callable[[], bool] = never) -> list[float]:
        """How well each passage answers the query, 0 to 1: the sigmoid of the model's logit.

        A query longer than half the context loses its end, a passage what does not fit beside it. Raises
        CancelledError.
        """
        room, most = self.llama.n_batch, self.llama.context_params.n_seq_max
        query_tokens = self._tokens(query)[: room // 2]
        scores: list[float] = []
        batch: list[list[int]] = []
        used = 0
        for passage in passages:
            pair = self._pair(query_tokens, self._tokens(passage), room)
            if batch and (used + len(pair) > room or len(batch) == most):
                scores += self._decode(batch, cancelled)
                batch, used = [], 0
            batch.append(pair)
            used += len(pair)
        return scores + self._decode(batch, cancelled)

    def _decode(self, batch: list[list[int]], cancelled: Callable[[], bool]) -> list[float]:
        if cancelled():
            raise CancelledError
        if not batch:
            return []
        return [_sigmoid(float(row[0])) for row in decode_sequences(self.llama, batch, 1, cancelled)]

    def _tokens(self, text: str) -> list[int]:
        return tokenize(self.llama, text, add_special=False, parse_special=False)

    def _pair(self, query: list[int], passage: list[int], room: int) -> list[int]:
        """Query and passage with the special tokens that the vocabulary asks for.

        The order is that of llama.cpp's server, format_prompt_rerank: bos query eos sep passage eos.
        """
        import llama_cpp

        vocab = vocab_of(self.llama)
        sep = llama_cpp.llama_vocab_sep(vocab)
        eos = llama_cpp.llama_vocab_eos(vocab)
        ends = [eos if eos >= 0 else sep] if llama_cpp.llama_vocab_get_add_eos(vocab) else []
        begins = [llama_cpp.llama_vocab_bos(vocab)] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
        between = [*ends, *([sep] if llama_cpp.llama_vocab_get_add_sep(vocab) else [])]
        head = [*begins, *query, *between]
        return [*head, *passage[: room - len(head) - len(ends)], *ends]


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))
