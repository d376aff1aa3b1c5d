"""Charlie as it is measured: the database and the worker as real processes, this one as the interface beside them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.client import Client
from app.runtime import Runtime
from core.gguf import read_header
from core.settings import Role
from tasks.jobs import Ended, Text
from tests.benchmarks.home import home
from tests.model_files import syllables
from tests.waiting import deadline, ended

PATIENCE = 600.0
"""Seconds for a reply; a long one takes some minutes on a slow machine."""
SYSTEM = "bab"
"""The system prompt: short, and the same for those that Charlie is compared with."""


CONTEXT = 4096
"""Tokens; what Charlie loads a model with where nothing is configured and the model was made for as many."""


def context_of(file: Path) -> int:
    """Tokens that a model is loaded with, here and by those that Charlie is compared with."""
    return min(CONTEXT, read_header(file).context_length)


@dataclass(frozen=True, slots=True)
class Reply:
    """Seconds from asking for it to the first text and to the end, and what `charlie ask --json` tells of it."""

    first_s: float
    total_s: float
    stats: dict[str, Any]
    arrived: list[tuple[float, int]]
    """When text came (seconds), and how many characters there were then."""

    @property
    def rate(self) -> float:
        """Tokens per second, from asking for them to the end."""
        return int(self.stats["completion_tokens"]) / self.total_s


class Asked:
    """Asks for replies and takes the time of them, as the one subscriber."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def conversation(self) -> str:
        return self.client.library.new_conversation().id

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
def serving(file: Path, context: int | None = None) -> Iterator[Asked]:
    """A worker with a file as the instruct model; it answers greedily, with every core where it is no starter."""
    with home({Role.INSTRUCT: file}) as client:
        client.paths.config_file.write_text(
            f'[instruct]\nfile = "{file}"\ncontext_length = {context or context_of(file)}\nsystem_prompt = "{SYSTEM}"\n'
            "[instruct.sampling]\ntemperature = 0.0\n"
        )
        with Runtime(client):
            yield Asked(client)


def words(count: int, seed: int) -> str:
    """A text of so many words, each of which is one token of a model of random numbers."""
    return " ".join(random.Random(seed).choices(syllables(), k=count))


def prompt_of(template: str, text: str) -> str:
    """What Charlie's prompt for the first message of a conversation is, as text."""
    import jinja2

    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    rendered: str = jinja2.Template(template, trim_blocks=True, lstrip_blocks=True).render(
        messages=messages, add_generation_prompt=True
    )
    return rendered
