"""Every phase × every trigger, the guards, and the table itself."""

from __future__ import annotations

import re

import pytest
from transitions import MachineError

from app.client import Client
from core.errors import CharlieError, MemoryRefusedError
from core.events.types import Phase, Planned
from core.figures import exact_size
from core.memory.footprint import estimate
from core.memory.readings import read_memory
from core.model_files.spec import resolve
from core.roles import Role
from core.settings_file import SettingsFile, load_settings
from states.lifecycle import TRANSITIONS
from states.machine import ModelMachine
from states.manager import ModelManager
from tests.states.walks import Change, changes, legal, most_loaded

TRIGGERS = sorted({transition.trigger for transition in TRANSITIONS})
WAY = {
    Phase.EMPTY: (),
    Phase.LOADING: ("load",),
    Phase.WARM: ("load", "loaded"),
    Phase.UNLOADING: ("load", "loaded", "unload"),
}


def fire(manager: ModelManager, client: Client, trigger: str) -> bool:
    spec = resolve(load_settings(), client.paths, Role.INSTRUCT)
    return manager._machine.fire(trigger, spec, "", before=read_memory(), need=estimate(spec))


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize(
    ("phase", "others"), [(phase, others) for phase in Phase for others in (False, True)[: 1 + (phase != Phase.EMPTY)]]
)
def test_every_trigger_in_every_phase(client: Client, phase: Phase, trigger: str, others: bool) -> None:
    """Alone and beside a loaded model, with which the machine is never Empty."""
    manager = ModelManager(SettingsFile(), client.paths, client.bus)
    if others:
        with manager.lease(Role.EMBEDDING):
            pass
    warm_already = others and phase is Phase.WARM
    for step in () if warm_already else WAY[phase]:
        assert fire(manager, client, step)
    assert manager._machine.state is phase
    before = (manager.announcer.snapshot, client.snapshot(), changes(client.bus))
    guards = {None: True, "fits": True, "not_leased": True, "others_loaded": others, "none_loaded": not others}
    found = [each.dest for each in TRANSITIONS if (each.source, each.trigger) == (phase, trigger)]
    if not found:
        with pytest.raises(MachineError):
            fire(manager, client, trigger)
        assert manager._machine.state is phase
        assert (manager.announcer.snapshot, client.snapshot(), changes(client.bus)) == before
        return
    (target,) = (
        each.dest for each in TRANSITIONS if (each.source, each.trigger) == (phase, trigger) and guards[each.guard]
    )
    assert fire(manager, client, trigger)
    assert manager._machine.state is target
    assert client.snapshot() == manager.announcer.snapshot
    assert manager.announcer.snapshot.seq == before[0].seq + 1
    assert manager.announcer.snapshot.phase == target.value
    assert changes(client.bus) == [*before[2], Change(trigger, phase.value, target.value, "instruct")]


def test_only_declared_triggers_exist(manager: ModelManager) -> None:
    assert not [name for name in dir(manager._machine) if name.startswith(("to_", "may_to_"))]
    with pytest.raises(AttributeError):
        manager._machine.trigger("to_WARM")
    assert manager._machine.state is Phase.EMPTY


def test_every_phase_can_be_reached_and_left() -> None:
    assert {transition.source for transition in TRANSITIONS} == set(Phase)
    assert {transition.dest for transition in TRANSITIONS} == set(Phase)
    assert all(transition.guard is None or hasattr(ModelMachine, transition.guard) for transition in TRANSITIONS)


def test_a_refused_load_names_every_number(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reserve is larger than the machine's memory."""
    total = read_memory().total
    monkeypatch.setenv("CHARLIE_MEMORY__RAM_RESERVE", str(2 * total))
    manager = ModelManager(SettingsFile(), client.paths, client.bus)
    before = client.snapshot()
    with pytest.raises(MemoryRefusedError) as refused, manager.lease(Role.INSTRUCT):
        pytest.fail("it was leased")
    sentence = refused.value.message
    assert "tiny-instruct" in sentence
    assert len(re.findall(r"[\d.]+ (?:B|MiB|GiB)", sentence)) == 7  # needed, its three parts, free, kept, in all
    assert f"{exact_size(2 * total)} of {exact_size(total)} being kept" in sentence
    assert "with memory.ram_reserve = " in refused.value.hint
    (plan,) = (event for event in client.bus.history() if isinstance(event, Planned))
    assert (plan.fits, plan.reason, plan.available) == (False, sentence, {"RAM": 0})
    assert manager._machine.state is Phase.EMPTY
    assert manager.loaded_roles == ()
    assert client.snapshot() == before
    assert changes(client.bus) == []


def test_a_refused_load_leaves_the_warm_model(client: Client) -> None:
    manager = ModelManager(SettingsFile(), client.paths, client.bus)
    with manager.lease(Role.INSTRUCT):
        pass
    before = client.snapshot()
    client.paths.config_file.write_text(f"[memory]\nram_reserve = {2 * read_memory().total}\n")
    with pytest.raises(MemoryRefusedError), manager.lease(Role.EMBEDDING):
        pytest.fail("it was leased")
    assert client.snapshot() == before
    assert manager._machine.state is Phase.WARM
    with manager.lease(Role.INSTRUCT) as model:
        assert model.count_tokens("still here") > 0
    manager.unload_all("done")


@pytest.mark.usefixtures("exclusive")
def test_a_leased_model_is_never_unloaded(manager: ModelManager, client: Client) -> None:
    with manager.lease(Role.INSTRUCT) as model:
        before = (client.snapshot(), changes(client.bus))
        with pytest.raises(CharlieError, match="in use"):
            manager.unload_all("asked for")
        with pytest.raises(CharlieError, match="in use"), manager.lease(Role.EMBEDDING):
            pytest.fail("it was leased")
        assert (client.snapshot(), changes(client.bus)) == before
        assert model.count_tokens("still here") > 0
    assert manager.unload_all("asked for")


def test_a_lease_is_released_when_its_block_fails(manager: ModelManager) -> None:
    with pytest.raises(ZeroDivisionError), manager.lease(Role.INSTRUCT):
        raise ZeroDivisionError
    assert manager.unload_all("asked for")


def test_the_history_check_finds_illegal_transitions() -> None:
    """Checks the function that other tests rely on."""
    good = [Change("load", "empty", "loading", "instruct"), Change("loaded", "loading", "warm", "instruct")]
    assert legal(good)
    assert not legal(good[1:])
    assert not legal([*good, *good])
    assert not legal([good[0], Change("loaded", "loading", "empty", "instruct")])
    beside = [Change("load", "warm", "loading", "embedding"), Change("loaded", "loading", "warm", "embedding")]
    assert (most_loaded(good), most_loaded([*good, *beside])) == (1, 2)
    assert not legal([*good, beside[0], Change("load_failed", "loading", "empty", "embedding")])
    gone = [Change("unload", "warm", "unloading", "instruct"), Change("unloaded", "unloading", "empty", "instruct")]
    assert legal([*good, *gone])
    assert not legal([*good, *beside, *gone])
    assert not legal([*good, *good[:1]])
