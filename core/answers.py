"""One answer of a DSPy program on a loaded model. DSPy is imported inside the functions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError
from core.lm import make_lm
from core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    import dspy

    from core.instruct import InstructModel
    from core.settings import Sampling

REASON_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """The prediction, with the program's output fields as attributes, and what it took."""

    fields: Any
    prompt_tokens: int
    completion_tokens: int


def load_dspy() -> None:
    """Import DSPy, once, with no caches: nothing of the journal may lie in one."""
    if "dspy" in sys.modules:
        return
    import dspy

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)


def answer(
    program: dspy.Module,
    model: InstructModel,
    sampling: Sampling,
    inputs: dict[str, str],
    cancelled: Callable[[], bool],
) -> Answer:
    """Run a program once. The model's KV cache is no conversation's afterwards; what it held of one is kept first.

    Raises CancelledError once `cancelled`, and CharlieError when nothing comes that can be read.
    """
    import dspy

    model.lend()
    lm = make_lm(model, sampling=sampling, cancelled=cancelled, cache=False)
    try:
        # Its history would keep what entries say for as long as the process lives.
        with dspy.context(lm=lm, num_threads=1, disable_history=True, track_usage=True):
            prediction = program(**inputs)
    except Exception as error:
        # DSPy wraps what the engine raises, a person's stop as well.
        if cancelled():
            raise CancelledError from error
        if isinstance(error, dspy.ContextWindowExceededError):
            raise CharlieError(
                f"The prompt with the program's examples is longer than {model.llama.n_ctx():,} tokens, the context.",
                "`charlie programs reset` uses the programs as they come, without examples.",
            ) from error
        if not isinstance(error, dspy.DSPyError):
            raise
        reason = one_line(str(error), REASON_WIDTH) or type(error).__name__
        raise CharlieError(f"The model gave no answer that can be read: {reason}", "Ask again.") from error
    used: dict[str, int] = next(iter((prediction.get_lm_usage() or {}).values()), {})
    return Answer(prediction, used.get("prompt_tokens", 0), used.get("completion_tokens", 0))
