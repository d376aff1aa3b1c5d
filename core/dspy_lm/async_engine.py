"""The DSPy engine for `async` programs: the same engine, its work done in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, Self

from core.errors import CharlieError

if TYPE_CHECKING:
    from dspy import lm15


class Engine(Protocol):
    """An engine whose calls can be stopped."""

    def collect(self, request: lm15.Request, stop: threading.Event) -> lm15.Response: ...
    def events(self, request: lm15.Request, stop: threading.Event) -> Generator[lm15.StreamEvent]: ...


class Borrowing:
    """Whoever loaded the model closes it. A copy is the engine itself: a copied `Llama` would load the file again."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def dump_state(self) -> dict[str, Any]:
        return {}

    @classmethod
    def load_state(cls, _state: dict[str, Any]) -> Self:
        """Never: a file that builds a model could name any model.

        DSPy asks for it before it writes a program that holds an LM.
        """
        raise CharlieError("A saved program cannot bring a model with it.", "Load it without its LM.")


class AsyncLlamaEngine(Borrowing):
    """A call that is cancelled, or a stream that is given up, stops its thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def complete(self, request: lm15.Request) -> lm15.Response:
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self._engine.collect, request, stop)
        finally:
            stop.set()

    async def stream(self, request: lm15.Request) -> AsyncIterator[lm15.StreamEvent]:
        stop = threading.Event()
        queue: asyncio.Queue[lm15.StreamEvent | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def produce() -> None:
            try:
                with closing(self._engine.events(request, stop)) as events:
                    for event in events:
                        loop.call_soon_threadsafe(queue.put_nowait, event)
            finally:
                loop.call_soon_threadsafe(queue.put_nowait, None)

        producer = asyncio.create_task(asyncio.to_thread(produce))
        try:
            while (event := await queue.get()) is not None:
                yield event
            await producer
        finally:
            stop.set()
            # Over when the thread is: the model is free again for the next call.
            await asyncio.gather(producer, return_exceptions=True)

    async def aclose(self) -> None:
        """Nothing: whoever loaded the model closes it."""
