"""Time from key press to changed screen while the model works: `python -m tests.benchmarks.keys`.

The real program runs on a pseudo-terminal. Keys are pressed at irregular moments, without waiting for the last one to
appear. Each key is a letter that appears nowhere else, so it has been drawn once its bytes are in the output.
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
from core.roles import Role
from core.settings import InstructSettings
from tests.benchmarks.charlie import must_fit
from tests.benchmarks.home import home
from tests.benchmarks.models import CONTEXT, Models, built
from tests.benchmarks.table import Row, attempted, limited, table
from tests.e2e.terminal import ENTER, Terminal, ctrl, terminal
from tests.model_files import syllables

KEYS = 500
LETTERS = range(0x1401, 0x166D)
"""Canadian syllabics: one cell wide, and neither in Charlie's texts nor in the replies of a random model."""
INTERVAL = (0.020, 0.080)
"""Shortest and longest time between two keys, in seconds."""
LINE = 40
"""Keys after which the line is cleared."""
PLACEHOLDER = "Write a message…".encode()
KEY_LIMIT = 5.0
"""Limit for a key in seconds; a key that is not drawn by then counts with this time."""
DRAW_SECONDS = 0.5
"""Seconds in which a sent message appears on the screen."""
LIMIT = 25.0
MEASURE = "key press to changed screen, p99"
PROMPT_WORDS, PROMPT_WORDS_SHORT = CONTEXT // 2, 200
"""Words in each prompt of the prefill row."""
IDLE_SECONDS = 5.0
"""Seconds over which the interface's processor time is measured while nobody types."""


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """Milliseconds from each key to its letter on the screen."""

    times: list[float]

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.times, n=100, method="inclusive")[98]

    def __str__(self) -> str:
        middle, worst = statistics.median(self.times), max(self.times)
        return f"{len(self.times)} keys, median {middle:.1f} ms, worst {worst:.0f} ms"


class Keyboard:
    """Types into a terminal and reads its output directly: a terminal emulator's time would count."""

    def __init__(self, shown: Terminal) -> None:
        self._descriptor: int = shown.child.child_fd
        self._letters = cycle(LETTERS)
        self._random = random.Random(1)
        self._pending: dict[bytes, float] = {}
        self._times: list[float] = []
        self._tail = b""
        self._drawn = bytearray()
        """Output since the line was last cleared."""

    def press(self, keys: str) -> None:
        """Writes in parts: a pseudo-terminal accepts some kilobytes at a time."""
        data = keys.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]
            self.read(0.001)

    def type(self, count: int, going_on: Callable[[], bool]) -> list[float]:
        """Types at most `count` keys while `going_on` is true. Returns the milliseconds of each key."""
        self._times = []
        for number in range(1, count + 1):
            letter = chr(next(self._letters)).encode()
            self._pending[letter] = time.perf_counter()
            os.write(self._descriptor, letter)
            self.read(self._random.uniform(*INTERVAL))
            if number % LINE == 0:
                self._settle()
                self._clear_line()
                if not going_on():
                    break
        self._settle()
        return self._times

    def _clear_line(self) -> None:
        """Clears the line and waits: a letter typed before that would be cleared too."""
        deadline = time.perf_counter() + KEY_LIMIT
        self._drawn.clear()
        self.press(ctrl("u"))
        while PLACEHOLDER not in self._drawn and time.perf_counter() < deadline:
            self.read(0.01)

    def _settle(self) -> None:
        """Waits for the keys that are not drawn yet."""
        deadline = time.perf_counter() + KEY_LIMIT
        while self._pending and time.perf_counter() < deadline:
            self.read(0.01)
        self._times += [KEY_LIMIT * 1000] * len(self._pending)
        self._pending.clear()

    def read(self, seconds: float) -> None:
        """Reads the output of the next seconds."""
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


class Session:
    """The interface on a terminal, a keyboard, and a client that watches the worker."""

    def __init__(self, shown: Terminal, client: Client) -> None:
        self._client = client
        self._interface = psutil.Process(shown.child.pid)
        self._seed = 0
        self.keyboard = Keyboard(shown)

    def send(self, words: int) -> str:
        """Sends a new message in a new conversation. Returns its job once the worker has started it.

        Waits until the message is drawn, too: 20,000 characters take a moment, whatever the worker does.
        """
        self._seed += 1
        text = " ".join(random.Random(self._seed).choices(syllables(), k=words))
        self.keyboard.press(ctrl("n"))
        self.keyboard.read(DRAW_SECONDS)
        self.keyboard.press(f"{ctrl('u')}\x1b[200~{text}\x1b[201~{ENTER}")
        while not (queue := self._client.queue()) or not queue[0].job.started:
            self.keyboard.read(0.01)
        self.keyboard.read(DRAW_SECONDS)
        return queue[0].job.id

    def decoding(self, job: str) -> bool:
        return not self._client.jobs.get(job).state.ended and bool(self._client.jobs.written(job))

    def prefilling(self, job: str) -> bool:
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
        """Percent of one core that the interface uses."""
        before = self._interface.cpu_times()
        began = time.perf_counter()
        self.keyboard.read(seconds)
        after = self._interface.cpu_times()
        used = after.user + after.system - before.user - before.system
        return 100 * used / (time.perf_counter() - began)


@contextmanager
def open_session(file: Path) -> Iterator[Session]:
    """`charlie` with a file as the instruct model. Its replies end only when the context is full."""
    with home({Role.INSTRUCT: file}) as client:
        client.paths.config_file.write_text(
            f'[instruct]\nfile = "{file}"\ncontext_length = {CONTEXT}\n'
            f"[instruct.sampling]\nmax_tokens = {CONTEXT}\ntemperature = 0.0\n"
        )
        with terminal(client.paths.config_file.parent.parent, 120, 36) as shown:
            shown.until("Write a message")
            yield Session(shown, client)
            shown.press(ctrl("q"))
            shown.until_end()


def while_decoding(session: Session, keys: int) -> KeyTimes:
    times: list[float] = []
    while len(times) < keys:
        job = session.send(20)
        session.await_text(job)
        times += session.keyboard.type(keys - len(times), partial(session.decoding, job))
        session.stop(job)
    return KeyTimes(times)


def while_prefilling(session: Session, keys: int, words: int) -> KeyTimes:
    """Sends prompts one after another, each with so many words that are not in the KV cache."""
    times: list[float] = []
    while len(times) < keys:
        job = session.send(words)
        times += session.keyboard.type(keys - len(times), partial(session.prefilling, job))
        session.stop(job)
    return KeyTimes(times)


def rows(models: Models) -> Iterator[Row]:
    """Keys while the 0.1 B model decodes, and during the prefill of prompts of some thousand tokens."""
    keys, words = (LINE, PROMPT_WORDS_SHORT) if models.short else (KEYS, PROMPT_WORDS)
    yield from attempted(
        MEASURE, "0.1 B, decoding", _phase, "decoding", models.tenth, partial(while_decoding, keys=keys)
    )
    prefilling = partial(while_prefilling, keys=keys, words=words)
    yield from attempted(MEASURE, "0.1 B, prefill", _phase, "prefill", models.tenth, prefilling)


def _phase(name: str, file: Path, press_keys: Callable[[Session], KeyTimes]) -> Iterator[Row]:
    must_fit(file, PROMPT_WORDS, 1, CONTEXT, InstructSettings().system_prompt)
    with open_session(file) as session:
        times = press_keys(session)
        yield limited(MEASURE, f"0.1 B, {name}, {times}", times.p99, LIMIT, "ms")


def main() -> None:
    """Prints the table, and the interface's processor time while a reply streams."""
    with built(short=False) as models:
        print(table(rows(models)))
        with open_session(models.tenth) as session:
            job = session.send(20)
            session.await_text(job)
            share = session.processor_share(IDLE_SECONDS)
            session.stop(job)
    print(f"\nWhile a reply streams and nobody types, the interface uses {share:.1f}% of one core.")


if __name__ == "__main__":
    main()
