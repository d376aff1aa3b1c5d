"""Redirects llama.cpp's log to Python's, and collects its lines on request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from core.llama.calls import llama_cpp
from core.llama.calls import log as logger

ERROR = 4
LEVELS = {3: logging.WARNING, ERROR: logging.ERROR}
"""ggml_log_level (ggml.h) to Python's; lower levels become DEBUG."""


class LlamaLog:
    """llama.cpp has one log per process. `errors` and `lines` are those of the last `listen` block.

    Only one thread listens at a time: a plan in idle time may simulate a load while the worker's thread begins one.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.lines: list[str] = []
        self.callback: Any = None
        self.listening = self.quiet = False
        self.keep = b""
        self._one = threading.Lock()

    @contextmanager
    def listen(self, *, quiet: bool = False, keep: bytes = b"") -> Iterator[LlamaLog]:
        """Collect the lines of this block that contain `keep`, and errors. With `quiet`, none goes to Python's log."""
        with self._one:
            self.errors, self.lines, self.keep = [], [], keep
            self.listening, self.quiet = True, quiet
            try:
                yield self
            finally:
                self.listening = self.quiet = False

    def write(self, level: int, text: bytes, _: object) -> None:
        listening = self.listening and (self.keep in text or level == ERROR)
        if level not in LEVELS and not listening and not logger.isEnabledFor(logging.DEBUG):
            return  # a load has hundreds of lines, each of which delays it
        line = text.decode("utf-8", "replace").strip()
        if not line:
            return
        if not self.quiet and logger.isEnabledFor(LEVELS.get(level, logging.DEBUG)):
            logger.log(LEVELS.get(level, logging.DEBUG), "%s", line)
        if not listening:
            return
        self.lines.append(line)
        if level == ERROR:
            # A line begins with the name of the function.
            self.errors.append((line.partition(": ")[2] or line).removeprefix("error loading model: "))


@cache
def llama_log() -> LlamaLog:
    """The log, redirected on the first call; the callback must live as long as the process."""
    log = LlamaLog()
    log.callback = llama_cpp.llama_log_callback(log.write)
    llama_cpp.llama_log_set(log.callback, None)
    return log
