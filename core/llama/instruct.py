"""The instruct model: streams thought and answer to a prompt; it can be cancelled at any moment, and used again."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from threading import Thread
from time import perf_counter

from core.errors import CharlieError
from core.llama.calls import (
    ABORTED,
    Detokenizer,
    Llama,
    LoadedModel,
    aborting,
    cuttable,
    ignore,
    llama_cpp,
    never,
    sampler,
    shared_tokens,
    tokenize,
    vocab_of,
)
from core.llama.chat_prompt import ChatPrompt, FittedPrompt, Message
from core.llama.checkpoints import Checkpoints
from core.llama.session_cache import MIN_TOKENS, Saved, SessionCache
from core.llama.speculation import PromptLookup
from core.llama.thoughts import Part, Thought, Thoughts, can_think, pieces_with_marks, thoughts_after
from core.llama.threads import DecodingThreads
from core.model_files.spec import ModelSpec
from core.settings import Sampling, Thinking

QUOTED_CHARACTERS = 1200

__all__ = ["Completion", "FinishReason", "FittedPrompt", "InstructModel", "Message", "Thought"]


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Completion:
    """The numbers of a finished stream, in tokens and seconds."""

    prompt_tokens: int
    reused_tokens: int
    """Prompt tokens that were in the KV cache already."""
    completion_tokens: int
    """Of the answer."""
    finish_reason: FinishReason
    ttft_s: float
    """From the call to the first token; 0 without one."""
    tokens_per_second: float
    """Of thought and answer, without the prefill."""
    reasoning_tokens: int = 0
    reasoning_s: float = 0.0
    reasoning_cut: bool = False
    """Whether the thought was closed at the limit of its tokens."""


@dataclass(slots=True)
class _Decoded:
    """The tokens of thought and answer, and the times of the first one of each and of the end."""

    thought: int = 0
    answer: int = 0
    cut: bool = False
    """Whether the thought was closed; if the model opens another one, its tokens count as the answer's."""
    first_at: float = 0.0
    answer_at: float = 0.0
    ended_at: float = 0.0
    reason: FinishReason = FinishReason.LENGTH

    def add(self, thoughts: Thoughts) -> None:
        """Count one token, which `thoughts` has split."""
        if thoughts.part is not Part.ANSWER and not self.cut:
            self.thought += 1
            return
        self.answer += 1
        self.answer_at = self.answer_at or perf_counter()
        if not thoughts.marked:  # only blanks came before
            self.answer, self.thought = self.answer + self.thought, 0

    def end(self, thoughts: Thoughts) -> None:
        self.ended_at = perf_counter()
        if not thoughts.marked:
            self.answer, self.thought = self.answer + self.thought, 0


class InstructModel(LoadedModel):
    """A loaded generating model."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        super().__init__(llama, spec)
        self.sessions: SessionCache | None = None
        """Saved KV caches: of conversations before an unload, or while another one is answered."""
        self._checkpoints = Checkpoints(llama)
        self._threads = DecodingThreads(llama)
        self._template = spec.header.chat_template or ""
        self._prompt = ChatPrompt(llama, self._template)
        self._piece = pieces_with_marks(llama, self._template)
        self._session = ""
        """The conversation whose tokens the KV cache holds; empty if it holds others."""
        self.lookup = PromptLookup(llama)
        self._restorer: Thread | None = None

    def restore_ahead(self, session: str) -> None:
        """After a load: a thread restores this conversation's saved KV cache while the caller makes its prompt.

        Until `stream`, which waits for it, the caller may only use what needs no KV cache, such as `fit`.
        """
        if self.sessions is not None and self.llama.n_tokens == 0 and self._restorer is None:
            self._restorer = Thread(target=self._restore, args=(self.sessions, session), name="restore", daemon=True)
            self._restorer.start()

    def _restore(self, sessions: SessionCache, session: str) -> None:
        if (saved := sessions.of(session)) is not None:
            self._checkpoints.kept = sessions.restore(self.llama, saved)
            self._session = session

    def _await_restored(self) -> None:
        if self._restorer is not None:
            self._restorer.join()
            self._restorer = None

    def close(self) -> None:
        self._await_restored()
        super().close()

    def save_session(self, keep: Saved | None = None) -> None:
        """Save the KV cache of the last conversation; `keep` is not removed to make room."""
        self._await_restored()
        if self.sessions is not None and self._session:
            self.sessions.save(self.llama, self._session, self._checkpoints.valid(), keep)

    def detach_session(self) -> None:
        """Save the KV cache of the last conversation: from now on the caller uses `llama` and its KV cache."""
        self.save_session()
        self._session = ""

    def count_tokens(self, text: str) -> int:
        return self._prompt.count(text)

    def fit(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        *,
        thinking: Thinking = Thinking.OFF,
        thinking_tokens: int = 0,
    ) -> FittedPrompt:
        """The prompt of the newest messages that fit the context together with answer and thought.

        At least a quarter of the context is left to the prompt.
        """
        context = self.llama.n_ctx()
        if thinking is not Thinking.OFF and can_think(self._template):
            max_tokens += thinking_tokens
        return self._prompt.fit(messages, context - min(max_tokens, context * 3 // 4), thinking)

    def stream(
        self,
        prompt: FittedPrompt,
        sampling: Sampling,
        *,
        session: str = "",
        cancelled: Callable[[], bool] = never,
        on_prefill: Callable[[int, int], None] = ignore,
    ) -> Iterator[str | Thought | Completion]:
        """Yield thought and answer in pieces of whole characters, then a Completion.

        `session` names the conversation of the prompt; its KV cache is saved while others are answered.
        `on_prefill(done, total)` counts prompt tokens. `cancelled` stops prefill and decoding within milliseconds;
        evaluated tokens stay in the KV cache. Raises CharlieError when llama.cpp fails.
        """
        began, total = perf_counter(), len(prompt.tokens)
        reused, shared = self._reuse(prompt.tokens, session)
        self._threads.begin()
        on_prefill(reused, total)
        if not self._prefill(prompt.tokens, shared, cancelled, on_prefill):
            yield Completion(total, reused, 0, FinishReason.CANCELLED, 0.0, 0.0)
            return
        prefilled, decoded = perf_counter(), _Decoded()
        try:
            yield from self._decode(prompt, sampling, cancelled, decoded)
        finally:
            self.lookup.settle()
        yield Completion(
            prompt_tokens=total,
            reused_tokens=reused,
            completion_tokens=decoded.answer,
            finish_reason=decoded.reason,
            ttft_s=decoded.first_at - began if decoded.first_at else 0.0,
            tokens_per_second=(decoded.thought + decoded.answer) / max(decoded.ended_at - prefilled, 1e-9),
            reasoning_tokens=decoded.thought,
            reasoning_s=(decoded.answer_at or decoded.ended_at) - prefilled if decoded.thought else 0.0,
            reasoning_cut=decoded.cut,
        )

    def _decode(
        self, prompt: FittedPrompt, sampling: Sampling, cancelled: Callable[[], bool], decoded: _Decoded
    ) -> Iterator[str | Thought]:
        llama, text, vocab = self.llama, Detokenizer(self._piece), vocab_of(self.llama)
        thoughts = thoughts_after(self._piece, self._template, prompt.tokens, prompt.stops)
        limit, room = sampling.max_tokens, llama.n_ctx() - len(prompt.tokens)
        budget = min(sampling.thinking_tokens, room - min(limit, room // 2))
        sample, ends = llama_cpp.llama_sampler_sample, llama_cpp.llama_vocab_is_eog
        row, evaluate = -1, partial(self._eval, cancelled=cancelled)
        self.lookup.begin()
        with sampler(llama, sampling) as chain:
            # The second limit is for a model that writes neither thought nor answer.
            while decoded.answer < limit and decoded.thought <= budget + limit:
                if cancelled():
                    decoded.reason = FinishReason.CANCELLED
                    break
                if thoughts.part is Part.THOUGHT and decoded.thought >= budget and not decoded.cut:
                    decoded.cut = True
                    row = yield from self._close(thoughts, text, row)
                token = sample(chain, llama.ctx, row)
                decoded.first_at = decoded.first_at or perf_counter()
                if ends(vocab, token):
                    decoded.reason = FinishReason.STOP
                    break
                yield from thoughts.split(text.add(token))
                decoded.add(thoughts)
                if thoughts.done:
                    decoded.reason = FinishReason.STOP
                    break
                if decoded.answer == limit or llama.n_tokens >= llama.n_ctx():
                    break
                thinks = thoughts.part is Part.THOUGHT and not decoded.cut
                left = budget - decoded.thought if thinks else limit - decoded.answer
                row = self.lookup.advance(token, row, left - 1, evaluate)
        yield from thoughts.split("", last=True)
        decoded.end(thoughts)

    def _close(self, thoughts: Thoughts, text: Detokenizer, row: int) -> Generator[str | Thought, None, int]:
        """Evaluate the closing mark as if the model had written it; not where the context ends within it.

        Returns the row of the logits after it.
        """
        mark = thoughts.to_answer
        tokens = tokenize(self.llama, mark, add_special=False, parse_special=True)
        if self.llama.n_tokens + len(tokens) >= self.llama.n_ctx():
            return row
        self.lookup.begin()
        for token in tokens:
            self._eval([token])
        yield from thoughts.split(text.finish() + mark)
        return -1

    def _reuse(self, tokens: Sequence[int], session: str) -> tuple[int, int]:
        """Cut the KV cache to its common prefix with a prompt, after restoring a saved cache of which more is usable.

        Returns the tokens kept, and those of the prefix. At least one is left to evaluate, for its logits.
        """
        self._await_restored()
        llama, checkpoints = self.llama, self._checkpoints
        shared = shared_tokens(llama, tokens)
        if self.sessions is not None:
            kept = checkpoints.usable(shared)
            saved, count = self.sessions.best(tokens[:-1], cuttable(llama))
            if session != self._session and llama.n_tokens - kept >= MIN_TOKENS:
                self.save_session(saved)  # another conversation takes over
            if saved is not None and count >= kept + MIN_TOKENS:
                checkpoints.kept = self.sessions.restore(llama, saved)
                shared = shared_tokens(llama, tokens)
        self._session = session
        return checkpoints.cut(shared), shared

    def _prefill(
        self, tokens: Sequence[int], shared: int, cancelled: Callable[[], bool], on_prefill: Callable[[int, int], None]
    ) -> bool:
        """Evaluate the tokens that are not in the KV cache; False when cancelled."""
        llama, checkpoints, total = self.llama, self._checkpoints, len(tokens)
        with aborting(llama, cancelled):
            for mark in (*checkpoints.marks(shared, total), total):
                while llama.n_tokens < mark:
                    if cancelled():
                        return False
                    if not self._eval(tokens[llama.n_tokens : min(llama.n_tokens + llama.n_batch, mark)]):
                        checkpoints.cut(llama.n_tokens)  # an aborted batch may leave a part of its tokens
                        return False
                    on_prefill(llama.n_tokens, total)
                if mark < total:
                    checkpoints.add()
        return True

    def _eval(self, tokens: Sequence[int], proposed: Sequence[int] = (), cancelled: Callable[[], bool] = never) -> bool:
        """Evaluate tokens after those in the KV cache, for the logits of the last; False when aborted.

        With proposed ones after them, which do not count yet, for the logits of all. `Llama.eval` does more for each
        token, which takes as long as a small model itself.
        """
        llama, count = self.llama, len(tokens) + len(proposed)
        given = (llama_cpp.llama_token * count)(*tokens, *proposed)  # the batch only points to it
        batch = llama_cpp.llama_batch_get_one(given, count)
        self._threads.look()
        if proposed:
            batch.logits = (ctypes.c_int8 * count)(*[1] * count)
            with aborting(llama, cancelled):  # it takes longer than one token
                status = llama_cpp.llama_decode(llama.ctx, batch)
        else:
            status = llama_cpp.llama_decode(llama.ctx, batch)
        if status == ABORTED:
            return False
        if status != 0:
            raise CharlieError(
                f"The model {self.spec.name} failed while it computed (llama_decode returned {status}).",
                "Try again.",
            )
        llama.input_ids[llama.n_tokens : llama.n_tokens + count] = given
        llama.n_tokens += len(tokens)
        return True


def quote(model: InstructModel, text: str, room: int) -> str:
    """The beginning of an entry, at most about `room` tokens."""
    quoted = text[:QUOTED_CHARACTERS]
    tokens = model.count_tokens(quoted)
    return quoted if tokens <= room else quoted[: len(quoted) * room // tokens]
