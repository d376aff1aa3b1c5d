"""The few calls of llama.cpp's C interface that the three kinds of models share. Loads llama_cpp when first used."""

from __future__ import annotations

import ctypes
import logging
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError
from core.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from llama_cpp import Llama
    from numpy.typing import NDArray

log = logging.getLogger("charlie.llama")
"""What llama.cpp itself says."""
ABORTED = 2
"""What llama_decode returns when the abort callback stopped it; llama.h."""


def never() -> bool:
    """The default of `cancelled`: nobody asks to stop."""
    return False


def vocab_of(llama: Llama) -> Any:
    import llama_cpp

    return llama_cpp.llama_model_get_vocab(llama.model)


def tokenize(llama: Llama, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
    """Tokens of a text; lone surrogates are replaced. Only with `parse_special` can text become control tokens."""
    import llama_cpp

    data = clean(text).encode()
    vocab = vocab_of(llama)
    room = len(data) + 16
    tokens = (llama_cpp.llama_token * room)()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), tokens, room, add_special, parse_special)
    if count < 0:
        room = -count
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(vocab, data, len(data), tokens, room, add_special, parse_special)
    return tokens[:count]


def pieces(llama: Llama) -> Callable[[int], bytes]:
    """A function from one token to its bytes, control tokens to none."""
    import llama_cpp

    vocab, to_piece = vocab_of(llama), llama_cpp.llama_token_to_piece
    buffer = ctypes.create_string_buffer(1024)

    def piece(token: int) -> bytes:
        length = to_piece(vocab, token, buffer, len(buffer), 0, False)
        return ctypes.string_at(buffer, max(0, length))

    return piece


@contextmanager
def aborting(llama: Llama, cancelled: Callable[[], bool]) -> Iterator[None]:
    """Within the block, a running llama_decode asks `cancelled` and stops within milliseconds."""
    import llama_cpp

    def unasked(_: logging.LogRecord) -> bool:
        """llama.cpp logs a decode that was stopped as an error; it is none."""
        return not cancelled()

    callback = llama_cpp.ggml_abort_callback(lambda _: cancelled())
    llama_cpp.llama_set_abort_callback(llama.ctx, callback, None)
    log.addFilter(unasked)
    try:
        yield
    finally:
        log.removeFilter(unasked)
        llama_cpp.llama_set_abort_callback(llama.ctx, llama_cpp.ggml_abort_callback(0), None)


def clear_memory(llama: Llama) -> None:
    """Forget every sequence; encoders have no memory to forget."""
    import llama_cpp

    if memory := llama_cpp.llama_get_memory(llama.ctx):
        # Without overwriting what was there, which nobody reads any more and which takes long in a large context.
        llama_cpp.llama_memory_clear(memory, False)


def decode_sequences(
    llama: Llama, sequences: Sequence[Sequence[int]], width: int, cancelled: Callable[[], bool]
) -> NDArray[np.float32]:
    """Decode token sequences in one batch and return their pooled outputs [sequences, width].

    Raises CancelledError, and CharlieError when llama.cpp cannot decode them.
    """
    import llama_cpp
    import numpy as np

    lengths = [len(tokens) for tokens in sequences]
    total = sum(lengths)
    # Arrays of our own, filled at once: a loop over the tokens would take a twentieth of a small model's decoding.
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
        raise CharlieError(
            f"The model stopped in the middle of its work (llama_decode returned {status}).", "Try it again."
        )
    rows = np.empty((len(sequences), width), np.float32)
    for sequence_id in range(len(sequences)):
        pointer = llama_cpp.llama_get_embeddings_seq(llama.ctx, sequence_id)
        rows[sequence_id] = np.ctypeslib.as_array(pointer, shape=(width,))
    return rows
