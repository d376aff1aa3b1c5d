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

Beside = Callable[[ModelSpec, Sequence[WarmModel], Sequence[WarmModel]], Plan]
"""The plan of a spec, with the models to unload first, and those that stay."""


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
        """The plan of a spec, with the models to unload for it. Raises LoadFailedError, SettingsError."""
        reserve, models = self._settings.current().memory, self._registry.warm_models(now)
        if reserve.policy is not Policy.EXCLUSIVE and not models and not _has_choice(spec, now):
            return self._planner.plan(spec, reserve, now)
        alone = {} if reserve.policy is Policy.EXCLUSIVE else self._alone(now)
        if self._choose(alone).policy is Policy.EXCLUSIVE:
            return self._planner.plan(spec, reserve, now, models)
        order = self.order_of_unloading()
        # A role has one model: the one before it goes, whatever fits.
        before = [each for each in models if each.role is spec.role]
        free = [each for role in order for each in models if each.role is role and each not in before]
        stay = [each for each in models if each.role not in order]
        loaded = {spec.role, *(each.role for each in models)}
        absent = [WarmModel(role, 0, claims=plan.needed) for role, plan in alone.items() if role not in loaded]

        def beside(each: ModelSpec, unload: Sequence[WarmModel], kept: Sequence[WarmModel]) -> Plan:
            return self._planner.plan(each, reserve, now, [*before, *unload], [*stay, *kept])

        return _make_room(spec, beside, free, absent)

    def order_of_unloading(self) -> list[Role]:
        """What is not leased: first the least recently used, then what the next job needs, and last what is pinned."""
        settings, soon = self._settings.usable(), self._next_roles()
        free = [role for role in self._registry.roles if role not in self._registry.leased]
        return sorted(free, key=lambda role: (settings.role(role).pinned, role in soon))

    def choose(self, now: Memory) -> PolicyChoice:
        """The policy that holds. A role whose file cannot be used does not count. Raises SettingsError."""
        return self._choose(self._alone(now) if self._setting is Policy.AUTO else {})

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

    def _choose(self, alone: Mapping[Role, Plan]) -> PolicyChoice:
        """The choice before, its reason too, while policy, setting and models are the same: sizes change always."""
        setting = self._setting
        made = _fit_at_once(alone)
        if setting is not Policy.AUTO:
            made = PolicyChoice(setting, f'memory.policy is "{setting}"')
        chosen_for = (setting, made.policy, [plan.spec for plan in alone.values()])
        if self.choice is None or chosen_for != self._chosen_for:
            self.choice, self._chosen_for = made, chosen_for
        return self.choice


def _has_choice(spec: ModelSpec, now: Memory) -> bool:
    """Whether the plan may give a spec less, which other roles could use."""
    return spec.least_context < spec.context_length or (bool(now.devices) and spec.least_gpu_layers < spec.gpu_layers)


def _make_room(spec: ModelSpec, beside: Beside, free: Sequence[WarmModel], absent: Sequence[WarmModel]) -> Plan:
    """The plan that unloads the fewest of the `free` models, whose first ones go first.

    The spec gets as much context and as many layers as without any of these, but leaves room for `absent` roles.
    """
    most = beside(spec, free, absent)
    if not most.fits:
        most = beside(spec, free, ())
    if not most.fits:
        return most
    exact = replace(most.spec, least_context=most.spec.context_length, least_gpu_layers=most.spec.gpu_layers)
    kept = list[WarmModel]()
    for model in reversed(free):
        unload = [each for each in free if each is not model and each not in kept]
        if beside(exact, unload, [*kept, model]).fits:
            kept.append(model)
    made = beside(exact, [each for each in free if each not in kept], kept)
    return replace(made, spec=most.spec, reason=most.reason)


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
