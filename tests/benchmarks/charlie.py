"""Charlie under measurement: real database and worker processes, with this process in place of the interface."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.client import Client
from app.runtime.owner import Runtime
from core.model_files.gguf import read_header
from core.roles import Role
from tasks.jobs.records import Ended, Text
from tests.benchmarks.home import home
from tests.model_files import syllables
from tests.waiting import deadline, ended

PATIENCE = 600.0
"""Limit for a reply in seconds; a long one takes some minutes on a slow machine."""
SYSTEM = "bab"
"""The system prompt: short, and the same for Charlie, the raw engine and the peers."""


CONTEXT = 4096
"""Charlie's default context length in tokens, for models that support as many."""


def context_of(file: Path) -> int:
    """Context length in tokens with which Charlie, the raw engine and the peers load a model."""
    return min(CONTEXT, read_header(file).context_length)


def must_fit(file: Path, words: int, completion: int, context: int = CONTEXT, system: str = SYSTEM) -> None:
    """Raises ValueError if a prompt of so many words (see `words`) and its completion exceed a model's context.

    Each measurement checks its full parameters with this, in the short form too.
    """
    header = read_header(file)
    around = len(prompt_of(header.chat_template or "", "", system)) + 1  # at most one token a character, and BOS
    needed, given = around + words + completion, min(context, header.context_length)
    if needed > given:
        raise ValueError(f"{needed:,} tokens are needed, and {file.name} has {given:,} of context.")


@dataclass(frozen=True, slots=True)
class Reply:
    """Seconds from the request to the first text and to the end, and the figures that `charlie ask --json` reports."""

    first_s: float
    total_s: float
    stats: dict[str, Any]
    arrived: list[tuple[float, int]]
    """For each piece of text: its arrival in seconds, and the characters received so far."""

    @property
    def rate(self) -> float:
        """Tokens per second, from the request to the end."""
        return int(self.stats["completion_tokens"]) / self.total_s


class TimedClient:
    """Requests replies and times them, as their only subscriber."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def conversation(self) -> str:
        return self.client.conversations.new_conversation().id

    def reply(self, text: str, tokens: int, conversation: str = "") -> Reply:
        conversation = conversation or self.conversation()
        began = time.perf_counter()
        job = self.client.chat(conversation, text, max_tokens=tokens)
        arrived, characters = [], 0
        for item in deadline(self.client.jobs.follow(job.id), PATIENCE):
            now = time.perf_counter() - began
            if isinstance(item, Text):
                characters += len(item.text)
                arrived.append((now, characters))
            elif isinstance(item, Ended):
                assert item.result is not None, item
                return Reply(arrived[0][0] if arrived else now, now, item.result, arrived)
        raise AssertionError("an output ends with its Ended record")

    def warm(self, role: Role) -> None:
        assert ended(self.client.jobs, self.client.warm(role).id).result is not None

    def unload(self) -> None:
        ended(self.client.jobs, self.client.unload().id)


@contextmanager
def serving(file: Path, context: int | None = None, embedding: Path | None = None) -> Iterator[TimedClient]:
    """A worker with a file as the instruct model, at temperature 0. It loads one model at a time, and none unasked."""
    with home({Role.INSTRUCT: file}) as client:
        client.paths.config_file.write_text(
            '[memory]\npolicy = "exclusive"\n'
            '[support]\nline = ""\n'  # else a reply may be followed by a reading of its message with another model
            + (f'[embedding]\nfile = "{embedding}"\n' if embedding else "")
            + f'[instruct]\nfile = "{file}"\ncontext_length = {context or context_of(file)}\n'
            f'system_prompt = "{SYSTEM}"\n'
            "[instruct.sampling]\ntemperature = 0.0\n"
        )
        with Runtime(client):
            yield TimedClient(client)


def words(count: int, seed: int) -> str:
    """A text of so many words; each is one token of a model with random weights."""
    return " ".join(random.Random(seed).choices(syllables(), k=count))


def prompt_of(template: str, text: str, system: str = SYSTEM) -> str:
    """Charlie's prompt for the first message of a conversation, as text."""
    import jinja2

    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    rendered: str = jinja2.Template(template, trim_blocks=True, lstrip_blocks=True).render(
        messages=messages, add_generation_prompt=True
    )
    return rendered
