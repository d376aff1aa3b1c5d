"""The DSPy engine around a raw `llama_cpp.Llama`: one request in, one completion out.

DSPy owns the cache, retries, history and the number of candidates; this owns the prompt's text, sampling, the
grammar and the lock. DSPy is imported inside the functions: only the worker and the optimizers ever call them.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from core.dspy_lm.answer_mask import AnswerMask, GrammarError
from core.dspy_lm.async_engine import AsyncLlamaEngine, Borrowing
from core.errors import CancelledError, CharlieError
from core.llama.calls import (
    Detokenizer,
    Lazy,
    Llama,
    aborting,
    cut_memory,
    is_closed,
    llama_cpp,
    never,
    shared_tokens,
    tokenize,
    vocab_of,
)
from core.llama.chat_prompt import ChatPrompt, FittedPrompt, Message
from core.llama.instruct import InstructModel
from core.llama.thoughts import Thought, Thoughts, pieces_with_marks, thoughts_after
from core.llama.threads import DecodingThreads
from core.model_files.fingerprint import file_id, text_sha256
from core.settings import Sampling

if TYPE_CHECKING:
    import dspy
    from dspy import lm15
else:
    dspy, lm15 = Lazy("dspy"), Lazy("dspy.lm15")

PARAMETERS = frozenset({
    "temperature", "max_tokens", "top_p", "top_k", "stop",
    "seed", "frequency_penalty", "presence_penalty", "response_format", "stream",
})  # fmt: skip

EVERYTHING = 1 << 40
"""More tokens than any prompt has."""
SAMPLE = 512
"""Tokens at the prompt's end whose characters are counted, to know how many an answer's tokens have."""

_locks: WeakKeyDictionary[Llama, threading.Lock] = WeakKeyDictionary()
_locks_lock = threading.Lock()


def lock_of(llama: Llama) -> threading.Lock:
    """The one lock of this model: two threads in one llama.cpp context abort the process."""
    with _locks_lock:
        return _locks.setdefault(llama, threading.Lock())


def model_id(model: InstructModel) -> str:
    """What an optimized program is bound to: the model's files, a LoRA among them, and its chat template."""
    return file_id(model.spec.header, model.llama.metadata.get("tokenizer.chat_template"))


def make_lm(
    model: InstructModel,
    *,
    sampling: Sampling | None = None,
    cancelled: Callable[[], bool] = never,
    cache: bool = True,
) -> dspy.LM:
    """A `dspy.LM` over a loaded model; it borrows the model and never closes it.

    Its name carries all that changes an answer (file, template, LoRA, context length, sampling), so that DSPy's
    caches never mix two models. `cancelled` is asked at every token; once true, calls raise CancelledError
    (inside the LMUnexpectedError that DSPy makes of an engine's own errors).
    """
    sampling = sampling or Sampling()
    extras = text_sha256(json.dumps(sampling.model_dump(), sort_keys=True))[:8]
    engine = LlamaEngine(model.llama, sampling, cancelled)
    return dspy.LM(
        f"llama_cpp/{model_id(model)}-{model.llama.n_ctx()}-{extras}",
        engine=engine,
        async_engine=AsyncLlamaEngine(engine),
        temperature=min(sampling.temperature, 2.0),
        max_tokens=sampling.max_tokens,
        num_retries=0,
        cache=cache,
    )


class LlamaEngine(Borrowing):
    """One attempt, one candidate."""

    supports_function_calling = False
    supports_reasoning = False
    supports_response_schema = True
    supported_params = PARAMETERS

    def __init__(self, llama: Llama, sampling: Sampling, cancelled: Callable[[], bool] = never) -> None:
        self._llama = llama
        self._sampling = sampling
        self._cancelled = cancelled
        self._lock = lock_of(llama)
        self._threads = DecodingThreads(llama)
        # Every call has a seed of its own, or all rollouts of one prompt would be the same; the row of seeds
        # is the same in every run when the settings fix one.
        self._seeds = random.Random(sampling.seed if sampling.seed >= 0 else None)  # noqa: S311
        self._template = llama.metadata.get("tokenizer.chat_template", "")
        # Without thoughts: they would take the answer's tokens; a program that wants some has a field for them.
        self._prompt = ChatPrompt(llama, self._template)
        self._piece = pieces_with_marks(llama, self._template)

    def complete(self, request: lm15.Request) -> lm15.Response:
        return self.collect(request, threading.Event())

    def collect(self, request: lm15.Request, stop: threading.Event) -> lm15.Response:
        """The whole completion; `stop` ends it with CancelledError.

        Raises lm15.ContextLengthError when the prompt leaves no room for an answer.
        """
        thoughts: list[str] = []
        text: list[str] = []
        end = None
        with closing(self.events(request, stop)) as events:
            for event in events:
                match event:
                    case lm15.StreamDeltaEvent(delta=lm15.ThinkingDelta(text=thought)):
                        thoughts.append(thought)
                    case lm15.StreamDeltaEvent(delta=lm15.TextDelta(text=piece)):
                        text.append(piece)
                    case lm15.StreamEndEvent():
                        end = event
        if end is None:
            raise AssertionError("a completion ends with an end event")
        parts = [lm15.ThinkingPart("".join(thoughts))] if thoughts else []
        return lm15.Response(
            id=None,
            model=request.model,
            message=lm15.Message.assistant([*parts, lm15.TextPart("".join(text))]),
            finish_reason=end.finish_reason,
            usage=end.usage,
        )

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamEvent]:
        return self.events(request, threading.Event())

    def events(self, request: lm15.Request, stop: threading.Event) -> Generator[lm15.StreamEvent]:
        """Start, thoughts and text as they are made, end. The model is locked until the generator is done or closed."""
        from dspy.clients.engines.base import validate_request

        validate_request(request)
        yield lm15.StreamStartEvent(model=request.model)
        with self._lock:
            if is_closed(self._llama):
                raise CharlieError("The model is closed.", "Load it again.")
            plan = self._plan(request)
            used, finish_reason = 0, "length"
            text, stops = Detokenizer(self._piece), (*request.config.stop, *plan.stops)
            deltas = _Deltas(thoughts_after(self._piece, self._template, plan.tokens, stops))
            with closing(self._generate(request.config, plan, stop)) as generated:
                for token in generated:
                    if llama_cpp.llama_vocab_is_eog(vocab_of(self._llama), token):
                        finish_reason = "stop"
                        break
                    used += 1
                    if plan.mask is not None:
                        plan.mask.accept(token)
                    yield from deltas.of(text.add(token))
                    if deltas.thoughts.done or (plan.mask is not None and plan.mask.done):
                        finish_reason = "stop"
                        break
                    if used >= plan.limit:
                        break
        yield from deltas.of(text.finish(), last=True)
        usage = lm15.Usage(input_tokens=len(plan.tokens), output_tokens=used)
        yield lm15.StreamEndEvent(finish_reason=finish_reason, usage=usage)

    def close(self) -> None:
        """Nothing: whoever loaded the model closes it."""

    def _plan(self, request: lm15.Request) -> _Plan:
        prompt = self._fitted(request)
        tokens = prompt.tokens
        asked = request.config.max_tokens or self._sampling.max_tokens
        response_format = request.config.response_format
        if response_format is not None:
            # A grammar has no room for a thought that the prompt has opened, or that the family always begins with.
            mark = thoughts_after(self._piece, self._template, tokens).to_answer
            tokens += tokenize(self._llama, mark, add_special=False, parse_special=True) if mark else []
        room = self._llama.n_ctx() - len(tokens)
        if room < 1:
            raise lm15.ContextLengthError(
                f"The prompt has {len(tokens)} tokens and the context length is {self._llama.n_ctx()}"
            )
        limit = min(asked, room)
        if response_format is None:
            return _Plan(tokens, limit, None, prompt.stops)
        # An answer has the language of its prompt.
        sample = tokens[-SAMPLE:]
        characters = len(self._llama.detokenize(sample).decode(errors="ignore")) / len(sample)
        try:
            mask = AnswerMask(self._llama, response_format.get("schema"), limit, characters)
        except GrammarError as error:
            kind = lm15.ContextLengthError if limit < asked else lm15.InvalidRequestError
            raise kind(str(error)) from error
        return _Plan(tokens, limit, mask, prompt.stops)

    def _fitted(self, request: lm15.Request) -> FittedPrompt:
        if request.tools:
            raise lm15.UnsupportedFeatureError("Tools are not supported")
        if request.config.logprobs is not None:
            raise lm15.UnsupportedFeatureError("Log probabilities are not supported")
        messages = []
        if request.system:
            system = request.system
            text = system if isinstance(system, str) else "".join(part.text for part in system)
            messages.append(Message("system", text))
        for message in request.messages:
            if not all(isinstance(part, lm15.TextPart) for part in message.parts):
                raise lm15.UnsupportedFeatureError("Only text can be sent to this model")
            role: Literal["system", "user", "assistant"] = "system"
            if message.role in ("user", "assistant"):
                role = message.role
            messages.append(Message(role, "".join(part.text for part in message.parts)))
        # DSPy wants an error for what does not fit, and nothing left out.
        return self._prompt.fit(messages, EVERYTHING)

    def _generate(self, config: lm15.Config, plan: _Plan, stop: threading.Event) -> Generator[int]:
        extras = self._sampling
        self._threads.look()
        # `Llama.generate` cuts too, and does not see what layers with a sliding window lack.
        cut_memory(self._llama, shared_tokens(self._llama, plan.tokens))
        self._llama.set_seed(self._seeds.getrandbits(31) if config.seed is None else config.seed % 2**32)
        generated = self._llama.generate(
            plan.tokens,
            temp=extras.temperature if config.temperature is None else config.temperature,
            top_k=config.top_k or extras.top_k,
            top_p=extras.top_p if config.top_p is None else config.top_p,
            min_p=extras.min_p,
            repeat_penalty=extras.repeat_penalty,
            frequency_penalty=config.frequency_penalty or 0.0,
            presence_penalty=config.presence_penalty or 0.0,
            logits_processor=None if plan.mask is None else llama_cpp.LogitsProcessorList([plan.mask]),
        )
        with closing(generated):
            try:
                # Only the prefill is long enough to be stopped in the middle.
                with aborting(self._llama, lambda: self._stopped(stop)):
                    token = next(generated)
            except RuntimeError as error:
                if self._stopped(stop):
                    raise CancelledError from error
                raise
            for following in chain([token], generated):
                if self._stopped(stop):
                    raise CancelledError
                self._threads.look()
                yield following

    def _stopped(self, stop: threading.Event) -> bool:
        if self._cancelled():
            stop.set()
        return stop.is_set()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is asked of the model."""

    tokens: list[int]
    """The prompt."""
    limit: int
    """The most tokens of the answer."""
    mask: AnswerMask | None
    stops: tuple[str, ...]


@dataclass(slots=True)
class _Deltas:
    """The events of one completion's text."""

    thoughts: Thoughts
    _part: int = 0

    def of(self, piece: str, *, last: bool = False) -> Iterator[lm15.StreamEvent]:
        """The events of the next piece; after the `last` one there is at least one event of the answer."""
        for found in self.thoughts.split(piece, last=last):
            if isinstance(found, Thought):
                self._part = 1  # The answer's; thoughts are the part before it.
                yield lm15.StreamDeltaEvent(lm15.ThinkingDelta(found.text))
            else:
                yield lm15.StreamDeltaEvent(lm15.TextDelta(found, self._part))
        if last:
            # A stream without any text has no message.
            yield lm15.StreamDeltaEvent(lm15.TextDelta("", self._part))
