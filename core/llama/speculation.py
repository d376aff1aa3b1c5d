"""Prompt lookup: tokens that the context suggests are evaluated in one batch with the sampled one, to be verified.

Each position is sampled in order, so a text keeps its distribution, with any sampler. llama.cpp rounds a batch and a
single token differently, as it does with other numbers of threads: where two tokens are almost equally likely, even a
text of temperature 0 may go on with the other one.

A batch may be slower than its tokens one by one, by model, machine, load and text. So it is timed, and what would be
proposed is compared with what is sampled even while nothing is proposed, which costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from core.errors import CharlieError
from core.llama.calls import Llama, cut_memory, cuttable, llama_cpp, np
from core.memory.footprint import MAX_OUTPUTS

COSTS = {4: 2.4, 6: 3.1, MAX_OUTPUTS: 3.9}
"""Tokens of a batch (the sampled one and those proposed), and its time in single tokens before one was measured."""
RATES = (0.0, 0.3, 0.5, 0.75, 0.9, 0.95)
"""How often a proposed token is sampled, at first: by the binary digits of how many tokens before it matched."""
MARGIN = 1.1
"""How much faster a batch must be: times and rates are estimates."""
SHORTEST, LONGEST = 2, 16
"""Tokens that must have matched, and the most that are compared to choose between places."""
RATE_STEP, COST_STEP, TIME_STEP, RETRY_STEP = 0.05, 0.5, 0.1, 0.001
"""Weights of the latest observation. With each single token the costs return a step to those at first: a batch that
was too slow is tried again, as another program may have held the cores."""
Evaluate = Callable[[Sequence[int], Sequence[int]], bool]
"""Takes tokens, and proposed ones that do not count yet; false if it was stopped."""


class PromptLookup:
    """Evaluates sampled tokens, with proposed ones where that saves time and the KV cache can be cut after them."""

    _shortest = SHORTEST

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self.enabled = cuttable(llama)
        self._ahead = 0
        """Proposed tokens in the KV cache, after the first `llama.n_tokens`."""
        self._place = self._matched = 0
        """Where in `input_ids` the next token stands if the text repeats itself; the tokens before it that match."""
        self._rates, self._costs, self._single = list(RATES), COSTS.copy(), 0.0
        """The last one in seconds."""

    def settle(self) -> None:
        """Remove the proposed tokens that were not sampled from the KV cache. Call it before the cache is used."""
        if self._ahead:
            self._ahead, kept = 0, self._llama.n_tokens
            if cut_memory(self._llama, kept) != kept:
                raise CharlieError("The model failed: its KV cache could not be cut.", "Try again.")

    def begin(self) -> None:
        """What follows was not sampled after the last token."""
        self.settle()
        self._matched = 0

    def advance(self, token: int, row: int, most: int, evaluate: Evaluate) -> int:
        """Evaluate a token sampled from the logits in this row, with at most `most` others; returns its own row."""
        llama, at = self._llama, self._llama.n_tokens
        evaluated = self._ahead > 0 and llama.input_ids[at] == token
        llama.input_ids[at] = token
        if self.enabled:
            self._observe(at)
        if evaluated:
            self._ahead -= 1
            llama.n_tokens += 1
            return row + 1
        self.settle()
        began, size = perf_counter(), self._fastest(min(1 + most, llama.n_ctx() - at, llama.n_batch))
        self._ahead = size - 1
        # Beyond the last token, a text that repeats itself goes on in the same way.
        proposed = np.resize(llama.input_ids[self._place : at + 1], size - 1).tolist() if size > 1 else ()
        if not evaluate([token], proposed):
            self.settle()
            evaluate([token], ())
            return 0
        llama_cpp.llama_synchronize(llama.ctx)  # an accelerator may still compute
        self._learn(size, perf_counter() - began)
        return 0

    def _observe(self, at: int) -> None:
        """Compare the token at this index with the expected one, and follow the text that it repeats."""
        ids = self._llama.input_ids
        if self._matched:
            hit = bool(ids[self._place] == ids[at])
            kind = _kind(self._matched)
            self._rates[kind] += RATE_STEP * (hit - self._rates[kind])
            if hit:
                self._place, self._matched = self._place + 1, self._matched + 1
                return
        self._matched = 0
        if ids[at + 1 - self._shortest : at + 1].tobytes() not in ids[:at].tobytes():  # mostly
            return
        found = np.flatnonzero(ids[:at] == ids[at])
        while found.size and self._matched < LONGEST:
            self._place, self._matched = int(found[-1]) + 1, self._matched + 1
            found = found[found >= self._matched]
            found = found[ids[found - self._matched] == ids[at - self._matched]]

    def _fastest(self, most: int) -> int:
        """The size of the batch with the most tokens expected for its time."""
        best, fastest, expected, chance = 1, MARGIN, 1.0, 1.0
        if self._matched < self._shortest or not self._single:
            return best
        for size in range(2, min(most, MAX_OUTPUTS) + 1):
            chance *= self._rates[_kind(self._matched + size - 2)]
            expected += chance
            if size in COSTS and expected > fastest * self._costs[size]:
                best, fastest = size, expected / self._costs[size]
        return best

    def _learn(self, size: int, seconds: float) -> None:
        if size > 1:
            self._costs[size] += COST_STEP * (seconds / self._single - self._costs[size])
            return
        self._single += (TIME_STEP if self._single else 1.0) * (seconds - self._single)
        for each, cost in COSTS.items():
            self._costs[each] += RETRY_STEP * (cost - self._costs[each])


def _kind(matched: int) -> int:
    return min(matched.bit_length(), len(RATES) - 1)
