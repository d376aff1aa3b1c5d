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
from core.errors import CancelledError, CharlieError, LoadFailedError, MemoryRefusedError
from core.events.types import Phase, WorkerUp
from core.roles import Role
from core.settings_file import SettingsFile
from states.manager import ModelManager
from tests.model_files import write_refused_late
from tests.states.walks import changes, legal, state_changes, steps

ROLES = st.sampled_from(list(Role))


class Walk(RuleBasedStateMachine):
    """A model of the machine: the warm role, its leases, and the transitions that must have been published."""

    client: Client
    refused: Path

    def __init__(self) -> None:
        super().__init__()
        config = self.client.paths.config_file
        config.unlink(missing_ok=True)
        self.config = config
        self.manager = ModelManager(SettingsFile(), self.client.paths, self.client.bus)
        self.manager.announcer.arrive(WorkerUp(1))
        self.before = self.client.snapshot().seq
        self.warm: Role | None = None
        self.leases: list[ExitStack] = []
        self.expected: list[str] = []

    def teardown(self) -> None:
        while self.leases:
            self.leases.pop().close()
        self.manager.unload_model("the walk ends")
        self.config.unlink(missing_ok=True)

    def left(self) -> None:
        """The warm role is unloaded."""
        if self.warm is not None:
            self.expected += [f"unload {self.warm}", f"unloaded {self.warm}"]
        self.warm = None

    @rule(role=ROLES)
    def lease(self, role: Role) -> None:
        stack = ExitStack()
        if self.leases and role is not self.warm:
            with pytest.raises(CharlieError, match="in use"):
                stack.enter_context(self.manager.lease(role))
            return
        if role is not self.warm:
            self.left()
            self.expected += [f"load {role}", f"loaded {role}"]
            self.warm = role
        model = stack.enter_context(self.manager.lease(role))
        assert model.spec.role is role
        assert model.llama.n_ctx() > 0
        self.leases.append(stack)

    @precondition(lambda self: self.leases)
    @rule()
    def release(self) -> None:
        self.leases.pop().close()

    @rule()
    def unload(self) -> None:
        if self.leases:
            with pytest.raises(CharlieError, match="in use"):
                self.manager.unload_model("asked for")
            return
        assert self.manager.unload_model("asked for") is (self.warm is not None)
        self.left()

    @precondition(lambda self: not self.leases)
    @rule(role=ROLES)
    def cancelled_load(self, role: Role) -> None:
        if role is self.warm:
            with self.manager.lease(role, lambda: True):
                return
        self.left()
        self.expected += [f"load {role}", f"load_failed {role}"]
        with pytest.raises(CancelledError), self.manager.lease(role, lambda: True):
            pytest.fail("it was leased")

    @precondition(lambda self: not self.leases)
    @rule()
    def failing_load(self) -> None:
        self.config.write_text(f'[instruct]\nfile = "{self.refused}"\n')
        self.left()
        self.expected += ["load instruct", "load_failed instruct"]
        with pytest.raises(LoadFailedError), self.manager.lease(Role.INSTRUCT):
            pytest.fail("it was leased")
        self.config.unlink()

    @rule(role=ROLES)
    def load_that_cannot_fit(self, role: Role) -> None:
        self.config.write_text('[memory]\nram_reserve = "1PB"\n')
        if role is self.warm:
            with self.manager.lease(role):
                pass
        else:
            with pytest.raises(MemoryRefusedError), self.manager.lease(role):
                pytest.fail("it was leased")
        self.config.unlink()

    @invariant()
    def at_most_one_model(self) -> None:
        assert list(self.manager._registry) == ([] if self.warm is None else [self.warm])
        assert self.manager.state is (Phase.EMPTY if self.warm is None else Phase.WARM)

    @invariant()
    def snapshot_is_the_last_event(self) -> None:
        snapshot = self.client.snapshot()
        assert snapshot == self.manager.announcer.snapshot
        assert snapshot.seq == self.before + len(self.expected)
        assert (snapshot.phase, snapshot.role) == (("empty", None) if self.warm is None else ("warm", self.warm))

    @invariant()
    def history_is_what_was_expected(self) -> None:
        events = state_changes(self.client.bus, self.before)
        assert [event.seq for event in events] == [*range(self.before + 1, self.before + len(self.expected) + 1)]
        history = changes(self.client.bus, self.before)
        assert legal(history)
        assert steps(history) == self.expected


@pytest.mark.slow
def test_random_walks(client: Client, tiny: dict[Role, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(Walk):
        pass

    Here.client = client
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
