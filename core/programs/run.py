"""Runs a DSPy program on a loaded model. DSPy is imported inside the functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.dspy_lm.engine import make_lm
from core.errors import CancelledError, CharlieError
from core.llama.instruct import InstructModel
from core.settings import Sampling
from core.text import one_line

if TYPE_CHECKING:
    import dspy

REASON_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """The prediction, with the output fields as attributes, and its token counts."""

    fields: Any
    prompt_tokens: int
    completion_tokens: int


def load_dspy() -> None:
    """Import DSPy with its caches off: no text of the journal may stay in one."""
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
    """Run a program once. The KV cache of the present conversation is saved first and then replaced.

    Raises CancelledError once `cancelled`, and CharlieError when the answer cannot be parsed.
    """
    import dspy

    model.detach_session()
    lm = make_lm(model, sampling=sampling, cancelled=cancelled, cache=False)
    try:
        # The history would keep text of entries until the process ends.
        with dspy.context(lm=lm, num_threads=1, disable_history=True, track_usage=True):
            prediction = program(**inputs)
    except Exception as error:
        # DSPy wraps the engine's errors, also the one of a cancelled job.
        if cancelled():
            raise CancelledError from error
        if isinstance(error, dspy.ContextWindowExceededError):
            raise CharlieError(
                f"The prompt with the program's examples is longer than {model.llama.n_ctx():,} tokens, the context.",
                "`charlie programs reset` returns to the default programs, without examples.",
            ) from error
        if not isinstance(error, dspy.DSPyError):
            raise
        reason = one_line(str(error), REASON_WIDTH) or type(error).__name__
        raise CharlieError(f"The answer of the model cannot be parsed: {reason}", "Ask again.") from error
    used: dict[str, int] = next(iter((prediction.get_lm_usage() or {}).values()), {})
    return Answer(prediction, used.get("prompt_tokens", 0), used.get("completion_tokens", 0))
