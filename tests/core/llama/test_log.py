"""llama.cpp's log: one for the process."""

from __future__ import annotations

import threading

from core.llama.log import ERROR, LlamaLog


def test_one_thread_listens_at_a_time() -> None:
    """A plan may simulate a load while the worker's thread begins one."""
    log, entered = LlamaLog(), threading.Event()

    def other() -> None:
        with log.listen():
            entered.set()

    with log.listen(keep=b"size"):
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered.wait(0.2)
        for level, line in ((1, b"size = 3"), (1, b"other"), (ERROR, b"load: refused")):
            log.write(level, line, None)
        assert (log.lines, log.errors) == (["size = 3", "load: refused"], ["refused"])
    thread.join()
    assert entered.is_set()
