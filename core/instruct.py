"""The instruct model: a prompt in, text out piece by piece, stopped at any moment and usable at once afterwards."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter
from typing import TYPE_CHECKING

from core.errors import CharlieError
from core.native import ABORTED, aborting, never, pieces, vocab_of
from core.prompt import ChatPrompt, FittedPrompt, Message
from core.sampler import sampler
from core.sessions import LEAST_TOKENS, Sessions, common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llama_cpp import Llama

    from core.model_files import ModelSpec
    from core.sessions import Saved
    from core.settings import Sampling

__all__ = ["Completion", "FinishReason", "FittedPrompt", "InstructModel", "Message"]


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Completion:
    """What a finished stream was: tokens, and seconds."""

    prompt_tokens: int
    reused_tokens: int
    """Prompt tokens that were still in the KV cache and were not evaluated again."""
    completion_tokens: int
    finish_reason: FinishReason
    prefill_s: float
    ttft_s: float
    """From the call to the first token; 0 when there was none."""
    tokens_per_second: float
    """Of decoding alone."""


def _no_report(done: int, total: int) -> None:  # noqa: ARG001
    return


class InstructModel:
    """A loaded generating model. One thread at a time; never deep-copied, as `llama` would load its file again."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        self.llama = llama
        self.spec = spec
        self.sessions: Sessions | None = None
        """Where conversations are kept over an unload, and while another one is answered."""
        self._prompt = ChatPrompt(llama, spec.header.chat_template)
        self._session = ""
        """The conversation whose tokens the KV cache holds, if they are one's."""

    def close(self) -> None:
        """Give the memory back at once; a second call does nothing."""
        self.llama.close()

    def keep(self, spare: Saved | None = None) -> None:
        """Save the KV cache of the conversation that was answered last, in no place that `spare` takes."""
        if self.sessions is not None and self._session:
            self.sessions.save(self.llama, self._session, spare)

    def lend(self) -> None:
        """Keep the conversation that was answered last: from now on somebody else uses `llama`, and its KV cache."""
        self.keep()
        self._session = ""

    def count_tokens(self, text: str) -> int:
        return self._prompt.count(text)

    def fit(self, messages: Sequence[Message], max_tokens: int) -> FittedPrompt:
        """The prompt of the newest messages that fit the context beside `max_tokens` of completion.

        A completion leaves at least a quarter of the context to the prompt.
        """
        context = self.llama.n_ctx()
        return self._prompt.fit(messages, context - min(max_tokens, context * 3 // 4))

    def stream(
        self,
        prompt: FittedPrompt,
        sampling: Sampling,
        *,
        session: str = "",
        cancelled: Callable[[], bool] = never,
        on_prefill: Callable[[int, int], None] = _no_report,
    ) -> Iterator[str | Completion]:
        """Yield the text in pieces, never half a character, and last a Completion.

        `session` names the conversation that the prompt is of, whose KV cache is kept while others are answered.
        `on_prefill(done, total)` counts prompt tokens. `cancelled` stops prefill and decoding within milliseconds;
        what was evaluated stays in the KV cache. Raises CharlieError when llama.cpp fails.
        """
        import llama_cpp

        began = perf_counter()
        llama, total = self.llama, len(prompt.tokens)
        reused = self._reuse(prompt.tokens, session)
        on_prefill(reused, total)
        completed, first_at, reason = 0, 0.0, FinishReason.LENGTH
        if not self._prefill(prompt.tokens, cancelled, on_prefill):
            seconds = perf_counter() - began
            yield Completion(total, reused, 0, FinishReason.CANCELLED, seconds, 0.0, 0.0)
            return
        prefilled = perf_counter()
        text, vocab = _Text(pieces(llama)), vocab_of(llama)
        sample, ends = llama_cpp.llama_sampler_sample, llama_cpp.llama_vocab_is_eog
        with sampler(llama, sampling) as chain:
            while completed < sampling.max_tokens:
                if cancelled():
                    reason = FinishReason.CANCELLED
                    break
                token = sample(chain, llama.ctx, -1)
                first_at = first_at or perf_counter()
                if ends(vocab, token):
                    reason = FinishReason.STOP
                    break
                completed += 1
                if piece := text.add(token):
                    yield piece
                if completed == sampling.max_tokens or llama.n_tokens >= llama.n_ctx():
                    break
                self._eval([token])
        seconds = perf_counter() - prefilled
        yield Completion(
            prompt_tokens=total,
            reused_tokens=reused,
            completion_tokens=completed,
            finish_reason=reason,
            prefill_s=prefilled - began,
            ttft_s=first_at - began if first_at else 0.0,
            tokens_per_second=completed / seconds if seconds > 0 else 0.0,
        )

    def _reuse(self, tokens: Sequence[int], session: str) -> int:
        """Keep the longest common prefix in the KV cache, the saved one that fits best if that is longer.

        At least one token is evaluated, for its logits.
        """
        import llama_cpp

        llama = self.llama
        kept = self._shared(tokens)
        if self.sessions is not None:
            saved, count = self.sessions.best(tokens)
            if session != self._session and llama.n_tokens - kept >= LEAST_TOKENS:
                self.keep(saved)  # another conversation takes over
            if saved is not None and count >= kept + LEAST_TOKENS:
                self.sessions.restore(llama, saved)
                kept = self._shared(tokens)
        self._session = session
        memory = llama_cpp.llama_get_memory(llama.ctx)
        # Recurrent models cannot forget a part of what they have read.
        if not llama_cpp.llama_memory_seq_rm(memory, 0, kept, -1):
            llama_cpp.llama_memory_clear(memory, True)
            kept = 0
        llama.n_tokens = kept
        return kept

    def _shared(self, tokens: Sequence[int]) -> int:
        """How many of a prompt's tokens the KV cache holds, all but its last one at most."""
        import numpy as np

        held = self.llama.input_ids[: self.llama.n_tokens]
        return common(held, np.asarray(tokens[:-1], np.int32))

    def _prefill(
        self, tokens: Sequence[int], cancelled: Callable[[], bool], on_prefill: Callable[[int, int], None]
    ) -> bool:
        """Evaluate what is not in the KV cache yet; False when it was cancelled."""
        llama = self.llama
        with aborting(llama, cancelled):
            while llama.n_tokens < len(tokens):
                if cancelled():
                    return False
                if not self._eval(tokens[llama.n_tokens : llama.n_tokens + llama.n_batch]):
                    self._forget_after(llama.n_tokens)
                    return False
                on_prefill(llama.n_tokens, len(tokens))
        return True

    def _eval(self, tokens: Sequence[int]) -> bool:
        """Evaluate tokens behind those that are held, for the logits of the last; False when that was stopped.

        Without what `Llama.eval` does for each token besides, which takes as long as a small model does.
        """
        import llama_cpp

        llama, count = self.llama, len(tokens)
        given = (llama_cpp.llama_token * count)(*tokens)  # a batch only points to it
        status = llama_cpp.llama_decode(llama.ctx, llama_cpp.llama_batch_get_one(given, count))
        if status == ABORTED:
            return False
        if status != 0:
            raise CharlieError(
                f"The model {self.spec.name} stopped in the middle of its work (llama_decode returned {status}).",
                "Try it again.",
            )
        llama.input_ids[llama.n_tokens : llama.n_tokens + count] = tokens
        llama.n_tokens += count
        return True

    def _forget_after(self, kept: int) -> None:
        """Drop what an aborted batch left in the KV cache."""
        import llama_cpp

        memory = llama_cpp.llama_get_memory(self.llama.ctx)
        if not llama_cpp.llama_memory_seq_rm(memory, 0, kept, -1):
            llama_cpp.llama_memory_clear(memory, True)
            self.llama.n_tokens = 0


class _Text:
    """Puts the bytes of tokens together to characters; the space before the first word is not said."""

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False

    def add(self, token: int) -> str:
        text = self._decoder.decode(self._piece(token))
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text
