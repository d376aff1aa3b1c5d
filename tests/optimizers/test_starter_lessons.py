"""The lessons of the starter models are reproducible and right, and contain no held-out words."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from optimizers.starter import by_example, lessons, searching, words
from optimizers.starter.world import World

OWN = {"with", "you", "your", "felt", "it", "was", "about", "by"}
"""Words of the answers themselves."""
PRINT_LESSONS = (
    "from tests.optimizers.test_starter_lessons import lessons_of; print(*lessons_of(300), sep=chr(10), end='')"
)


def lessons_of(count: int, seed: int = 3) -> list[str]:
    """The texts of the whole training, with the queries and entries of the encoders."""
    world = World(seed)
    texts: list[str] = []
    for number in range(count):
        made = (lessons.lesson(world, number / count), by_example.lesson(world))
        texts += [each.beginning + "".join(span.text for branch in each.branches for span in branch) for each in made]
        pair = searching.pair(world)
        texts.append(f"{pair.query} {pair.entry.text}")
    return texts


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_lessons_in_every_process() -> None:
    digests = {hashlib.sha256("\n".join(lessons_of(300)).encode()).hexdigest()}
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PRINT_LESSONS],
            env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True, timeout=120,
        )  # fmt: skip
        digests.add(hashlib.sha256(done.stdout).hexdigest())
    assert len(digests) == 1
    assert lessons_of(3, seed=4) != lessons_of(3)


@pytest.mark.slow
def test_no_lesson_contains_held_out_words() -> None:
    held_out = [
        *words.HELD_OUT_NAMES, *words.HELD_OUT_PLACES, *words.HELD_OUT_GOALS, *words.HELD_OUT_TOPICS,
        *(f"{verb.past} {thing}" for group in words.HELD_OUT_ACTIVITIES for verb in group.verbs
          for things in group.objects for thing in things),
        *(sign for signs in words.HELD_OUT_SIGNS.values() for sign in signs),
    ]  # fmt: skip
    anywhere = re.compile(r"\b(" + "|".join(map(re.escape, held_out)) + r")(?!\w)")
    found = [match[0] for text in lessons_of(2000) for match in [anywhere.search(text)] if match]
    assert found == []


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_cited_entry_contains_the_answer(count: int, held_out: bool) -> None:
    world, asked = World(5, held_out=held_out), 0
    while asked < 200:
        entries = world.entries(count)
        if (question := world.question(entries)) is None:
            continue
        asked += 1
        assert question.answer is not None
        assert question.entry is not None
        told = words_of(entries[question.entry].text) | OWN
        assert words_of(question.answer) <= told


@pytest.mark.parametrize("held_out", [False, True])
def test_a_query_matches_its_entry_and_not_the_same_entry_about_another_person(held_out: bool) -> None:
    world = World(6, held_out=held_out)
    for _ in range(300):
        pair = searching.pair(world)
        assert searching.means(pair.told, pair.entry.facts)
        if pair.told.who:
            assert not searching.means(pair.told, replace(pair.entry.facts, who="Somebody Else"))
