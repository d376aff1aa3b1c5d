"""The shipped starter models reach their required figures: a short form of `make starter-figures`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from core import starter
from core.llama.engine import InstructModel, load_as
from core.llama.instruct import Message
from core.programs.prompts import TITLE_PROMPT
from core.roles import Role
from optimizers.starter import lessons, phrases, small_talk
from optimizers.starter.evaluate import Figure, answer, evaluate
from optimizers.starter.world import World
from tests.core.conftest import spec_of

COUNT = 100
MISSED = {'"not there" said wrongly': 0.06}
"""Figures that 300 questions reach and these 100 miss, with their upper bounds. Remove one that is reached."""


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    return list(evaluate(COUNT))


@pytest.fixture(scope="module")
def instruct() -> Iterator[InstructModel]:
    with closing(load_as(InstructModel, spec_of(starter.path_of(Role.INSTRUCT), Role.INSTRUCT))) as model:
        yield model


@pytest.mark.slow
def test_every_figure_is_reached_except_the_known_ones(figures: list[Figure]) -> None:
    assert len(figures) == 12
    missed = {figure.name: figure for figure in figures if not figure.met}
    assert missed.keys() == MISSED.keys(), list(map(str, missed.values()))
    assert all(figure.value <= MISSED[name] for name, figure in missed.items())


def test_a_missed_figure_is_noticed() -> None:
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
def test_small_talk_and_questions_outside_its_world(
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
