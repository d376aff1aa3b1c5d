"""Several models warm at once: beside each other, least recently used first out, the policy that holds and why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.client import Client
from core.errors import CancelledError, CharlieError, LoadFailedError, MemoryRefusedError
from core.events.types import Phase, PolicyChanged, Receipt, WarmRole
from core.llama import engine
from core.memory.footprint import Footprint
from core.memory.types import Memory
from core.roles import Role
from core.settings import Policy
from core.settings_file import SettingsFile
from states import machine as machine_module
from states import manager as manager_module
from states import reclaim
from states.manager import ModelManager
from tests.model_files import write_aborting, write_refused_late
from tests.states.walks import published, state_changes, warm

GIB, MIB = 1024**3, 1024**2
THREE = (Role.EMBEDDING, Role.RERANKER, Role.INSTRUCT)
LOADS = [step for role in THREE for step in (f"load {role}", f"loaded {role}")]


@pytest.fixture
def three(client: Client, tiny: dict[Role, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelManager]:
    """A manager of three roles, which all fit."""
    monkeypatch.setenv("CHARLIE_RERANKER__FILE", str(tiny[Role.RERANKER]))
    made = ModelManager(SettingsFile(), client.paths, client.bus)
    yield made
    made.unload_all("the test ends")


def policies(client: Client) -> list[PolicyChanged]:
    return [event for event in client.bus.history() if isinstance(event, PolicyChanged)]


class Machine:
    """Scripted memory: each loaded model takes a GB, which comes back with its unload."""

    def __init__(self, manager: ModelManager) -> None:
        self.manager, self.room, self.loading, self.grown = manager, 2 * GIB + 900 * MIB, False, 0

    def read(self) -> Memory:
        held = (len(self.manager._registry) + self.loading) * GIB + self.grown
        return Memory(16 * GIB, self.room - held, held)

    def follow_settings(self) -> None:
        """A changed environment is read when a file changes."""
        self.manager._settings._settings = SettingsFile().current()


@pytest.fixture
def room_for_two(three: ModelManager, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Each model needs a GB and takes it; two of three fit beside the reserve."""
    machine = Machine(three)
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "fitting")
    machine.follow_settings()
    for module in (manager_module, machine_module, reclaim):
        monkeypatch.setattr(module, "read_memory", machine.read)
    measure, load, fire = three._planner._measure, engine.load, three._machine.fire

    def load_and_take(*args: object, **kwargs: object) -> object:
        made = load(*args, **kwargs)  # type: ignore[arg-type]
        machine.loading = True
        return made

    def fire_when_taken(trigger: str, *args: object, **kwargs: object) -> bool:
        if trigger == "loaded":
            machine.loading = False
        return fire(trigger, *args, **kwargs)  # type: ignore[arg-type]

    def need_a_gigabyte(*args: object) -> Footprint:
        need = measure(*args)  # type: ignore[arg-type]
        return replace(need, overhead=need.overhead + GIB - need.total)

    monkeypatch.setattr(three._machine, "fire", fire_when_taken)
    monkeypatch.setattr(engine, "load", load_and_take)
    for name in ("_measure", "_measure_known"):
        monkeypatch.setattr(three._planner, name, need_a_gigabyte)
    return machine


def test_models_stay_beside_each_other(three: ModelManager, client: Client) -> None:
    warm(three, *THREE)
    warm(three, *THREE)
    assert published(client) == LOADS
    assert three.loaded_roles == THREE
    assert three.can_warm_without_unloading(Role.INSTRUCT)
    snapshot = client.snapshot()
    assert (snapshot.phase, snapshot.role) == (Phase.WARM, "instruct")
    assert [each.role for each in snapshot.warm] == list(THREE)
    (changed,) = policies(client)
    assert (changed.policy, snapshot.policy, snapshot.policy_reason) == ("fitting", "fitting", changed.reason)
    assert "fit at once" in changed.reason


def test_exclusive_holds_one_model(three: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")
    manager = ModelManager(SettingsFile(), client.paths, client.bus)
    warm(manager, *THREE)
    swaps = [[f"unload {role}", f"unloaded {role}"] for role in THREE]
    assert published(client) == [*LOADS[:2], *swaps[0], *LOADS[2:4], *swaps[1], *LOADS[4:]]
    assert manager.loaded_roles == (Role.INSTRUCT,)
    assert manager.effective_policy().reason == 'memory.policy is "exclusive"'
    manager.unload_all("done")


def test_exclusive_unloads_what_was_beside(three: ModelManager, client: Client) -> None:
    warm(three, *THREE)
    client.paths.config_file.write_text('[memory]\npolicy = "exclusive"\n')
    warm(three, Role.EMBEDDING)
    assert three.loaded_roles == (Role.EMBEDDING,)
    assert three.effective_policy().policy is Policy.EXCLUSIVE
    assert [each.policy for each in policies(client)] == ["fitting", "exclusive"]


def test_the_policy_is_exclusive_where_the_models_do_not_fit_at_once(
    room_for_two: Machine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "auto")
    room_for_two.follow_settings()
    warm(room_for_two.manager, *THREE)
    assert room_for_two.manager.loaded_roles == (Role.INSTRUCT,)
    (changed,) = policies(client)
    assert (changed.policy, client.snapshot().policy) == ("exclusive", "exclusive")
    assert changed.reason == (
        "instruct and embedding and reranker need 3.00 GiB of RAM together, and 2.38 GiB are free"
    )
    room_for_two.room += GIB
    warm(room_for_two.manager, Role.EMBEDDING)
    assert list(room_for_two.manager.loaded_roles) == [Role.INSTRUCT, Role.EMBEDDING]
    assert [each.policy for each in policies(client)] == ["exclusive", "fitting"]


def test_a_broken_reranker_stops_no_chat(three: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that would end the process: what was never loaded is not simulated for the policy."""
    for file in (write_aborting(client.paths.models / "aborting.gguf"), client.paths.models / "none.gguf"):
        monkeypatch.setenv("CHARLIE_RERANKER__FILE", str(file))
        manager = ModelManager(SettingsFile(), client.paths, client.bus)
        warm(manager, Role.EMBEDDING, Role.INSTRUCT)
        assert manager.effective_policy().policy is Policy.FITTING
        manager.unload_all("done")


def test_the_first_load_decides_no_policy(three: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would read the headers of the other models."""
    with three.lease(Role.INSTRUCT):
        assert set(three._plans._specs) == {Role.INSTRUCT}
    assert set(three._plans._specs) == set(Role)


def test_room_is_made_by_the_least_recently_used(room_for_two: Machine, client: Client) -> None:
    manager = room_for_two.manager
    warm(manager, Role.EMBEDDING, Role.RERANKER, Role.EMBEDDING, Role.INSTRUCT)
    assert manager.loaded_roles == (Role.EMBEDDING, Role.INSTRUCT)
    assert published(client) == [*LOADS[:4], "unload reranker", "unloaded reranker", *LOADS[4:]]
    assert state_changes(client.bus)[4].reason == "instruct is wanted"
    assert [each.to for each in state_changes(client.bus)[4:6]] == ["unloading", "warm"]


def test_what_the_next_job_needs_stays(room_for_two: Machine) -> None:
    manager = room_for_two.manager
    manager.next_roles = lambda: {Role.EMBEDDING}
    warm(manager, *THREE)
    assert manager.loaded_roles == (Role.EMBEDDING, Role.INSTRUCT)


def test_a_pinned_model_goes_last(room_for_two: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_EMBEDDING__PINNED", "true")
    manager = room_for_two.manager
    room_for_two.follow_settings()
    manager.next_roles = lambda: {Role.RERANKER}
    warm(manager, *THREE)
    assert manager.loaded_roles == (Role.EMBEDDING, Role.INSTRUCT)
    assert manager.give_up("memory is short") is Role.INSTRUCT
    assert manager.give_up("memory is short") is Role.EMBEDDING
    assert manager.give_up("memory is short") is None


def test_a_leased_model_never_goes(room_for_two: Machine, client: Client) -> None:
    manager = room_for_two.manager
    with manager.lease(Role.EMBEDDING):
        warm(manager, Role.RERANKER, Role.INSTRUCT)
        assert manager.loaded_roles == (Role.EMBEDDING, Role.INSTRUCT)
        with (
            manager.lease(Role.INSTRUCT),
            pytest.raises(MemoryRefusedError, match=r"beside \w+ and \w+ \(in use\)"),
        ):
            warm(manager, Role.RERANKER)
        assert manager.give_up("memory is short") is Role.INSTRUCT
        assert manager.give_up("memory is short") is None
        with pytest.raises(CharlieError, match="in use"):
            manager.unload_all("asked for")
    assert manager.unload_all("asked for") == (Role.EMBEDDING,)


def test_each_model_gives_back_what_it_held(
    room_for_two: Machine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it grew before another was loaded, and with memory that is no model's in between."""
    manager = room_for_two.manager
    room_for_two.room += 3 * GIB
    warm(manager, Role.EMBEDDING)
    room_for_two.grown = GIB
    warm(manager, Role.RERANKER)
    with manager.excluded_from_model():
        room_for_two.grown += GIB
    model = manager._registry[Role.EMBEDDING].model
    close = model.close

    def close_all() -> None:
        close()
        room_for_two.grown -= GIB

    monkeypatch.setattr(model, "close", close_all)
    manager.unload_all("asked for")
    receipts = [event for event in client.bus.history() if isinstance(event, Receipt)]
    assert [(each.role, each.expected, each.returned) for each in receipts] == [
        ("embedding", 2 * GIB, 2 * GIB),
        ("reranker", GIB, GIB),
    ]
    assert all(each.seconds < reclaim.BACK_SECONDS for each in receipts)


def test_file_pages_that_the_kernel_dropped_are_not_the_last_models(three: ModelManager) -> None:
    warm(three, Role.EMBEDDING, Role.INSTRUCT)
    first, last = (three._registry[role] for role in (Role.EMBEDDING, Role.INSTRUCT))
    first.held, last.held = (replace(each.held, mapped=GIB) for each in (first, last))
    now = three._registry._last
    three._registry.settle(replace(now, process_rss=now.process_rss - GIB, process_file=now.process_file - GIB))
    assert (first.held.mapped, last.held.mapped) == (0, GIB)


def test_a_failed_load_leaves_the_others_warm(three: ModelManager, client: Client, tiny: dict[Role, Path]) -> None:
    warm(three, Role.EMBEDDING)
    refused = write_refused_late(client.paths.models / "refused.gguf", tiny[Role.INSTRUCT])
    client.paths.config_file.write_text(f'[instruct]\nfile = "{refused}"\n')
    with pytest.raises(LoadFailedError):
        warm(three, Role.INSTRUCT)
    with pytest.raises(CancelledError), three.lease(Role.RERANKER, lambda: True):
        pytest.fail("it was leased")
    assert published(client)[2:] == [
        f"{trigger} {role}" for role in ("instruct", "reranker") for trigger in ("load", "load_failed")
    ]
    assert three._machine.state is Phase.WARM
    snapshot = client.snapshot()
    assert (snapshot.role, snapshot.warm) == ("embedding", (WarmRole("embedding", "tiny-embedding"),))


def test_one_role_is_unloaded(three: ModelManager, client: Client) -> None:
    warm(three, *THREE)
    assert three.unload_role(Role.RERANKER, "asked for")
    assert not three.unload_role(Role.RERANKER, "asked for")
    assert three.loaded_roles == (Role.EMBEDDING, Role.INSTRUCT)
    assert (client.snapshot().phase, client.snapshot().role) == ("warm", "instruct")
    assert three.unload_all("asked for") == (Role.EMBEDDING, Role.INSTRUCT)
    assert client.snapshot().phase == "empty"


def test_a_replaced_file_takes_the_place_of_its_own_model(
    three: ModelManager, client: Client, tiny: dict[Role, Path]
) -> None:
    warm(three, *THREE)
    file = client.paths.models / "mine.gguf"
    shutil.copyfile(tiny[Role.INSTRUCT], file)
    client.paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')
    with three.lease(Role.EMBEDDING):
        warm(three, Role.INSTRUCT)
    assert published(client)[6:] == ["unload instruct", "unloaded instruct", "load instruct", "loaded instruct"]


def test_idle_time_is_counted_for_each_role(three: ModelManager) -> None:
    assert three.idle_seconds(Role.INSTRUCT) == 0
    warm(three, Role.INSTRUCT)
    with three.lease(Role.EMBEDDING):
        assert three.idle_seconds(Role.EMBEDDING) == 0
        assert three.idle_seconds(Role.INSTRUCT) > 0
    assert three.idle_seconds(Role.INSTRUCT) > three.idle_seconds(Role.EMBEDDING) > 0


def test_a_model_on_the_cpu_has_nothing_on_a_device(three: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_EMBEDDING__DEVICE", "cpu")
    monkeypatch.setenv("CHARLIE_EMBEDDING__GPU_LAYERS", "-1")
    three._settings._settings = SettingsFile().current()
    with three.lease(Role.EMBEDDING) as model:
        assert (model.spec.cpu_only, model.spec.gpu_layers, model.spec.least_gpu_layers) == (True, 0, 0)
        assert model.llama.model_params.devices  # a list, which is empty; without one, llama.cpp takes all
        assert not model.llama.context_params.offload_kqv
        assert not model.llama.context_params.op_offload
        assert model.embed(["It works."]).any()
    with three.lease(Role.INSTRUCT) as other:
        assert not other.llama.model_params.devices
