"""Whether models may stay beside each other, and which of them go when one is wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import CharlieError
from core.figures import exact_size
from core.memory.footprint import RAM
from core.memory.types import Memory
from core.model_files.spec import ModelSpec, resolve
from core.paths import Paths
from core.roles import Role
from core.settings import Policy
from core.settings_file import SettingsFile
from states.memory_plan import Plan, WarmModel
from states.planner import Planner
from states.registry import Registry


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """The policy that holds, exclusive or fitting, and why."""

    policy: Policy
    reason: str


class RolePlans:
    """Plans of roles with the current settings, beside what is loaded. Loads nothing."""

    def __init__(
        self,
        settings: SettingsFile,
        paths: Paths,
        planner: Planner,
        registry: Registry,
        next_roles: Callable[[], Collection[Role]],
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._planner = planner
        self._registry = registry
        self._next_roles = next_roles
        self._specs: dict[Role, tuple[object, ModelSpec]] = {}
        """The last resolved spec of each role, and the settings that it is for."""
        self.choice: PolicyChoice | None = None
        """The last one; None until it was needed or asked for."""
        self._chosen_for: tuple[object, ...] = ()

    def wanted(self, role: Role) -> ModelSpec:
        """The spec of a role, resolved again only after a change. Raises ModelFileError, SettingsError."""
        settings = self._settings.current()
        configured = settings.role(role)
        known, spec = self._specs.get(role, (None, None))
        if spec is None or known != configured or not spec.header.is_of(spec.path):
            spec = resolve(settings, self._paths, role)
            self._specs[role] = configured, spec
        return spec

    def is_warm(self, role: Role) -> bool:
        loaded = self._registry.get(role)
        return loaded is not None and loaded.wanted == self.wanted(role)

    def of_role(self, role: Role, file: Path | None, now: Memory) -> Plan:
        """The plan of loading a role's model, or another file in its place; of a warm one as it is loaded."""
        settings = self._settings.current()
        if file is not None:
            return self.of_spec(resolve(settings, self._paths, role, file), now)
        if not self.is_warm(role):
            return self.of_spec(self.wanted(role), now)
        loaded = self._registry[role].spec
        as_it_is = replace(loaded, least_context=loaded.context_length, least_gpu_layers=loaded.gpu_layers)
        models = self._registry.warm_models(now)
        own, others = ([each for each in models if (each.role is role) is same] for same in (True, False))
        plan = self._planner.plan(as_it_is, settings.memory, now, own, others)
        reason = f"is warm with {loaded.context_length:,} tokens"
        return replace(plan, spec=loaded, fits=True, unload=(), reason=reason, hint="")

    def of_spec(self, spec: ModelSpec, now: Memory) -> Plan:
        """The plan of a spec, with the models to unload for it. Raises LoadFailedError, SettingsError.

        It unloads the fewest, and gives the spec as much context and as many layers as if all that may go went.
        """
        reserve, models = self._settings.current().memory, self._registry.warm_models(now)
        first = not models and self._setting is Policy.AUTO  # it reads no headers of other models
        if first or self.choose(now).policy is Policy.EXCLUSIVE:
            return self._planner.plan(spec, reserve, now, models)
        order = self.order_of_unloading()
        # A role has one model: the one before it goes, whatever fits.
        before = [each for each in models if each.role is spec.role]
        free = [each for role in order for each in models if each.role is role and each not in before]
        stay = [each for each in models if each.role not in order]

        def keeping(kept: Sequence[WarmModel], each: ModelSpec) -> Plan:
            gone = [model for model in free if model not in kept]
            return self._planner.plan(each, reserve, now, [*before, *gone], [*stay, *kept])

        most = keeping([], spec)
        if not most.fits:
            return most
        exact = replace(most.spec, least_context=most.spec.context_length, least_gpu_layers=most.spec.gpu_layers)
        kept = list[WarmModel]()
        for model in reversed(free):
            if keeping([*kept, model], exact).fits:
                kept.append(model)
        return replace(keeping(kept, exact), spec=most.spec, reason=most.reason)

    def order_of_unloading(self) -> list[Role]:
        """What is not leased: first the least recently used, then what the next job needs, and last what is pinned."""
        settings, soon = self._settings.usable(), self._next_roles()
        free = [role for role in self._registry.roles if role not in self._registry.leased]
        return sorted(free, key=lambda role: (settings.role(role).pinned, role in soon))

    def choose(self, now: Memory) -> PolicyChoice:
        """The policy that holds: the one before, its reason too, while it, the setting and the models are the same.

        A role whose file cannot be used does not count. Raises SettingsError.
        """
        setting, alone = self._setting, dict[Role, Plan]()
        if setting is Policy.AUTO:
            alone = self._alone(now)
            made = _fit_at_once(alone)
        else:
            made = PolicyChoice(setting, f'memory.policy is "{setting}"')
        chosen_for = (setting, made.policy, [self._specs[role][1] for role in alone])
        if self.choice is None or chosen_for != self._chosen_for:  # sizes change always
            self.choice, self._chosen_for = made, chosen_for
        return self.choice

    @property
    def undecided(self) -> bool:
        """Whether no policy was chosen for the present setting. Raises SettingsError."""
        return self._chosen_for[:1] != (self._setting,)

    @property
    def _setting(self) -> Policy:
        return self._settings.current().memory.policy

    def _alone(self, now: Memory) -> dict[Role, Plan]:
        """The plan of each configured role, if nothing else were loaded. One that cannot be used has none."""
        reserve, models = self._settings.current().memory, self._registry.warm_models(now)
        plans = {}
        for role in Role:
            try:
                plans[role] = self._planner.plan_alone(self.wanted(role), reserve, now, models)
            except CharlieError:  # it is reported where the role is wanted
                continue
        return plans


def _fit_at_once(alone: Mapping[Role, Plan]) -> PolicyChoice:
    """Fitting if the sum of the plans fits on each device, with the layers that each model would have alone."""
    for role, plan in alone.items():
        if not plan.fits:
            return PolicyChoice(Policy.EXCLUSIVE, f"the model of {role} does not fit even alone")
    if len(alone) < 2:
        return PolicyChoice(Policy.FITTING, "only one model is configured")
    names, free = " and ".join(alone), next(iter(alone.values())).available
    for device, available in free.items():
        needs = sum(plan.needed[device] for plan in alone.values())
        if needs > available:
            short = f"need {exact_size(needs)} of {device} together, and {exact_size(available)} are free"
            return PolicyChoice(Policy.EXCLUSIVE, f"{names} {short}")
    needs = sum(plan.needed[RAM] for plan in alone.values())
    reason = f"{names} fit at once: they need {exact_size(needs)} of RAM, and {exact_size(free[RAM])} are free"
    return PolicyChoice(Policy.FITTING, reason)
