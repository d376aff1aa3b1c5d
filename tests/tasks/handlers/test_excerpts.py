"""What was found is what a model reads, however long the entry is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks.handlers.excerpts import CUT, excerpts

RAIN = "It rained all day, and the lawn is under water. " * 25
CODE = "The code of the garden gate is 4711."
WORDS = st.lists(
    st.sampled_from(["rain", "river", "Mira.", "bread!", "late\n", "gate?\n\n", "the", "12."]), max_size=80
)


def count(text: str) -> int:
    return len(text.split())


def found(text: str, part: str) -> tuple[int, int]:
    return text.index(part), text.index(part) + len(part)


def test_entries_that_fit_are_whole() -> None:
    assert excerpts([RAIN, CODE], [(1, (0, 5))], count, 300) == [RAIN, CODE]


def test_the_passage_is_read_with_its_neighbours() -> None:
    entry = f"{RAIN}{CODE} {RAIN}"
    (read,) = excerpts([entry], [(0, found(entry, CODE))], count, 32)
    sentence = RAIN[: len(RAIN) // 25].strip()
    assert read == f"{CUT} {sentence} {CODE} {sentence} {CUT}"


def test_two_passages_of_an_entry_are_joined_once_they_meet() -> None:
    entry = f"{CODE} {RAIN[:192]}The key is in the shed. {RAIN}"
    spans = [(0, found(entry, CODE)), (0, found(entry, "The key is in the shed."))]
    (near,), (joined,) = (excerpts([entry], spans, count, room) for room in (25, 70))
    assert near == f"{CODE} {CUT} The key is in the shed. {CUT}"
    assert joined.count(CUT) == 1
    assert joined.startswith(entry[: found(entry, "The key is in the shed.")[1]])


def test_an_entry_without_a_passage_is_read_from_both_ends() -> None:
    (read,) = excerpts([f"Up early. {RAIN}{CODE}"], [], count, 30)
    assert read.startswith("Up early. It rained")
    assert read.endswith(CODE)


def test_a_sentence_without_room_is_cut() -> None:
    assert excerpts([CODE, RAIN], [(0, (0, 9))], count, 8) == [f"The code of t {CUT}", CUT]


@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=5), st.data())
def test_excerpts_keep_to_the_room_and_the_order(texts: list[str], data: st.DataObject) -> None:
    places = st.integers(0, 400)
    spans = data.draw(st.lists(st.tuples(st.integers(0, len(texts) - 1), st.tuples(places, places)), max_size=6))
    room = data.draw(st.integers(0, 200))
    read = excerpts(texts, [(n, (min(span), max(span))) for n, span in spans], count, room)
    assert sum(count(each.replace(CUT, "")) for each in read) <= room
    if room > 40:
        assert sum(map(count, read)) <= room
    for text, each in zip(texts, read, strict=True):
        parts = [part.split() for part in each.split(CUT)]
        at = 0
        for part in parts:
            at = next(start for start in range(at, count(text) + 1) if text.split()[start : start + len(part)] == part)
            at += len(part)
