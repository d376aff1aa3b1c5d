"""The exact list of events for each action of the manager, with real models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.client import Client
from core.database import keys
from core.errors import CancelledError, CharlieError, LoadFailedError, ModelFileError, SettingsError
from core.events.types import LoadProgress, Phase, Snapshot, StateChanged
from core.llama import engine
from core.memory.measured import _files
from core.memory.readings import read_memory
from core.model_files.spec import ModelSpec
from core.roles import Role
from core.settings_file import SettingsFile
from states import machine as machine_module
from states.manager import ModelManager
from tests.model_files import write_aborting, write_refused, write_refused_late
from tests.states.walks import LOAD, UNLOAD, published, state_changes, warm
from tests.waiting import follow_events

FAILED = ["load instruct", "load_failed instruct"]


pytestmark = pytest.mark.usefixtures("exclusive")


def use(client: Client, role: Role, file: Path) -> None:
    client.paths.config_file.write_text(f'[{role}]\nfile = "{file}"\n')


def test_load(manager: ModelManager, client: Client) -> None:
    with manager.lease(Role.INSTRUCT) as model:
        assert manager.load_seconds > 0
        assert published(client) == LOAD
        assert model.count_tokens("hello") > 0
    assert published(client) == LOAD
    first, last = state_changes(client.bus)
    assert (first.source, first.to, first.model) == ("empty", "loading", "tiny-instruct")
    assert first.before is not None
    assert first.after is None
    assert (last.source, last.to, last.reason) == ("loading", "warm", "")
    assert last.before is not None
    assert last.after is not None
    assert last.elapsed_ms > 0
    assert client.snapshot().model == "tiny-instruct"


def test_load_progress_is_published_between_the_transitions(manager: ModelManager, client: Client) -> None:
    follow = follow_events(client.bus)
    assert isinstance(next(follow), Snapshot)
    warm(manager, Role.INSTRUCT)
    seen = []
    for item in follow:
        seen.append(item)
        if isinstance(item, StateChanged) and item.trigger == "loaded":
            break
    fractions = [item.fraction for item in seen if isinstance(item, LoadProgress)]
    assert fractions == sorted(fractions)
    assert fractions
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_a_second_lease_of_the_same_role_publishes_nothing(manager: ModelManager, client: Client) -> None:
    with manager.lease(Role.INSTRUCT) as one:
        with manager.lease(Role.INSTRUCT) as two:
            assert one is two
        assert manager.load_seconds == 0
        assert published(client) == LOAD
        with pytest.raises(CharlieError, match="in use"):
            manager.unload_role(Role.INSTRUCT, "asked for")
    with manager.lease(Role.INSTRUCT) as three:
        assert three is one
    assert published(client) == LOAD


def test_swap(manager: ModelManager, client: Client) -> None:
    warm(manager, Role.INSTRUCT)
    warm(manager, Role.EMBEDDING)
    assert published(client) == [*LOAD, *UNLOAD, "load embedding", "loaded embedding"]
    assert manager.loaded_roles == (Role.EMBEDDING,)
    assert state_changes(client.bus)[2].reason == "embedding is wanted"


def test_unload(manager: ModelManager, client: Client) -> None:
    assert manager.unload_all("asked for") == ()
    assert published(client) == []
    warm(manager, Role.INSTRUCT)
    assert manager.unload_all("asked for") == (Role.INSTRUCT,)
    assert published(client) == [*LOAD, *UNLOAD]
    assert [event.reason for event in state_changes(client.bus)[2:]] == ["asked for", "asked for"]
    assert manager.unload_all("asked for") == ()
    assert manager.loaded_roles == ()


def test_a_load_that_llama_cpp_refuses(manager: ModelManager, client: Client, tiny: dict[Role, Path]) -> None:
    use(client, Role.INSTRUCT, write_refused_late(client.paths.models / "refused.gguf", tiny[Role.INSTRUCT]))
    with pytest.raises(LoadFailedError, match=r"refused\.gguf could not be loaded") as failed:
        warm(manager, Role.INSTRUCT)
    assert published(client) == FAILED
    assert state_changes(client.bus)[-1].reason == str(failed.value)
    assert client.snapshot().reason == str(failed.value)
    client.paths.config_file.unlink()
    warm(manager, Role.INSTRUCT)
    assert published(client) == [*FAILED, *LOAD]


def test_a_plan_says_what_llama_cpp_refuses(manager: ModelManager, client: Client, tiny: dict[Role, Path]) -> None:
    """Before anything is unloaded."""
    warm(manager, Role.EMBEDDING)
    use(client, Role.INSTRUCT, write_refused(client.paths.models / "refused.gguf", tiny[Role.INSTRUCT]))
    for attempt in (lambda: manager.plan(Role.INSTRUCT), lambda: warm(manager, Role.INSTRUCT)):
        with pytest.raises(LoadFailedError, match=r"refused\.gguf could not be loaded: .*output_norm.*not found"):
            attempt()
    assert published(client) == ["load embedding", "loaded embedding"]
    assert not client.redis.smembers(keys.SIMULATED)


def test_a_file_that_ended_the_worker_is_tried_in_another_process(manager: ModelManager, client: Client) -> None:
    """The mark of a simulation that never ended."""
    use(client, Role.INSTRUCT, write_aborting(client.paths.models / "aborting.gguf"))
    client.redis.sadd(keys.SIMULATED, json.dumps(_files(manager.wanted(Role.INSTRUCT))))
    with pytest.raises(LoadFailedError, match=r"aborting\.gguf could not be loaded: GGML_ASSERT\(.*\) failed\."):
        manager.plan(Role.INSTRUCT)


def test_a_mark_left_by_chance_is_removed(manager: ModelManager, client: Client) -> None:
    client.redis.sadd(keys.SIMULATED, json.dumps(_files(manager.wanted(Role.INSTRUCT))))
    warm(manager, Role.INSTRUCT)
    assert not client.redis.smembers(keys.SIMULATED)


def test_a_file_truncated_after_its_check_fails_the_load(
    manager: ModelManager, client: Client, tiny: dict[Role, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = client.paths.models / "cut.gguf"
    shutil.copyfile(tiny[Role.INSTRUCT], file)
    use(client, Role.INSTRUCT, file)
    fire = manager._machine.fire

    def cut_first(trigger: str, *args: object, **kwargs: object) -> bool:
        if trigger == "load":
            os.truncate(file, file.stat().st_size // 2)
        return fire(trigger, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(manager._machine, "fire", cut_first)
    with pytest.raises((ModelFileError, LoadFailedError), match=r"cut\.gguf"):
        warm(manager, Role.INSTRUCT)
    assert published(client) == FAILED
    assert manager._machine.state is Phase.EMPTY


def test_an_unusable_file_is_refused_before_unloading(
    manager: ModelManager, client: Client, tiny: dict[Role, Path]
) -> None:
    warm(manager, Role.EMBEDDING)
    for role, file in (
        (Role.INSTRUCT, client.paths.models / "none.gguf"),
        (Role.INSTRUCT, tiny[Role.RERANKER]),
        (Role.RERANKER, tiny[Role.INSTRUCT]),
    ):
        use(client, role, file)
        with pytest.raises(ModelFileError):
            warm(manager, role)
    assert published(client) == ["load embedding", "loaded embedding"]
    assert manager._machine.state is Phase.WARM


def test_a_broken_configuration_changes_nothing(manager: ModelManager, client: Client) -> None:
    warm(manager, Role.INSTRUCT)
    client.paths.config_file.write_text("keep_alive = [")
    with pytest.raises(SettingsError):
        warm(manager, Role.EMBEDDING)
    client.paths.config_file.unlink()
    warm(manager, Role.INSTRUCT)
    assert published(client) == LOAD


def test_a_cancelled_load(manager: ModelManager, client: Client) -> None:
    with pytest.raises(CancelledError), manager.lease(Role.INSTRUCT, lambda: True):
        pytest.fail("it was leased")
    assert published(client) == FAILED
    assert state_changes(client.bus)[-1].reason == "Cancelled."


def test_a_load_is_cancelled_at_a_progress_step(manager: ModelManager, client: Client) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(CancelledError), manager.lease(Role.INSTRUCT, cancelled):
        pytest.fail("it was leased")
    assert published(client) == FAILED
    assert manager.loaded_roles == ()
    warm(manager, Role.INSTRUCT)
    assert published(client) == [*FAILED, *LOAD]


def test_a_failed_unload(manager: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is closed, and then closing reports a failure."""
    with manager.lease(Role.INSTRUCT) as model:
        close = model.close

    def close_and_fail() -> None:
        close()
        raise OSError("the driver is gone")

    monkeypatch.setattr(model, "close", close_and_fail)
    assert manager.unload_all("asked for") == (Role.INSTRUCT,)
    assert published(client) == [*LOAD, "unload instruct", "unload_failed instruct"]
    assert "the driver is gone" in state_changes(client.bus)[-1].reason
    assert manager.loaded_roles == ()
    warm(manager, Role.INSTRUCT)
    assert published(client)[-2:] == LOAD


def fail_once_after(calls: int) -> Callable[[], object]:
    """A memory reading that fails once, at call number `calls`."""
    real, count = read_memory, 0

    def read() -> object:
        nonlocal count
        count += 1
        if count == calls:
            raise OSError("the driver is gone")
        return real()

    return read


def test_a_failed_memory_reading_after_a_load_leaves_no_stuck_phase(
    manager: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "read_memory", fail_once_after(2))
    with pytest.raises(OSError, match="the driver"):
        warm(manager, Role.INSTRUCT)
    assert published(client) == FAILED
    assert manager.loaded_roles == ()
    warm(manager, Role.INSTRUCT)
    assert published(client) == [*FAILED, *LOAD]


def test_a_failed_memory_reading_after_an_unload_leaves_no_stuck_phase(
    manager: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm(manager, Role.INSTRUCT)

    def fails(*_: object) -> None:
        raise OSError("the driver is gone")

    monkeypatch.setattr(machine_module, "await_return", fails)
    assert manager.unload_all("asked for") == (Role.INSTRUCT,)
    assert published(client) == [*LOAD, "unload instruct", "unload_failed instruct"]
    assert manager.loaded_roles == ()


def test_a_replaced_file_is_loaded_again(manager: ModelManager, client: Client, tiny: dict[Role, Path]) -> None:
    """Header and size are the same; only the modification time differs."""
    file = client.paths.models / "mine.gguf"
    shutil.copyfile(tiny[Role.INSTRUCT], file)
    use(client, Role.INSTRUCT, file)
    warm(manager, Role.INSTRUCT)
    shutil.copyfile(tiny[Role.INSTRUCT], new := file.with_suffix(".new"))
    os.utime(new, (1, 1))
    new.replace(file)
    assert not manager.is_warm(Role.INSTRUCT)
    warm(manager, Role.INSTRUCT)
    assert published(client) == [*LOAD, *UNLOAD, *LOAD]


def test_another_file_takes_effect_with_the_next_lease(
    manager: ModelManager, client: Client, tiny: dict[Role, Path]
) -> None:
    warm(manager, Role.INSTRUCT)
    file = client.paths.models / "mine.gguf"
    shutil.copyfile(tiny[Role.INSTRUCT], file)
    use(client, Role.INSTRUCT, file)
    warm(manager, Role.INSTRUCT)
    assert published(client) == [*LOAD, *UNLOAD, *LOAD]


def test_a_file_name_that_is_not_text(manager: ModelManager, client: Client, tiny: dict[Role, Path]) -> None:
    """llama.cpp cannot open it."""
    file = Path(os.fsdecode(os.fsencode(client.paths.models) + b"/\xff.gguf"))
    write_refused_late(file, tiny[Role.INSTRUCT])
    settings = manager.settings.model_copy(
        update={"instruct": manager.settings.instruct.model_copy(update={"file": file})}
    )
    manager._settings._settings = settings
    with pytest.raises(LoadFailedError):
        warm(manager, Role.INSTRUCT)
    assert published(client) == []


def test_the_factory_is_asked_for_the_role(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any failure of the factory, even an unforeseen one, takes the declared transition back."""
    manager = ModelManager(SettingsFile(), client.paths, client.bus)

    def fails(spec: ModelSpec, **_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "load", fails)
    with pytest.raises(KeyboardInterrupt):
        warm(manager, Role.EMBEDDING)
    assert published(client) == ["load embedding", "load_failed embedding"]
