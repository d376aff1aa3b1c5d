"""Calls of llama.cpp's C interface, shared by the three kinds of models. Loads llama_cpp when first used."""

from __future__ import annotations

import codecs
import ctypes
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError
from core.text import clean


class Lazy:
    """Stands for a module, which is imported when it is first used: the interface never loads these."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


if TYPE_CHECKING:
    import llama_cpp
    import numpy as np
    from llama_cpp import Llama
    from numpy.typing import NDArray

    from core.model_files.spec import ModelSpec  # the first screen imports this module, and does without Pydantic
    from core.settings import Sampling
else:
    llama_cpp, np = Lazy("llama_cpp"), Lazy("numpy")
    Llama = NDArray = Any

__all__ = ["Llama", "NDArray", "llama_cpp", "np"]

log = logging.getLogger("charlie.llama")
"""llama.cpp's own log."""
ABORTED = 2
"""Result of llama_decode after the abort callback stopped it; llama.h."""
REPEAT_LAST = 64
"""The number of last tokens that the repeat penalty considers."""


class LoadedModel:
    """A model in memory. One thread at a time; never deep-copied, since `llama` would load its file again."""

    def __init__(self, llama: Llama, spec: ModelSpec) -> None:
        self.llama = llama
        self.spec = spec
        self.copied_bytes = 0
        """Bytes of the weights that are not in the mapped file: on a device, in another order, or without a map."""

    def close(self) -> None:
        """Free the memory at once; a second call does nothing."""
        self.llama.close()


def never() -> bool:
    """The default of `cancelled`."""
    return False


def is_closed(llama: Llama) -> bool:
    """Whether the model's memory was given back; llama.cpp ends the process when such a model is used."""
    return llama._model.model is None  # noqa: SLF001  # there is no public way to ask


def ignore(*_: object) -> None:
    """The default of callbacks that report progress."""


def vocab_of(llama: Llama) -> Any:
    return llama_cpp.llama_model_get_vocab(llama.model)


def tokenize(llama: Llama, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
    """Tokens of a text; lone surrogates are replaced. Only with `parse_special` can text become control tokens."""
    data = clean(text).encode()
    vocab = vocab_of(llama)
    count = -(len(data) + 16)
    while count < 0:  # the room that is needed
        room = -count
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(vocab, data, len(data), tokens, room, add_special, parse_special)
    return tokens[:count]


def pieces(llama: Llama, shown: Mapping[int, bytes] | None = None) -> Callable[[int], bytes]:
    """A function from a token to its bytes; a control token has none but for those `shown`."""
    vocab, to_piece = vocab_of(llama), llama_cpp.llama_token_to_piece
    buffer = ctypes.create_string_buffer(1024)
    texts = shown or {}

    def piece(token: int) -> bytes:
        if token in texts:
            return texts[token]
        length = to_piece(vocab, token, buffer, len(buffer), 0, False)
        return ctypes.string_at(buffer, max(0, length))

    return piece


class Detokenizer:
    """Joins the bytes of tokens into characters; an incomplete character waits for its last byte."""

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        return self._decoder.decode(self._piece(token))

    def finish(self) -> str:
        """The bytes still held, as replacement characters."""
        return self._decoder.decode(b"", final=True)


@contextmanager
def aborting(llama: Llama, cancelled: Callable[[], bool]) -> Iterator[None]:
    """In this block, a running llama_decode asks `cancelled` and stops within milliseconds."""

    def not_cancelled(_: logging.LogRecord) -> bool:
        """llama.cpp logs a stopped decode as an error."""
        return not cancelled()

    callback = llama_cpp.ggml_abort_callback(lambda _: cancelled())
    llama_cpp.llama_set_abort_callback(llama.ctx, callback, None)
    log.addFilter(not_cancelled)
    try:
        yield
    finally:
        log.removeFilter(not_cancelled)
        llama_cpp.llama_set_abort_callback(llama.ctx, llama_cpp.ggml_abort_callback(0), None)


def clear_memory(llama: Llama) -> None:
    """Remove every sequence from the KV cache; encoders have none."""
    if memory := llama_cpp.llama_get_memory(llama.ctx):
        # False: the old values are not overwritten, which would take long in a large context.
        llama_cpp.llama_memory_clear(memory, False)


def common(held: NDArray[np.int32], tokens: NDArray[np.int32]) -> int:
    """Length of the common prefix of two prompts, in tokens."""
    length = min(len(held), len(tokens))
    differ = np.flatnonzero(held[:length] != tokens[:length])
    return int(differ[0]) if differ.size else length


def held_tokens(llama: Llama) -> int:
    """Tokens in the KV cache of a generating model, by their positions."""
    return int(llama_cpp.llama_memory_seq_pos_max(llama_cpp.llama_get_memory(llama.ctx), 0)) + 1


def shared_tokens(llama: Llama, tokens: Sequence[int]) -> int:
    """How many tokens of a prompt the KV cache holds; at most all but the last."""
    return common(llama.input_ids[: llama.n_tokens], np.asarray(tokens[:-1], np.int32))


def is_recurrent(llama: Llama) -> bool:
    """Whether some layers keep a state that cannot be cut."""
    return bool(llama_cpp.llama_model_is_recurrent(llama.model) or llama_cpp.llama_model_is_hybrid(llama.model))


def cuttable(llama: Llama) -> bool:
    """Whether the KV cache can be cut anywhere, even after a restore: it has all tokens of every layer."""
    return not is_recurrent(llama) and not 0 < llama_cpp.llama_model_n_swa(llama.model) < llama.n_ctx()


def can_cut(llama: Llama, kept: int) -> bool:
    """Whether the KV cache can be cut to its first `kept` tokens.

    Layers with a sliding window hold only the last window after a restore, so the window before `kept` may be
    missing. llama_memory_seq_rm reports success even then.
    """
    if held_tokens(llama) == kept or is_recurrent(llama):
        return kept in (0, held_tokens(llama))
    window = llama_cpp.llama_model_n_swa(llama.model)
    # The next token attends to itself and to the `window - 1` tokens before it.
    first = max(0, kept - window + 1)
    return not window or llama_cpp.llama_memory_seq_pos_min(llama_cpp.llama_get_memory(llama.ctx), 0) <= first


def try_cut(llama: Llama, kept: int) -> bool:
    """Cut the KV cache to its first `kept` tokens, verified by their positions; after False it may be incomplete."""
    memory = llama_cpp.llama_get_memory(llama.ctx)
    cut = can_cut(llama, kept) and llama_cpp.llama_memory_seq_rm(memory, 0, kept, -1)
    return cut and held_tokens(llama) == kept


def cut_memory(llama: Llama, kept: int) -> int:
    """Keep the first `kept` tokens of the KV cache, or none if it cannot be cut there; returns the number kept."""
    if not try_cut(llama, kept):
        clear_memory(llama)
        kept = 0
    llama.n_tokens = kept
    return kept


def pooled_outputs(
    llama: Llama, sequences: Iterable[list[int]], width: int, cancelled: Callable[[], bool]
) -> NDArray[np.float32]:
    """The pooled outputs of token sequences [sequences, width]; short ones share one decode.

    Raises CancelledError, and CharlieError when llama.cpp cannot decode them.
    """
    found = [np.empty((0, width), np.float32)]
    for batch in _batches(sequences, llama.n_batch, llama.context_params.n_seq_max):
        if cancelled():
            raise CancelledError
        found.append(decode_sequences(llama, batch, width, cancelled))
    return np.concatenate(found)


def _batches(sequences: Iterable[list[int]], room: int, most: int) -> Iterator[list[list[int]]]:
    """Token sequences in batches of at most `room` tokens and `most` sequences."""
    batch: list[list[int]] = []
    used = 0
    for tokens in sequences:
        if batch and (used + len(tokens) > room or len(batch) == most):
            yield batch
            batch, used = [], 0
        batch.append(tokens)
        used += len(tokens)
    if batch:
        yield batch


def decode_sequences(
    llama: Llama, sequences: Sequence[Sequence[int]], width: int, cancelled: Callable[[], bool]
) -> NDArray[np.float32]:
    """Decode token sequences in one batch and return their pooled outputs [sequences, width].

    Raises CancelledError, and CharlieError when llama.cpp cannot decode them.
    """
    lengths = [len(tokens) for tokens in sequences]
    total = sum(lengths)
    # NumPy fills the arrays; a loop over the tokens would take a twentieth of a small model's decoding.
    tokens = np.fromiter(chain.from_iterable(sequences), np.int32, total)
    ids = np.arange(len(sequences), dtype=np.int32)
    owners = np.repeat(ids.ctypes.data + ids.itemsize * ids.astype(np.uintp), lengths)
    counts, outputs = np.ones(total, np.int32), np.ones(total, np.int8)
    # Without positions each sequence is numbered from 0; llama.h.
    integers = ctypes.POINTER(ctypes.c_int32)
    batch = llama_cpp.llama_batch(
        n_tokens=total,
        token=tokens.ctypes.data_as(integers),
        n_seq_id=counts.ctypes.data_as(integers),
        seq_id=owners.ctypes.data_as(ctypes.POINTER(integers)),
        logits=outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
    )
    clear_memory(llama)
    with aborting(llama, cancelled):
        status = llama_cpp.llama_decode(llama.ctx, batch)
    if status == ABORTED:
        raise CancelledError
    if status != 0:
        raise CharlieError(f"The model failed while it computed (llama_decode returned {status}).", "Try again.")
    rows = np.empty((len(sequences), width), np.float32)
    for sequence_id in range(len(sequences)):
        pointer = llama_cpp.llama_get_embeddings_seq(llama.ctx, sequence_id)
        rows[sequence_id] = np.ctypeslib.as_array(pointer, shape=(width,))
    return rows


@contextmanager
def sampler(llama: Llama, sampling: Sampling) -> Iterator[Any]:
    """A llama_sampler chain in llama.cpp's own order: penalty, top-k, top-p, min-p, temperature, draw."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    try:
        for link in _links(llama, sampling):
            llama_cpp.llama_sampler_chain_add(chain, link)
        yield chain
    finally:
        llama_cpp.llama_sampler_free(chain)


def _links(llama: Llama, sampling: Sampling) -> Iterator[Any]:
    if sampling.repeat_penalty != 1.0:
        yield llama_cpp.llama_sampler_init_penalties(llama.n_vocab(), REPEAT_LAST, sampling.repeat_penalty, 0.0, 0.0)
    if sampling.temperature == 0:
        yield llama_cpp.llama_sampler_init_greedy()
        return
    yield llama_cpp.llama_sampler_init_top_k(sampling.top_k)
    yield llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1)
    yield llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1)
    yield llama_cpp.llama_sampler_init_temp(sampling.temperature)
    yield llama_cpp.llama_sampler_init_dist(llama_cpp.LLAMA_DEFAULT_SEED if sampling.seed == -1 else sampling.seed)
