"""Random walks of the real manager with real models, against a model of the machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from app.client import Client
from core.errors import CancelledError, CharlieError, LoadFailedError
from core.events.types import Phase, WorkerUp
from core.roles import Role
from core.settings import Policy
from core.settings_file import SettingsFile
from states.manager import ModelManager
from tests.model_files import write_refused_late
from tests.states.walks import changes, most_loaded, state_changes, steps

ROLES = st.sampled_from(list(Role))


class Walk(RuleBasedStateMachine):
    """A model of the machine: the warm roles, their leases, and the transitions that must have been published."""

    client: Client
    refused: Path
    policy: Policy

    def __init__(self) -> None:
        super().__init__()
        self.config = self.client.paths.config_file
        self.configure()
        self.manager = ModelManager(SettingsFile(), self.client.paths, self.client.bus)
        self.manager.announcer.arrive(WorkerUp(1))
        self.before = self.client.snapshot().seq
        self.warm: list[Role] = []
        """The least recently used first."""
        self.leases: list[tuple[Role, ExitStack]] = []
        self.expected: list[str] = []

    def configure(self, more: str = "", memory: str = "") -> None:
        self.config.write_text(f'{more}\n[memory]\npolicy = "{self.policy}"\n{memory}\n')

    def teardown(self) -> None:
        while self.leases:
            self.leases.pop()[1].close()
        self.manager.unload_all("the walk ends")
        self.config.unlink(missing_ok=True)

    def leased(self, role: Role) -> bool:
        return any(role is each for each, _ in self.leases)

    def left(self, *roles: Role) -> None:
        """These roles are unloaded."""
        for role in roles:
            self.expected += [f"unload {role}", f"unloaded {role}"]
            self.warm.remove(role)

    def make_room(self, role: Role) -> None:
        if self.policy is Policy.EXCLUSIVE:
            self.left(*self.warm)
        elif role in self.warm:
            self.left(role)

    def used(self, role: Role) -> None:
        if role in self.warm:
            self.warm.remove(role)
        self.warm.append(role)

    @rule(role=ROLES)
    def lease(self, role: Role) -> None:
        stack = ExitStack()
        if role not in self.warm and self.leases and self.policy is Policy.EXCLUSIVE:
            with pytest.raises(CharlieError, match="in use"):
                stack.enter_context(self.manager.lease(role))
            return
        if role not in self.warm:
            self.make_room(role)
            self.expected += [f"load {role}", f"loaded {role}"]
        model = stack.enter_context(self.manager.lease(role))
        self.used(role)
        assert model.spec.role is role
        assert model.llama.n_ctx() > 0
        self.leases.append((role, stack))

    @precondition(lambda self: self.leases)
    @rule()
    def release(self) -> None:
        role, stack = self.leases.pop()
        stack.close()
        self.used(role)

    @rule()
    def unload(self) -> None:
        if self.leases:
            with pytest.raises(CharlieError, match="in use"):
                self.manager.unload_all("asked for")
            return
        assert self.manager.unload_all("asked for") == tuple(self.warm)
        self.left(*self.warm)

    @rule(role=ROLES)
    def unload_one(self, role: Role) -> None:
        if self.leased(role):
            with pytest.raises(CharlieError, match="in use"):
                self.manager.unload_role(role, "asked for")
            return
        assert self.manager.unload_role(role, "asked for") is (role in self.warm)
        self.left(*[each for each in self.warm if each is role])

    @rule()
    def give_up(self) -> None:
        free = [role for role in self.warm if not self.leased(role)]
        assert self.manager.give_up("memory is short") is (free[0] if free else None)
        self.left(*free[:1])

    @precondition(lambda self: not self.leases)
    @rule(role=ROLES)
    def cancelled_load(self, role: Role) -> None:
        if role in self.warm:
            with self.manager.lease(role, lambda: True):
                pass
            self.used(role)
            return
        self.make_room(role)
        self.expected += [f"load {role}", f"load_failed {role}"]
        with pytest.raises(CancelledError), self.manager.lease(role, lambda: True):
            pytest.fail("it was leased")

    @precondition(lambda self: not self.leases)
    @rule()
    def failing_load(self) -> None:
        self.configure(f'[instruct]\nfile = "{self.refused}"')
        self.make_room(Role.INSTRUCT)
        self.expected += ["load instruct", "load_failed instruct"]
        with pytest.raises(LoadFailedError), self.manager.lease(Role.INSTRUCT):
            pytest.fail("it was leased")
        self.configure()

    @rule(role=ROLES)
    def load_that_cannot_fit(self, role: Role) -> None:
        self.configure(memory='ram_reserve = "1PB"')
        if role in self.warm:
            with self.manager.lease(role):
                pass
            self.used(role)
        else:
            with pytest.raises(CharlieError), self.manager.lease(role):
                pytest.fail("it was leased")
        self.configure()

    @invariant()
    def the_loaded_models_are_known(self) -> None:
        assert self.manager.loaded_roles == tuple(self.warm)
        assert self.manager._machine.state is (Phase.WARM if self.warm else Phase.EMPTY)

    @invariant()
    def snapshot_is_the_last_event(self) -> None:
        snapshot = self.client.snapshot()
        assert snapshot == self.manager.announcer.snapshot
        assert snapshot.seq == self.before + len(self.expected)
        assert snapshot.phase == ("warm" if self.warm else "empty")
        assert {each.role for each in snapshot.warm} == set(self.warm)

    @invariant()
    def history_is_what_was_expected(self) -> None:
        events = state_changes(self.client.bus, self.before)
        assert [event.seq for event in events] == [*range(self.before + 1, self.before + len(self.expected) + 1)]
        history = changes(self.client.bus, self.before)
        assert most_loaded(history) in ((0, 1) if self.policy is Policy.EXCLUSIVE else range(4))
        assert steps(history) == self.expected


@pytest.mark.slow
@pytest.mark.parametrize("policy", [Policy.EXCLUSIVE, Policy.FITTING])
def test_random_walks(
    client: Client, tiny: dict[Role, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    class Here(Walk):
        pass

    Here.client, Here.policy = client, policy
    monkeypatch.setenv("CHARLIE_RERANKER__FILE", str(tiny[Role.RERANKER]))
    Here.refused = write_refused_late(tmp_path / "refused.gguf", tiny[Role.INSTRUCT])
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=4,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            # hypothesis does not control memory and files, so shrinking would take minutes.
            phases=[Stage.generate],
        ),
    )
