"""What llama.cpp says: passed on to Python's log, and kept while somebody listens."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from core.native import log as logger

if TYPE_CHECKING:
    from collections.abc import Iterator

ERROR = 4
LEVELS = {3: logging.WARNING, ERROR: logging.ERROR}
"""ggml_log_level (ggml.h) to Python's; llama.cpp's information is for debugging."""


class LlamaLog:
    """llama.cpp has one log for the process. `errors` and `lines` are those of the last `listen` block."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.lines: list[str] = []
        self.callback: Any = None
        self.listening = self.quiet = False

    @contextmanager
    def listen(self, *, quiet: bool = False) -> Iterator[LlamaLog]:
        """Collect what is said during the block; `quiet` keeps it from Python's log."""
        self.errors, self.lines = [], []
        self.listening, self.quiet = True, quiet
        try:
            yield self
        finally:
            self.listening = self.quiet = False

    def write(self, level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if not line:
            return
        if not self.quiet:
            logger.log(LEVELS.get(level, logging.DEBUG), "%s", line)
        if not self.listening:
            return
        self.lines.append(line)
        if level == ERROR:
            # The function's name comes first, then what it says.
            self.errors.append((line.partition(": ")[2] or line).removeprefix("error loading model: "))


@cache
def llama_log() -> LlamaLog:
    """The log, redirected on the first call; the callback lives as long as the process."""
    import llama_cpp

    log = LlamaLog()
    log.callback = llama_cpp.llama_log_callback(log.write)
    llama_cpp.llama_log_set(log.callback, None)
    return log
