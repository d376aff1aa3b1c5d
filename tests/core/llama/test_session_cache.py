"""KV caches saved over an unload: a restored one gives the same reply, an untrusted one is evaluated again."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import llama_cpp
import numpy as np
import pytest
from dspy import lm15

from core.dspy_lm.engine import LlamaEngine
from core.files import PARTIAL_SUFFIX
from core.llama.engine import load_as
from core.llama.instruct import Completion, InstructModel, Message
from core.llama.session_cache import NOT_RESTORABLE, SessionCache
from core.llama.session_files import RECORD, STATE, forget
from core.roles import Role
from core.settings import Sampling
from tests.core.conftest import spec_of
from tests.model_files import Kind, Size, write_random
from tests.waiting import join

GREEDY = Sampling(temperature=0, max_tokens=24)
CONVERSATIONS = 50
LIMIT = 1 << 30
ONE, TWO = "01", "02"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("random") / "random.gguf")


@contextmanager
def loaded(
    file: Path, root: Path | None, limit: int = LIMIT, exists: Callable[[str], bool] = lambda _: True
) -> Iterator[InstructModel]:
    """A model, loaded and unloaded as the manager does it."""
    spec = spec_of(file, Role.INSTRUCT)
    model = load_as(InstructModel, spec)
    if root is not None:
        model.sessions = SessionCache(root, spec, limit, exists)
        join(model.sessions._opener)
    yield model
    model.save_session()
    model.close()


def say(model: InstructModel, turns: list[str], session: str = ONE) -> tuple[str, Completion]:
    messages = [Message("assistant" if n % 2 else "user", turn) for n, turn in enumerate(turns)]
    *pieces, end = model.stream(model.fit(messages, 24), GREEDY, session=session)
    assert isinstance(end, Completion)
    return "".join(piece for piece in pieces if isinstance(piece, str)), end


def generated(seed: int) -> list[str]:
    """The user's messages of three turns."""
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefgh ijklm.", k=rng.randint(70, 300))) for _ in range(3)]


@pytest.mark.slow
def test_a_restored_conversation_gives_the_same_replies(file: Path, tmp_path: Path) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_memory_is_restored(tmp_path: Path, kind: Kind) -> None:
    """A sliding window, a recurrent state, and both: the reused tokens and the replies are the same."""
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


def logits_of(model: InstructModel) -> Any:
    """The logits of the last token that was evaluated."""
    pointer = llama_cpp.llama_get_logits_ith(model.llama.ctx, -1)
    return np.ctypeslib.as_array(pointer, shape=(model.llama.n_vocab(),)).copy()


def after_prompt(model: InstructModel, turns: list[str]) -> tuple[Any, Completion]:
    """The next token's logits, and the completion with the number of reused tokens."""
    messages = [Message("assistant" if n % 2 else "user", turn) for n, turn in enumerate(turns)]
    *_, end = model.stream(model.fit(messages, 24), GREEDY.model_copy(update={"max_tokens": 1}), session=ONE)
    assert isinstance(end, Completion)
    return logits_of(model), end


def after_generate(model: InstructModel, turns: list[str]) -> Any:
    """The next token's logits after `Llama.generate`, which the DSPy engine calls."""
    messages = [
        (lm15.Message.assistant if n % 2 else lm15.Message.user)([lm15.TextPart(turn)]) for n, turn in enumerate(turns)
    ]
    config = lm15.Config(max_tokens=1, temperature=0)
    LlamaEngine(model.llama, GREEDY).complete(lm15.Request(model="any", messages=tuple(messages), config=config))
    return logits_of(model)


def assert_the_same(found: Any, fresh: Any) -> None:
    assert np.corrcoef(found, fresh)[0, 1] > 0.999
    assert found.argmax() == fresh.argmax()


def regenerated(turns: list[str]) -> list[str]:
    return turns


def edited(turns: list[str]) -> list[str]:
    return [*turns[:2], "another question"]


def begun_alike(turns: list[str]) -> list[str]:
    return [turns[0], "another reply", "another question"]


CUTS = [regenerated, edited, begun_alike]
Cut = Callable[[list[str]], list[str]]


def layered(path: Path, kind: Kind) -> Path:
    """A model of six layers. Five of gemma3's have a sliding window, shorter than one message."""
    return write_random(path / f"{kind}.gguf", 3, Size(layers=6, words=True, kind=kind))


def saved_conversation(file: Path, root: Path) -> list[str]:
    """Saves a conversation of three messages and three replies; returns it without the last reply."""
    turns: list[str] = []
    with loaded(file, root) as model:
        for text in generated(1):
            turns.append(text)
            turns.append(say(model, turns)[0])
    return turns[:-1]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_restored_and_cut_cache_gives_the_logits_of_a_fresh_prefill(tmp_path: Path, kind: Kind, cut: Cut) -> None:
    file = layered(tmp_path, kind)
    turns = cut(saved_conversation(file, tmp_path / "sessions"))
    with loaded(file, None) as without:
        fresh, _ = after_prompt(without, turns)
    for _ in range(2):  # the first load saves what the second one cuts
        with loaded(file, tmp_path / "sessions") as model:
            found, end = after_prompt(model, turns)
            assert_the_same(found, fresh)
            assert end.reused_tokens > 0
    assert not list((tmp_path / "sessions").glob(f"*/{NOT_RESTORABLE}"))


@pytest.mark.parametrize("cut", CUTS)
def test_generate_after_a_restore_gives_the_logits_of_a_fresh_prefill(tmp_path: Path, cut: Cut) -> None:
    file = layered(tmp_path, "gemma3")
    turns = cut(saved_conversation(file, tmp_path / "sessions"))
    with loaded(file, None) as without:
        fresh = after_generate(without, turns)
    with loaded(file, tmp_path / "sessions") as model:
        assert model.sessions is not None
        (saved,) = model.sessions._saved.values()
        model.sessions.restore(model.llama, saved)
        assert model.llama.n_tokens == len(saved.tokens)
        assert_the_same(after_generate(model, turns), fresh)


@pytest.mark.parametrize("kind", ["gemma3", "mamba", "lfm2"])
def test_the_checkpoints_of_a_conversation_are_restored(tmp_path: Path, kind: Kind) -> None:
    file = layered(tmp_path, kind)
    turns = saved_conversation(file, tmp_path / "sessions")
    with loaded(file, tmp_path / "sessions") as model:
        assert model.sessions is not None
        (saved,) = model.sessions._saved.values()
        end = after_prompt(model, [*turns[:-1], "another question"])[1]
        assert end.reused_tokens in [position for position, _ in saved.checkpoints]
        assert end.reused_tokens > end.prompt_tokens / 2


@pytest.mark.parametrize("kind", ["gemma3", "mamba", "lfm2"])
def test_only_what_can_be_used_of_a_saved_cache_counts(tmp_path: Path, kind: Kind) -> None:
    """The first has more tokens in common with the prompt, the second a checkpoint in them."""
    file = layered(tmp_path, kind)
    beginning = " ".join(generated(1))
    with loaded(file, tmp_path / "sessions") as model:
        say(model, [beginning, "one reply", generated(2)[0]], ONE)
    with loaded(file, tmp_path / "sessions") as model:
        say(model, [beginning], TWO)
        say(model, [beginning, "another reply", generated(3)[0]], TWO)
    with loaded(file, tmp_path / "sessions") as model:
        assert model.sessions is not None
        turns = [beginning, "one reply", "one more question"]
        tokens = model.fit([Message("assistant" if n % 2 else "user", turn) for n, turn in enumerate(turns)], 24).tokens
        saved, count = model.sessions.best(tokens, cuttable=False)
        assert saved is not None
        assert saved.state.stem == TWO
        assert say(model, turns)[1].reused_tokens == count > 0


def test_a_continued_conversation_is_reused_if_its_window_is_whole(tmp_path: Path) -> None:
    file = layered(tmp_path, "gemma3")
    before = saved_conversation(file, tmp_path / "sessions")
    with loaded(file, None) as without:
        reply, _ = say(without, before)
        turns = [*before, reply, "and then?"]
        fresh, _ = after_prompt(without, turns)
    with loaded(file, tmp_path / "sessions") as model:
        assert say(model, turns)[1].reused_tokens > 0
        found, end = after_prompt(model, turns)
        assert_the_same(found, fresh)
        assert end.reused_tokens == end.prompt_tokens - 1


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_nothing_is_saved_where_positions_and_tokens_disagree(tmp_path: Path, kind: Kind) -> None:
    with loaded(layered(tmp_path, kind), tmp_path / "sessions") as model:
        say(model, generated(1)[:1])
        memory = llama_cpp.llama_get_memory(model.llama.ctx)
        assert llama_cpp.llama_memory_seq_rm(memory, 0, model.llama.n_tokens - 1, -1)
    assert not list((tmp_path / "sessions").glob("*/*"))


@pytest.mark.parametrize(("name", "value"), [("VERSION", 1), ("VERSION", 2), ("SWA_FULL", True)])
def test_caches_of_an_earlier_version_or_of_another_setting_are_not_used(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    turns = generated(1)[:1]
    with monkeypatch.context() as earlier:
        earlier.setattr(f"core.llama.session_cache.{name}", value)
        with loaded(file, tmp_path) as model:
            say(model, turns)
    with loaded(file, tmp_path) as model:
        assert say(model, turns)[1].reused_tokens == 0


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
    [
        _flip,
        _cut,
        _gone,
        _garbage,
        _record(tokens=[[1]]),
        _record(tokens=["x"]),
        _record(tokens=[2**40]),
        _record(checkpoints=[[9, 1 << 40]]),
        _record(checkpoints=[[1 << 20, 1]]),
        _record(checkpoints=[[9, -1]]),
        _record(checkpoints=[9]),
        _record(checkpoints=None),
    ],
    ids=[
        "flipped",
        "cut",
        "gone",
        "garbage",
        "nested",
        "words",
        "large",
        "long checkpoint",
        "late checkpoint",
        "negative checkpoint",
        "number as checkpoint",
        "no checkpoints",
    ],
)
def test_a_damaged_cache_is_removed(file: Path, tmp_path: Path, damage: Callable[[Path, Path], None]) -> None:
    turns = generated(3)[:1]
    with loaded(file, tmp_path) as model:
        expected, _ = say(model, turns)
    (state,), (record,) = tmp_path.glob(f"*/*{STATE}"), tmp_path.glob(f"*/*{RECORD}")
    damage(state, record)
    with loaded(file, tmp_path) as model:
        found, end = say(model, turns)
        assert (found, end.reused_tokens) == (expected, 0)
        assert not state.exists()
    with loaded(file, tmp_path) as model:  # and saved again
        assert say(model, turns)[1].reused_tokens > 0


def test_caches_of_another_model_are_not_used(file: Path, tmp_path: Path) -> None:
    turns = generated(4)[:1]
    with loaded(file, tmp_path) as model:
        say(model, turns)
    with loaded(write_random(tmp_path / "other.gguf", seed=1), tmp_path) as model:
        assert say(model, turns)[1].reused_tokens == 0


def test_files_copied_from_another_model_are_removed(file: Path, tmp_path: Path) -> None:
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
def test_a_cache_damaged_after_the_load_is_removed(
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
    with loaded(file, tmp_path) as model:  # and saved again
        assert say(model, turns)[1].reused_tokens > 0


def test_conversations_with_a_long_common_prefix_take_turns(file: Path, tmp_path: Path) -> None:
    beginning = "".join(generated(1))
    one, two = [f"{beginning} {generated(2)[0]}"], [f"{beginning} {generated(3)[0]}"]
    with loaded(file, tmp_path) as model:
        for turn in range(3):
            for session, turns in ((ONE, one), (TWO, two)):
                reply, end = say(model, turns, session)
                assert end.prompt_tokens - end.reused_tokens < 100 or turn == 0
                turns += [reply, "And then?"]


def test_a_cache_about_to_be_restored_is_not_removed_to_make_room(file: Path, tmp_path: Path) -> None:
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
    (left / "03.part").write_text("from a worker that was killed")
    with loaded(file, tmp_path, limit):
        assert {path.stem for path in left.iterdir()} == {TWO}


def test_a_limit_of_zero_removes_and_saves_nothing_more(file: Path, tmp_path: Path) -> None:
    with loaded(file, tmp_path) as model:
        say(model, generated(6)[:1])
    assert list(tmp_path.glob("*/*.*"))
    with loaded(file, tmp_path, 0) as model:
        assert not list(tmp_path.glob("*/*.*"))
        assert say(model, generated(6)[:1])[1].reused_tokens == 0
    assert not list(tmp_path.glob("*/*.*"))


def test_a_model_is_loaded_if_caches_cannot_be_saved(file: Path, tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    root.write_text("no folder")
    with loaded(file, root) as model:
        assert say(model, generated(6)[:1])[1].completion_tokens > 0


def test_a_model_whose_caches_cannot_be_restored_is_remembered(file: Path, tmp_path: Path) -> None:
    """Here llama.cpp refuses a file with a valid checksum."""
    turns = generated(5)[:1]
    with loaded(file, tmp_path) as model:
        expected, _ = say(model, turns)
    (state,), (record,) = tmp_path.glob(f"*/*{STATE}"), tmp_path.glob(f"*/*{RECORD}")
    data = b"not a cache".ljust(state.stat().st_size, b"\0")
    state.write_bytes(data)
    _record(crc32=[zlib.crc32(data)])(state, record)
    for _ in range(2):
        with loaded(file, tmp_path) as model:
            found, end = say(model, turns)
            assert (found, end.reused_tokens) == (expected, 0)
        assert [path.name for path in state.parent.iterdir()] == [NOT_RESTORABLE]


def test_the_least_recently_used_caches_are_removed_to_make_room(file: Path, tmp_path: Path) -> None:
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


def test_no_file_of_a_deleted_conversation_is_left(file: Path, tmp_path: Path) -> None:
    there = {ONE, TWO}
    with loaded(file, tmp_path, exists=there.__contains__) as model:
        say(model, generated(7)[:1], ONE)
        say(model, generated(8)[:1], TWO)  # saves the first
        assert {path.stem for path in tmp_path.glob("*/*.*")} == {ONE}
        there.clear()
    assert not list(tmp_path.glob("*/*.*"))
    with loaded(file, tmp_path) as model:
        say(model, generated(7)[:1], ONE)
    (state,) = tmp_path.glob(f"*/*{STATE}")
    state.with_suffix(PARTIAL_SUFFIX).write_bytes(b"from a worker that was killed")
    state.with_name(f".{ONE}{RECORD}.x{PARTIAL_SUFFIX}").write_bytes(b"from a worker that was killed")
    forget(tmp_path, ONE)
    assert not list(tmp_path.glob("*/*.*"))


@pytest.mark.parametrize("place", [0.01, 0.4, 0.999])
def test_damage_in_any_block_is_found(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: float
) -> None:
    monkeypatch.setattr("core.llama.session_cache.BLOCK", 1 << 10)
    turns = generated(3)[:1]
    with loaded(file, tmp_path) as model:
        expected, _ = say(model, turns)
    with loaded(file, tmp_path) as model:
        assert say(model, turns)[1].reused_tokens > 0
    (state,) = tmp_path.glob(f"*/*{STATE}")
    data = bytearray(state.read_bytes())
    assert len(data) > 10 << 10
    data[int(len(data) * place)] ^= 1
    state.write_bytes(data)
    with loaded(file, tmp_path) as model:
        found, end = say(model, turns)
        assert (found, end.reused_tokens) == (expected, 0)
        assert not state.exists()
