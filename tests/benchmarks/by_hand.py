"""A journal question with its models loaded by hand in one process: no queue, no worker, no lifecycle, no stream.

Run as a module it is that process: it reads one JSON object per line and answers each with one. The search, the prompt
and the work of the models are Charlie's own, over the same database, so a question costs both the same work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

from app.client import Client
from core.errors import CancelledError
from core.events.types import JobKind
from core.llama.calls import never
from core.llama.engine import Model, load
from core.model_files.spec import ModelSpec, resolve
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tasks.handlers.ask import ask_journal
from tasks.handlers.context import TaskContext
from tasks.jobs.records import Job, Piece, Text

Ask = Callable[[str], float | None]
LIMIT, TOKENS = 5, 64
"""Entries that an answer is taken from, and tokens of the answer, of which only the first is measured."""


@contextmanager
def by_hand(*, together: bool) -> Iterator[Ask]:
    """Asks a question of the journal in CHARLIE_HOME; returns the seconds to the first token.

    None for a question that no entry seems to answer: no model writes then. With `together` all models stay loaded,
    else at most one: each is closed for the next one.
    """
    command = [sys.executable, "-m", __spec__.name, *["--together"] * together]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(question: str) -> float | None:
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
            seconds: float | None = json.loads(stdout.readline())
            return seconds

        try:
            yield ask
        finally:
            process.kill()


class Hand:
    """In the manager's place: the models of this process."""

    load_seconds = 0.0

    def __init__(self, client: Client, *, together: bool) -> None:
        self.settings = client.settings
        self._together = together
        self._specs = {role: resolve(client.settings, client.paths, role) for role in Role}
        self._models: dict[Role, Model] = {}

    def wanted(self, role: Role) -> ModelSpec:
        return self._specs[role]

    def excluded_from_model(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def lease(self, role: Role, _cancelled: Callable[[], bool] = never) -> Iterator[Model]:
        if role not in self._models:
            while self._models and not self._together:
                self._models.popitem()[1].close()
            self._models[role] = load(self._specs[role])
        yield self._models[role]


class Sink:
    """In the place of the bus and of the jobs: knows when the first text came, and ends the reply then."""

    def __init__(self) -> None:
        self.first_at = 0.0
        self.on_text: Callable[[], None] = lambda: None

    def write(self, _job: str, piece: Piece) -> None:
        if isinstance(piece, Text):
            self.first_at = self.first_at or time.perf_counter()
            self.on_text()

    def parked(self) -> list[Job]:
        return []

    def advance(self, *_: object) -> None: ...

    def publish(self, *_: object) -> None: ...


def serve(*, together: bool) -> None:
    client = Client(load_settings(), find_paths())
    sink = Sink()
    stand_in, own = cast("Any", sink), cast("Any", Hand(client, together=together))
    context = TaskContext(own, stand_in, stand_in, client.conversations, client.journal, client._raw)
    sink.on_text = context.stop.set
    for line in sys.stdin:
        context.stop.clear()
        sink.first_at, began = 0.0, time.perf_counter()
        args = {"query": json.loads(line), "limit": LIMIT, "sampling": {"max_tokens": TOKENS}}
        seconds = None
        try:
            ask_journal(context, Job("", JobKind.ASK, args))
        except CancelledError:
            seconds = sink.first_at - began
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    serve(together="--together" in sys.argv)
