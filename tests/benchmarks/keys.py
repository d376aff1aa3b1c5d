"""Key press to changed screen while the worker uses every core: `python -m tests.benchmarks.keys`.

The real program on a pseudo-terminal. Keys come at irregular moments, whether or not the last one is on the screen yet,
and each is a letter that is nowhere else: it has been drawn when its bytes come back.
"""

from __future__ import annotations

import os
import random
import select
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import psutil

from app.client import Client
from core.settings import Role
from tests.benchmarks.home import home
from tests.benchmarks.models import CONTEXT, Models, built
from tests.benchmarks.table import Row, limited, table
from tests.e2e.terminal import ENTER, Terminal, ctrl, terminal
from tests.model_files import syllables

KEYS = 500
LETTERS = range(0x1401, 0x166D)
"""Canadian syllabics: one cell each, and in nothing that Charlie says or a model of random numbers does."""
GAP = (0.020, 0.080)
"""Seconds between two keys."""
LINE = 40
"""After so many keys the line is emptied."""
EMPTY = "Write a message…".encode()
LOST = 5.0
"""Seconds after which a key that is not drawn counts with these."""
DRAWN = 0.5
"""Seconds after which a message that was sent is on the screen."""
LIMIT = 50.0
CALM = 5.0
"""Seconds in which the processor time of the interface is counted while nobody types."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Milliseconds from each key to its letter on the screen."""

    times: list[float]

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.times, n=100, method="inclusive")[98]

    def __str__(self) -> str:
        middle, worst = statistics.median(self.times), max(self.times)
        return f"{len(self.times)} keys, median {middle:.1f} ms, worst {worst:.0f} ms"


class Keyboard:
    """Types into a terminal, and reads what comes without a terminal emulator, whose time would count."""

    def __init__(self, shown: Terminal) -> None:
        self._descriptor: int = shown.child.child_fd
        self._letters = cycle(LETTERS)
        self._random = random.Random(1)
        self._pending: dict[bytes, float] = {}
        self._times: list[float] = []
        self._tail = b""
        self._drawn = bytearray()
        """Since the line was emptied last."""

    def press(self, keys: str) -> None:
        """A pseudo-terminal takes some kilobytes at a time."""
        data = keys.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]
            self.read(0.001)

    def type(self, count: int, going_on: Callable[[], bool]) -> list[float]:
        """Type at most `count` keys for as long as it is going on; milliseconds for each key."""
        self._times = []
        for number in range(1, count + 1):
            letter = chr(next(self._letters)).encode()
            self._pending[letter] = time.perf_counter()
            os.write(self._descriptor, letter)
            self.read(self._random.uniform(*GAP))
            if number % LINE == 0:
                self._settle()
                self._empty()
                if not going_on():
                    break
        self._settle()
        return self._times

    def _empty(self) -> None:
        """Empty the line; letters that come before it is empty would go with it."""
        given_up = time.perf_counter() + LOST
        self._drawn.clear()
        self.press(ctrl("u"))
        while EMPTY not in self._drawn and time.perf_counter() < given_up:
            self.read(0.01)

    def _settle(self) -> None:
        """Wait for the keys that are not drawn yet."""
        given_up = time.perf_counter() + LOST
        while self._pending and time.perf_counter() < given_up:
            self.read(0.01)
        self._times += [LOST * 1000] * len(self._pending)
        self._pending.clear()

    def read(self, seconds: float) -> None:
        """Take what is drawn in the next seconds."""
        end = time.perf_counter() + seconds
        while (rest := end - time.perf_counter()) > 0:
            if not select.select([self._descriptor], [], [], rest)[0]:
                return
            drawn = self._tail + os.read(self._descriptor, 1 << 16)
            now = time.perf_counter()
            for letter in [letter for letter in self._pending if letter in drawn]:
                self._times.append((now - self._pending.pop(letter)) * 1000)
            self._tail = drawn[-3:]
            self._drawn += drawn


class Desk:
    """The interface on a terminal, a keyboard, and a client that sees what the worker is at."""

    def __init__(self, shown: Terminal, client: Client) -> None:
        self._client = client
        self._interface = psutil.Process(shown.child.pid)
        self._seed = 0
        self.keyboard = Keyboard(shown)

    def send(self, words: int) -> str:
        """Paste a message into a new conversation, send it, and return its job once the worker is at it.

        It is unlike any before, and drawn by then: one of 20,000 characters takes a moment, whatever the worker does.
        """
        self._seed += 1
        text = " ".join(random.Random(self._seed).choices(syllables(), k=words))
        self.keyboard.press(ctrl("n"))
        self.keyboard.read(DRAWN)
        self.keyboard.press(f"{ctrl('u')}\x1b[200~{text}\x1b[201~{ENTER}")
        while not (queue := self._client.queue()) or not queue[0].job.started:
            self.keyboard.read(0.01)
        self.keyboard.read(DRAWN)
        return queue[0].job.id

    def decoding(self, job: str) -> bool:
        return not self._client.jobs.get(job).state.ended and bool(self._client.jobs.written(job))

    def reading(self, job: str) -> bool:
        return not self._client.jobs.get(job).state.ended and not self._client.jobs.written(job)

    def stop(self, job: str) -> None:
        self._client.cancel(job)
        while not self._client.jobs.get(job).state.ended:
            self.keyboard.read(0.01)
        self.keyboard.read(0.2)

    def await_text(self, job: str) -> None:
        while not self.decoding(job):
            self.keyboard.read(0.01)

    def processor_share(self, seconds: float) -> float:
        """Per cent of one core that the interface uses."""
        before = self._interface.cpu_times()
        began = time.perf_counter()
        self.keyboard.read(seconds)
        after = self._interface.cpu_times()
        used = after.user + after.system - before.user - before.system
        return 100 * used / (time.perf_counter() - began)


@contextmanager
def desk(file: Path) -> Iterator[Desk]:
    """`charlie` with a file as the instruct model, on every core; its replies end when the context is full."""
    with home({Role.INSTRUCT: file}) as client:
        client.paths.config_file.write_text(
            f'[instruct]\nfile = "{file}"\ncontext_length = {CONTEXT}\n'
            f"[instruct.sampling]\nmax_tokens = {CONTEXT}\ntemperature = 0.0\n"
        )
        with terminal(client.paths.config_file.parent.parent, 120, 36) as shown:
            shown.until("Say something")
            yield Desk(shown, client)
            shown.press(ctrl("q"))
            shown.until_end()


def while_decoding(on: Desk, keys: int) -> Typed:
    times: list[float] = []
    while len(times) < keys:
        job = on.send(20)
        on.await_text(job)
        times += on.keyboard.type(keys - len(times), partial(on.decoding, job))
        on.stop(job)
    return Typed(times)


def while_reading(on: Desk, keys: int, words: int) -> Typed:
    """A prompt after the other, each of so many tokens that are new to the model."""
    times: list[float] = []
    while len(times) < keys:
        job = on.send(words)
        times += on.keyboard.type(keys - len(times), partial(on.reading, job))
        on.stop(job)
    return Typed(times)


def rows(models: Models) -> list[Row]:
    """Keys while the 0.1 B model decodes, and while it reads prompts of some thousand tokens."""
    keys = LINE if models.short else KEYS
    words = 200 if models.short else CONTEXT // 2
    with desk(models.tenth) as on:
        found = {"decoding": while_decoding(on, keys), "prefill": while_reading(on, keys, words)}
    return [
        limited("key press to changed screen, p99", f"0.1 B, {phase}, {typed}", typed.p99, LIMIT, "ms")
        for phase, typed in found.items()
    ]


def main() -> None:
    """The table, and what the interface itself uses while a reply comes."""
    with built(short=False) as models:
        print(table(rows(models)))
        with desk(models.tenth) as on:
            job = on.send(20)
            on.await_text(job)
            share = on.processor_share(CALM)
            on.stop(job)
    print(f"\nWhile a reply comes and nobody types, the interface uses {share:.1f}% of one core.")


if __name__ == "__main__":
    main()
