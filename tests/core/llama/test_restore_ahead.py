"""A saved KV cache is restored by a thread while the prompt is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.llama.calls import Llama
from core.llama.checkpoints import Checkpoint
from core.llama.session_cache import Saved, SessionCache
from core.llama.session_files import STATE
from tests.core.llama.test_session_cache import ONE, TWO, generated, layered, loaded, say
from tests.model_files import Kind


@pytest.mark.parametrize("kind", ["llama", "gemma3", "lfm2"])
def test_the_reply_and_what_was_reused_are_the_same(tmp_path: Path, kind: Kind) -> None:
    file, turns = layered(tmp_path, kind), generated(1)[:1]
    with loaded(file, tmp_path / "sessions") as model:
        turns += [say(model, turns)[0], "and then?"]
    with loaded(file, None) as without:
        expected, _ = say(without, turns)
    with loaded(file, tmp_path / "sessions") as model:
        model.restore_ahead(ONE)
        found, end = say(model, turns)
        assert found == expected
        assert end.reused_tokens >= len(generated(1)[0]) // 8
        assert end.reused_tokens < end.prompt_tokens


def test_it_is_restored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, turns = layered(tmp_path, "llama"), generated(1)[:1]
    with loaded(file, tmp_path / "sessions") as model:
        say(model, turns)
    restore, restored = SessionCache.restore, []

    def restore_and_count(cache: SessionCache, llama: Llama, saved: Saved) -> list[Checkpoint]:
        restored.append(saved.state.stem)
        return restore(cache, llama, saved)

    monkeypatch.setattr(SessionCache, "restore", restore_and_count)
    with loaded(file, tmp_path / "sessions") as model:
        model.restore_ahead(ONE)
        assert say(model, turns)[1].reused_tokens > 0
        model.restore_ahead(ONE)  # not after the load
        say(model, [*turns, "a reply", "more"])
    assert restored == [ONE]


def test_another_prompt_than_that_of_the_cache(tmp_path: Path) -> None:
    file, one, two = layered(tmp_path, "llama"), generated(1)[:1], generated(2)[:1]
    with loaded(file, tmp_path / "sessions") as model:
        say(model, one, ONE)
        say(model, two, TWO)
    with loaded(file, None) as without:
        expected, _ = say(without, two)
    with loaded(file, tmp_path / "sessions") as model:
        model.restore_ahead(ONE)
        assert say(model, two, TWO)[0] == expected
    assert {path.stem for path in tmp_path.glob(f"sessions/*/*{STATE}")} == {ONE, TWO}


def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    file, turns = layered(tmp_path, "llama"), generated(3)[:1]
    with loaded(file, tmp_path / "sessions") as model:
        expected, _ = say(model, turns)
    (state,) = tmp_path.glob(f"sessions/*/*{STATE}")
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    with loaded(file, tmp_path / "sessions") as model:
        model.restore_ahead(ONE)
        found, end = say(model, turns)
        assert (found, end.reused_tokens) == (expected, 0)


def test_the_model_may_be_unloaded_before_its_prompt_comes(tmp_path: Path) -> None:
    file, turns = layered(tmp_path, "llama"), generated(1)[:1]
    with loaded(file, tmp_path / "sessions") as model:
        say(model, turns)
    with loaded(file, tmp_path / "sessions") as model:
        model.restore_ahead(ONE)
        model.restore_ahead(TWO)  # one at a time
    with loaded(file, tmp_path / "sessions") as model:
        model.restore_ahead(TWO)  # there is none
        assert say(model, turns)[1].reused_tokens > 0
