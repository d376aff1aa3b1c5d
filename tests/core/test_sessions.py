"""Conversations over an unload: what is put back says the same, and what cannot be trusted is evaluated anew."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from core.engine import load_instruct
from core.instruct import Completion, InstructModel, Message
from core.session_files import PART, RECORD, STATE, forget
from core.sessions import REFUSED, Sessions
from core.settings import Role, Sampling
from tests.core.conftest import spec_of
from tests.model_files import Kind, Size, write_random

GREEDY = Sampling(temperature=0, max_tokens=24)
CONVERSATIONS = 50
LIMIT = 1 << 30
ONE, TWO = "01", "02"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("random") / "random.gguf")


@contextmanager
def loaded(
    file: Path, root: Path | None, limit: int = LIMIT, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[InstructModel]:
    """A model as the manager loads and unloads it."""
    spec = spec_of(file, Role.INSTRUCT)
    model = load_instruct(spec)
    if root is not None:
        model.sessions = Sessions(root, spec, limit, wanted)
        model.sessions._opener.join()
    yield model
    model.keep()
    model.close()


def say(model: InstructModel, turns: list[str], session: str = ONE) -> tuple[str, Completion]:
    messages = [Message("assistant" if n % 2 else "user", turn) for n, turn in enumerate(turns)]
    *pieces, end = model.stream(model.fit(messages, 24), GREEDY, session=session)
    assert isinstance(end, Completion)
    return "".join(piece for piece in pieces if isinstance(piece, str)), end


def generated(seed: int) -> list[str]:
    """What a person says in three turns."""
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefgh ijklm.", k=rng.randint(70, 300))) for _ in range(3)]


def test_a_restored_conversation_says_the_same(file: Path, tmp_path: Path) -> None:
    for seed in range(CONVERSATIONS):
        turns: list[str] = []
        with loaded(file, None) as without:
            expected = []
            for text in generated(seed):
                turns.append(text)
                reply, _ = say(without, turns)
                turns.append(reply)
                expected.append(reply)
        assert len(set(expected)) == 3
        turns = []
        for number, (text, reply) in enumerate(zip(generated(seed), expected, strict=True)):
            turns.append(text)
            with loaded(file, tmp_path) as model:
                found, end = say(model, turns, f"{seed:02x}")
            assert found == reply
            assert (end.reused_tokens > 70) == (number > 0)
            assert end.reused_tokens < end.prompt_tokens
            turns.append(reply)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_memory_is_restored(tmp_path: Path, kind: Kind) -> None:
    """A sliding window, a recurrent state, and layers of both kinds: what is read again, and what is said, is equal."""
    file = write_random(tmp_path / "model.gguf", 3, Size(layers=4, words=True, kind=kind))
    for seed in range(4):
        turns: list[str] = []
        with loaded(file, None) as without:
            expected = []
            for text in generated(seed):
                turns.append(text)
                reply, end = say(without, turns)
                turns.append(reply)
                expected.append((reply, end.reused_tokens))
        assert len({reply for reply, _ in expected}) > 1
        assert expected[2][1] > expected[1][1] > 0
        turns = []
        for text, (reply, reused) in zip(generated(seed), expected, strict=True):
            turns.append(text)
            with loaded(file, tmp_path / "sessions") as model:
                found, end = say(model, turns, f"{seed:02x}")
            assert (found, end.reused_tokens) == (reply, reused if len(turns) > 1 else 0)
            turns.append(reply)


def test_two_conversations_take_turns(file: Path, tmp_path: Path) -> None:
    one, two = generated(1)[:1], generated(2)[:1]
    with loaded(file, tmp_path) as model:
        for turn in range(3):
            for session, turns in ((ONE, one), (TWO, two)):
                reply, end = say(model, turns, session)
                assert end.prompt_tokens - end.reused_tokens < 100 or turn == 0
                turns += [reply, "And then?"]


def test_a_branch_reuses_its_beginning(file: Path, tmp_path: Path) -> None:
    first, *_ = generated(1)
    with loaded(file, tmp_path) as model:
        say(model, [first])
    with loaded(file, tmp_path) as model:
        _, end = say(model, [first, "another reply", "another question"], TWO)
        assert end.reused_tokens >= len(first)


def _flip(state: Path, record: Path) -> None:
    assert record.exists()
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)


def _cut(state: Path, _: Path) -> None:
    state.write_bytes(state.read_bytes()[:-9])


def _gone(state: Path, _: Path) -> None:
    state.unlink()


def _record(**changes: object) -> Callable[[Path, Path], None]:
    def change(_: Path, record: Path) -> None:
        record.write_text(json.dumps({**json.loads(record.read_text()), **changes}))

    return change


def _garbage(_: Path, record: Path) -> None:
    record.write_bytes(b"\xff{")


@pytest.mark.parametrize(
    "damage",
    [_flip, _cut, _gone, _garbage, _record(tokens=[[1]]), _record(tokens=["x"]), _record(tokens=[2**40])],
    ids=["flipped", "cut", "gone", "garbage", "nested", "words", "large"],
)
def test_what_is_damaged_is_thrown_away(file: Path, tmp_path: Path, damage: Callable[[Path, Path], None]) -> None:
    turns = generated(3)[:1]
    with loaded(file, tmp_path) as model:
        expected, _ = say(model, turns)
    (state,), (record,) = tmp_path.glob(f"*/*{STATE}"), tmp_path.glob(f"*/*{RECORD}")
    damage(state, record)
    with loaded(file, tmp_path) as model:
        found, end = say(model, turns)
        assert (found, end.reused_tokens) == (expected, 0)
        assert not state.exists()
    with loaded(file, tmp_path) as model:  # and written anew
        assert say(model, turns)[1].reused_tokens > 0


def test_another_models_are_not_used(file: Path, tmp_path: Path) -> None:
    turns = generated(4)[:1]
    with loaded(file, tmp_path) as model:
        say(model, turns)
    with loaded(write_random(tmp_path / "other.gguf", seed=1), tmp_path) as model:
        assert say(model, turns)[1].reused_tokens == 0


def test_files_that_were_copied_from_another_model_are_thrown_away(file: Path, tmp_path: Path) -> None:
    turns = generated(4)[:1]
    with loaded(write_random(tmp_path / "deeper.gguf", 1, Size(layers=4)), tmp_path) as model:
        say(model, turns)
    (other,) = tmp_path.glob(f"*/*{STATE}")
    with loaded(file, tmp_path) as model:
        expected, _ = say(model, turns, TWO)
    (own,) = tmp_path.glob(f"*/{TWO}{STATE}")
    for suffix in (STATE, RECORD):
        own.with_suffix(suffix).write_bytes(other.with_suffix(suffix).read_bytes())
    with loaded(file, tmp_path) as model:
        found, end = say(model, turns, TWO)
        assert (found, end.reused_tokens) == (expected, 0)
    with loaded(file, tmp_path) as model:
        assert say(model, turns, TWO)[1].reused_tokens > 0


@pytest.mark.parametrize("damage", [_cut, _gone, _flip])
def test_what_is_damaged_once_the_model_is_loaded_is_thrown_away(
    file: Path, tmp_path: Path, damage: Callable[[Path, Path], None]
) -> None:
    turns = generated(3)[:1]
    with loaded(file, tmp_path) as model:
        expected, _ = say(model, turns)
    (state,), (record,) = tmp_path.glob(f"*/*{STATE}"), tmp_path.glob(f"*/*{RECORD}")
    with loaded(file, tmp_path) as model:
        damage(state, record)
        found, end = say(model, turns)
        assert (found, end.reused_tokens) == (expected, 0)
    with loaded(file, tmp_path) as model:  # and written anew
        assert say(model, turns)[1].reused_tokens > 0


def test_conversations_with_a_long_beginning_in_common_take_turns(file: Path, tmp_path: Path) -> None:
    beginning = "".join(generated(1))
    one, two = [f"{beginning} {generated(2)[0]}"], [f"{beginning} {generated(3)[0]}"]
    with loaded(file, tmp_path) as model:
        for turn in range(3):
            for session, turns in ((ONE, one), (TWO, two)):
                reply, end = say(model, turns, session)
                assert end.prompt_tokens - end.reused_tokens < 100 or turn == 0
                turns += [reply, "And then?"]


def test_what_is_put_back_makes_no_room_for_what_it_replaces(file: Path, tmp_path: Path) -> None:
    one, two = generated(6)[:1], generated(7)[:1]
    with loaded(file, tmp_path / "one") as model:
        say(model, one)
    (state,) = (tmp_path / "one").glob(f"*/*{STATE}")
    root, limit = tmp_path / "tight", 3 * state.stat().st_size // 2
    with loaded(file, root, limit) as model:
        say(model, one, ONE)
    with loaded(file, root, limit) as model:
        say(model, two, TWO)
        assert say(model, one, ONE)[1].reused_tokens > 0


def test_the_limit_holds_from_the_next_load_on(file: Path, tmp_path: Path) -> None:
    with loaded(file, tmp_path) as model:
        say(model, generated(6)[:1], ONE)
        say(model, generated(7)[:1], TWO)
    files = [path for suffix in (STATE, RECORD) for path in tmp_path.glob(f"*/*{suffix}")]
    limit = sum(path.stat().st_size for path in files) - 1
    (left,) = {path.parent for path in files}
    (left / "03.part").write_text("what a worker wrote that was ended")
    with loaded(file, tmp_path, limit):
        assert {path.stem for path in left.iterdir()} == {TWO}


def test_with_a_limit_of_zero_nothing_is_kept_nor_written(file: Path, tmp_path: Path) -> None:
    with loaded(file, tmp_path) as model:
        say(model, generated(6)[:1])
    assert list(tmp_path.glob("*/*.*"))
    with loaded(file, tmp_path, 0) as model:
        assert not list(tmp_path.glob("*/*.*"))
        assert say(model, generated(6)[:1])[1].reused_tokens == 0
    assert not list(tmp_path.glob("*/*.*"))


def test_a_model_is_loaded_where_nothing_can_be_kept(file: Path, tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    root.write_text("no folder")
    with loaded(file, root) as model:
        assert say(model, generated(6)[:1])[1].completion_tokens > 0


def test_a_model_that_does_not_restore_is_remembered(file: Path, tmp_path: Path) -> None:
    """Here by a file that is whole as far as we can tell, and that llama.cpp refuses."""
    turns = generated(5)[:1]
    with loaded(file, tmp_path) as model:
        expected, _ = say(model, turns)
    (state,), (record,) = tmp_path.glob(f"*/*{STATE}"), tmp_path.glob(f"*/*{RECORD}")
    data = b"not a cache".ljust(state.stat().st_size, b"\0")
    state.write_bytes(data)
    _record(crc32=zlib.crc32(data))(state, record)
    for _ in range(2):
        with loaded(file, tmp_path) as model:
            found, end = say(model, turns)
            assert (found, end.reused_tokens) == (expected, 0)
        assert [path.name for path in state.parent.iterdir()] == [REFUSED]


def test_those_used_longest_ago_make_room(file: Path, tmp_path: Path) -> None:
    with loaded(file, tmp_path / "one") as model:
        say(model, generated(6)[:1])
    (state,) = (tmp_path / "one").glob(f"*/*{STATE}")
    limit = 7 * state.stat().st_size // 2
    root, texts = tmp_path / "three", [f"{number} {generated(6)[0]}"[: len(generated(6)[0])] for number in range(4)]
    for number in (0, 1, 0, 2, 3):
        with loaded(file, root, limit) as model:
            say(model, [texts[number]], f"{number:02x}")
        assert sum(path.stat().st_size for path in root.glob(f"*/*{STATE}")) <= limit
    kept = {path.stem for path in root.glob(f"*/*{STATE}")}
    assert "01" not in kept
    assert {"00", "03"} <= kept


def test_nothing_is_kept_of_a_deleted_conversation(file: Path, tmp_path: Path) -> None:
    there = {ONE, TWO}
    with loaded(file, tmp_path, wanted=there.__contains__) as model:
        say(model, generated(7)[:1], ONE)
        say(model, generated(8)[:1], TWO)  # saves the first
        assert {path.stem for path in tmp_path.glob("*/*.*")} == {ONE}
        there.clear()
    assert not list(tmp_path.glob("*/*.*"))
    with loaded(file, tmp_path) as model:
        say(model, generated(7)[:1], ONE)
    (state,) = tmp_path.glob(f"*/*{STATE}")
    state.with_suffix(PART).write_bytes(b"what a worker wrote that was ended")
    forget(tmp_path, ONE)
    assert not list(tmp_path.glob("*/*.*"))
