"""The reranker: scores passages by how well they answer a query."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.llama.calls import never, pooled_outputs, tokenize, vocab_of
from core.llama.loaded_model import LoadedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class RerankerModel(LoadedModel):
    """A loaded reranker."""

    def score(self, query: str, passages: Sequence[str], *, cancelled: Callable[[], bool] = never) -> list[float]:
        """How well each passage answers the query, 0 to 1: the sigmoid of the model's logit.

        A query is cut at half the context, a passage at the rest of it. Raises CancelledError.
        """
        room = self.llama.n_batch
        query_tokens = self._tokens(query)[: room // 2]
        pairs = (self._pair(query_tokens, self._tokens(passage), room) for passage in passages)
        logits = pooled_outputs(self.llama, pairs, 1, cancelled)
        return [1 / (1 + math.exp(-max(-60.0, min(60.0, float(logit))))) for (logit,) in logits]

    def _tokens(self, text: str) -> list[int]:
        return tokenize(self.llama, text, add_special=False, parse_special=False)

    def _pair(self, query: list[int], passage: list[int], room: int) -> list[int]:
        """Query and passage with the special tokens of the vocabulary.

        In the order of llama.cpp's server (format_prompt_rerank): bos query eos sep passage eos.
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
