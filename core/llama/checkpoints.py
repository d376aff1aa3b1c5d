"""Checkpoints: copies of the memory that cannot be cut back, so that a prompt that diverges is read from the nearest.

Recurrent layers overwrite their state with every token, and layers with a sliding window keep only the last window
(after a restore, or with a small cache). The KV cache of full attention can be cut anywhere and is not copied.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from core.llama.calls import Llama, NDArray, can_cut, clear_memory, cuttable, held_tokens, llama_cpp, np, try_cut
from core.memory.footprint import kept_for

TAIL = 8
"""Tokens between a prompt's last checkpoint and its end, which may open a thought that the history leaves out."""
SPACING = 64
"""Tokens; a shorter stretch is evaluated about as fast as a checkpoint is made."""
PARTIAL_ONLY = 1
"""llama.h, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY: what cannot be cut."""
BYTES = ctypes.POINTER(ctypes.c_uint8)


def nearest(positions: Iterable[int], shared: int) -> int:
    """The last position in the first `shared` tokens, or 0."""
    return max((each for each in positions if each <= shared), default=0)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What cannot be cut of the memory after `tokens`. The rest of the memory must hold the same tokens."""

    tokens: NDArray[np.int32]
    data: NDArray[np.uint8]


class Checkpoints:
    """The checkpoints of one loaded model; none where full attention alone remembers.

    Each holds its tokens, which are compared before its use: other callers of the model may have changed its memory.
    """

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._needed = not cuttable(llama)
        self.kept: list[Checkpoint] = []
        """By position."""

    def valid(self) -> list[Checkpoint]:
        """The checkpoints of tokens that the memory holds; others are forgotten."""
        held = self._llama.input_ids[: self._llama.n_tokens]
        self.kept = [each for each in self.kept if np.array_equal(each.tokens, held[: len(each.tokens)])]
        return self.kept

    def usable(self, shared: int) -> int:
        """How many of the first `shared` tokens of the memory can be kept."""
        return shared if can_cut(self._llama, shared) else nearest((len(each.tokens) for each in self.valid()), shared)

    def marks(self, shared: int, total: int) -> list[int]:
        """Where the prefill of a prompt of `total` tokens stops for a checkpoint, by position.

        At its start, which is that of a turn; near its end; and where it diverged from another one, as more may.
        """
        if not self._needed:
            return []
        start, last = self._llama.n_tokens, len(self.kept[-1].tokens) if self.kept else 0
        before = ((start, last + SPACING), (shared, start + SPACING), (total - TAIL, start + 1))
        return sorted({mark for mark, least in before if mark >= least})

    def add(self) -> None:
        """Copy the memory as it is now."""
        llama = self._llama
        tokens = llama.input_ids[: llama.n_tokens].astype(np.int32)
        size = llama_cpp.llama_state_seq_get_size_ext(llama.ctx, 0, PARTIAL_ONLY)
        self._make_room(kept_for(size))
        data = np.empty(size, np.uint8)
        if llama_cpp.llama_state_seq_get_data_ext(llama.ctx, data.ctypes.data_as(BYTES), size, 0, PARTIAL_ONLY) == size:
            self.kept.append(Checkpoint(tokens, data))

    def cut(self, shared: int) -> int:
        """Cut the memory to its first `shared` tokens, or to the nearest checkpoint before; returns the tokens kept.

        With any doubt nothing is kept.
        """
        llama = self._llama
        self.kept = [each for each in self.valid() if len(each.tokens) <= shared]
        if not try_cut(llama, shared):
            if not self.kept or held_tokens(llama) < shared or not self._load(self.kept[-1]):
                clear_memory(llama)
                self.kept = []
            shared = len(self.kept[-1].tokens) if self.kept else 0
        llama.n_tokens = shared
        return shared

    def _load(self, checkpoint: Checkpoint) -> bool:
        data, size = checkpoint.data.ctypes.data_as(BYTES), checkpoint.data.size
        read = llama_cpp.llama_state_seq_set_data_ext(self._llama.ctx, data, size, 0, PARTIAL_ONLY)
        return read == size and try_cut(self._llama, len(checkpoint.tokens))

    def _make_room(self, most: int) -> None:
        """Forget checkpoints until one more makes `most`: those that spare the fewest tokens for their age."""
        while len(self.kept) >= most:
            places = [0, *(len(each.tokens) for each in self.kept)]
            spared = [(to - start) / (self._llama.n_tokens - to) for start, to in pairwise(places)]
            del self.kept[spared.index(min(spared[:-1]))]  # never the last
