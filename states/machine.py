"""The machine of the lifecycle: loads or unloads one model between two triggers."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from transitions import EventData, Machine

from core.errors import CancelledError, CharlieError, MemoryRefusedError
from core.events.bus import Bus
from core.events.types import Phase, Receipt, WarmRole
from core.library.conversations import Conversations
from core.library.journal import JOURNAL, Journal
from core.llama import engine
from core.llama.instruct import InstructModel
from core.llama.session_cache import SessionCache
from core.memory.footprint import Footprint
from core.memory.readings import read_memory
from core.memory.types import Memory
from core.model_files.spec import ModelSpec
from core.paths import Paths
from core.roles import Role
from core.settings_file import SettingsFile
from states.announcer import Announcer
from states.lifecycle import TRANSITIONS
from states.memory_plan import Plan, fits
from states.planner import Planner, predict
from states.reclaim import await_return, taken, trim
from states.registry import Loaded, Registry

log = logging.getLogger(__name__)


class ModelMachine:
    """Loads a model that was planned, unloads one that is not leased, and publishes each transition.

    Slow work stands between two triggers, never in a callback of the machine.
    """

    state: Phase
    trigger: Callable[..., bool]

    def __init__(self, settings: SettingsFile, paths: Paths, bus: Bus, planner: Planner) -> None:
        self._settings = settings
        self._paths = paths
        self._planner = planner
        self._conversations = Conversations(bus.redis)
        self._journal = Journal(bus.redis)
        self.registry = Registry()
        self.announcer = Announcer(bus, self._warm_roles)
        Machine(
            model=self,
            states=Phase,
            transitions=list(map(list, TRANSITIONS)),
            initial=Phase.EMPTY,
            auto_transitions=False,
            send_event=True,
            after_state_change=self.announcer.record,
        )

    def unload_model(self, role: Role, reason: str, before: Memory) -> Memory | None:
        """Unload a warm model. Returns the memory after it, None where that could not be read.

        Raises CharlieError while it is leased.
        """
        loaded = self.registry[role]
        began = time.monotonic()
        if not self.fire("unload", loaded.spec, reason):
            raise CharlieError("The model is in use.", "Wait for the reply, or stop it first.")
        self.registry.settle(before)
        spec, held = loaded.spec, loaded.held
        self._planner.record(spec, loaded.predicted, held, loaded.model.copied_bytes)
        failure, after = "", None
        try:
            if isinstance(loaded.model, InstructModel):
                loaded.model.save_session()
            loaded.model.close()
        except Exception as error:
            log.exception("Closing %s failed; it is abandoned.", spec.name)
            failure = f"closing it failed: {error}"
        del loaded
        self.registry.remove(role)
        gc.collect()
        trim()
        try:
            after = await_return(before, held)
            self.registry.exclude(after)
        except Exception as error:
            log.exception("The memory could not be read after %s was closed.", spec.name)
            failure = failure or f"reading the memory failed: {error}"
        self.fire("unload_failed" if failure else "unloaded", spec, failure or reason, before, after)
        if after is not None:
            back, seconds = taken(after, before).total, round(time.monotonic() - began, 4)
            self.announcer.inform(Receipt(spec.role.value, spec.name, before, after, held.total, back, seconds))
        return after

    def load_model(self, wanted: ModelSpec, plan: Plan, cancelled: Callable[[], bool]) -> None:
        """Load what was planned.

        Raises MemoryRefusedError where it does not fit any more, OutOfMemoryError, LoadFailedError, CancelledError.
        """
        spec = plan.spec
        before = read_memory()
        predicted = predict(spec, before)
        if not self.fire("load", spec, "", before, need=plan.need):
            raise MemoryRefusedError(f"{spec.name} does not fit any more.", "Try it again.")
        try:
            if cancelled():
                raise CancelledError  # noqa: TRY301  # it ends the load like any other failure
            self.registry.settle(before)
            limit, kept = self._settings.current().sessions.limit, spec.role is Role.INSTRUCT
            sessions = SessionCache(self._paths.sessions, spec, limit, self._has_session) if kept else None
            model = engine.load(spec, on_progress=self.announcer.load_progress(spec), cancelled=cancelled)
            if isinstance(model, InstructModel):
                model.sessions = sessions
            after = read_memory()
            loaded = Loaded(wanted, spec, model, predicted, plan.need, taken(before, after))
        except BaseException as error:
            gc.collect()
            trim()
            with suppress(OSError):  # what did not come back belongs to no other model
                self.registry.exclude(read_memory())
            self.fire("load_failed", spec, str(error), before)
            raise
        self.registry.add(loaded, after)
        self.fire("loaded", spec, "", before, after)
        self._planner.record(spec, predicted, loaded.held, model.copied_bytes)

    def _has_session(self, name: str) -> bool:
        """Whether a KV cache may be saved under this name: a conversation's, or the current journal's."""
        if name.startswith(JOURNAL):
            return name == self._journal.journal_session()
        return self._conversations.has_conversation(name)

    def _warm_roles(self) -> Iterator[WarmRole]:
        settings = self._settings.usable()
        for each in self.registry:
            yield WarmRole(each.spec.role.value, each.spec.name, None, settings.role(each.spec.role).pinned)

    # The guards.

    def fits(self, event: EventData) -> bool:
        before: Memory = event.kwargs["before"]
        stay = self.registry.warm_models(before)
        return fits(event.kwargs["need"], before, self._settings.current().memory, stay)

    def not_leased(self, event: EventData) -> bool:
        return event.kwargs["spec"].role not in self.registry.leased

    def others_loaded(self, _: EventData) -> bool:
        return len(self.registry) > 0

    def none_loaded(self, _: EventData) -> bool:
        return len(self.registry) == 0

    def fire(
        self,
        trigger: str,
        spec: ModelSpec,
        reason: str,
        before: Memory | None = None,
        after: Memory | None = None,
        need: Footprint | None = None,
    ) -> bool:
        """Fire a trigger and publish the transition. Raises MachineError, with nothing changed, where it is illegal."""
        fired = self.trigger(trigger, spec=spec, reason=reason, before=before, after=after, need=need)
        self.announcer.publish()
        return fired
