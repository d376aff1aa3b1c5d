"""The reranker: scores passages by how well they answer a query."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from core.llama.calls import Llama, LoadedModel, llama_cpp, never, pieces, pooled_outputs, tokenize, vocab_of
from core.llama.chat_prompt import ChatPrompt
from core.model_files.spec import ModelSpec

PROBABILITY: Final = frozenset({"qwen3", "qwen3vl"})
"""Architectures of which llama.cpp returns the probability of "yes", the first of two classes, and no logit;
llm_graph_context::build_pooling."""
PLACE: Final = re.compile(r"\{(query|document)\}")


class RerankerModel(LoadedModel):
    """A loaded reranker."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        super().__init__(llama, spec)
        found: bytes | None = llama_cpp.llama_model_chat_template(llama.model, b"rerank")
        self._template = found.decode("utf-8", "replace") if found else ""

    def score(self, query: str, passages: Sequence[str], *, cancelled: Callable[[], bool] = never) -> list[float]:
        """How well each passage answers the query, 0 to 1: the model's probability, or the sigmoid of its logit.

        A query is cut at half the context, a passage at the rest of it. Raises CancelledError.
        """
        room = self.llama.n_batch
        query_tokens = self._tokens(query)
        if self._template:
            if len(query_tokens) > room // 2:
                query = b"".join(map(pieces(self.llama), query_tokens[: room // 2])).decode("utf-8", "ignore")
            pairs = self._filled_in(query, passages, room)
        else:
            pairs = (self._pair(query_tokens[: room // 2], self._tokens(passage), room) for passage in passages)
        outputs: list[float] = pooled_outputs(self.llama, pairs, 1, cancelled)[:, 0].tolist()
        if self.spec.header.architecture in PROBABILITY:
            return outputs
        return [1 / (1 + math.exp(-max(-60.0, min(60.0, logit)))) for logit in outputs]

    def _tokens(self, text: str) -> list[int]:
        return tokenize(self.llama, text, add_special=False, parse_special=False)

    def _filled_in(self, query: str, passages: Iterable[str], room: int) -> Iterator[list[int]]:
        """The file's template with the query and each passage, as llama.cpp's server fills it in, and always its end.

        Control tokens in both texts are split, so that they stay texts.
        """
        escaped = ChatPrompt(self.llama, None, marked_by=self._template).escaped
        ending = tokenize(self.llama, PLACE.split(self._template)[-1], add_special=False, parse_special=True)
        texts = {"query": escaped(query)}
        for passage in passages:
            texts["document"] = escaped(passage)
            prompt = PLACE.sub(lambda place: texts[place[1]], self._template)
            tokens = tokenize(self.llama, prompt, add_special=False, parse_special=True)
            yield tokens if len(tokens) <= room else tokens[: room - len(ending)] + ending

    def _pair(self, query: list[int], passage: list[int], room: int) -> list[int]:
        """Query and passage with the special tokens of the vocabulary.

        In the order of llama.cpp's server (format_prompt_rerank): bos query eos sep passage eos.
        """
        vocab = vocab_of(self.llama)
        sep = llama_cpp.llama_vocab_sep(vocab)
        eos = llama_cpp.llama_vocab_eos(vocab)
        ends = [eos if eos >= 0 else sep] if llama_cpp.llama_vocab_get_add_eos(vocab) else []
        begins = [llama_cpp.llama_vocab_bos(vocab)] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
        between = [*ends, *([sep] if llama_cpp.llama_vocab_get_add_sep(vocab) else [])]
        head = [*begins, *query, *between]
        return [*head, *passage[: room - len(head) - len(ends)], *ends]
