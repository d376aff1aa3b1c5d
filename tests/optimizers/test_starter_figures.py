"""The shipped starter models reach what they must, through llama.cpp, in a short form of `make starter-figures`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from core import starter
from core.engine import InstructModel, load_instruct
from core.instruct import Message
from core.prompts import TITLE_PROMPT
from core.settings import Role
from optimizers.starter import lessons, phrases, small_talk
from optimizers.starter.evaluate import Figure, answer, evaluate
from optimizers.starter.world import World
from tests.core.conftest import spec_of

COUNT = 100
MISSED = {'"not there" said wrongly': 0.06}
"""What 300 questions just reach and these 100 do not, and what it must not be above. Take out what is reached."""


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    return list(evaluate(COUNT))


@pytest.fixture(scope="module")
def instruct() -> Iterator[InstructModel]:
    with closing(load_instruct(spec_of(starter.path_of(Role.INSTRUCT), Role.INSTRUCT))) as model:
        yield model


def test_every_figure_but_what_is_known_is_reached(figures: list[Figure]) -> None:
    assert len(figures) == 12
    missed = {figure.name: figure for figure in figures if not figure.met}
    assert missed.keys() == MISSED.keys(), list(map(str, missed.values()))
    assert all(figure.value <= MISSED[name] for name, figure in missed.items())


def test_a_figure_that_is_not_reached_is_seen() -> None:
    assert not Figure("at least", 0.89, 0.9).met
    assert not Figure("at most", 0.06, 0.05, at_least=False).met
    assert Figure("at most", 0.05, 0.05, at_least=False).met


@pytest.mark.parametrize(
    ("said", "replies"),
    [
        ("Hello", small_talk.SMALL_TALK[0].replies),
        ("Thanks a lot", "You are welcome."),
        ("Who are you?", small_talk.WHO_ARE_YOU),
        ("What can you do?", small_talk.WHAT_CAN_YOU_DO),
        ("What is the capital of France?", phrases.OUTSIDE_REPLIES),
        ("Write me a poem about the sea", phrases.OUTSIDE_REPLIES),
    ],
)
def test_small_talk_and_where_its_world_ends(
    instruct: InstructModel, said: str, replies: str | tuple[str, ...]
) -> None:
    reply = answer(instruct, Message("system", lessons.CHAT_PROMPT), Message("user", said))
    assert reply in replies if isinstance(replies, tuple) else replies in reply


def test_titles_of_entries(instruct: InstructModel) -> None:
    world = World(9, held_out=True)
    made = [lessons.title_of(world) for _ in range(50)]
    right = sum(
        answer(instruct, Message("system", TITLE_PROMPT), Message("user", text)) == title for text, title in made
    )
    assert right >= 40
