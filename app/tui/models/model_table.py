"""The roles: model, architecture, memory needs and state of each."""

from __future__ import annotations

from typing import assert_never

from textual import events
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from app.model_facts import ModelFacts, UnusableModel, UsableModel
from app.tui.host import host
from app.tui.machine_view import MachineView
from app.tui.shared.phase_looks import PHASE_LOOKS
from core.errors import NoModelError
from core.events.types import JobChanged, JobKind, Phase
from core.figures import size
from core.roles import Role
from core.text import one_line

LONGEST = 300
LONGEST_NAME = 32
NAME_WIDTH = 11
STATE_WIDTH = 17
PADDING = 2


def row(role: Role, facts: ModelFacts | None, view: MachineView, failure: JobChanged | None, width: int) -> Content:
    """Two lines of `width` cells on one role, and more for an error or another loaded model."""
    room = max(width - NAME_WIDTH, NAME_WIDTH)
    name, notes = "", []
    match facts:
        case None:
            notes.append(Content.styled("reading the file …", "$foreground-muted"))
        case UsableModel():
            name = facts.spec.name
            notes.append(Content.styled(_about(facts, view, room), "$foreground-muted"))
            if _other_is_loaded(facts, view):
                notes.append(_other(role, view))
        case UnusableModel() if _is_none(facts):
            notes.append(Content.styled("optional, sorts found entries", "$foreground-muted"))
        case UnusableModel():
            notes.append(_error(facts.error.message, facts.error.hint))
        case _:
            assert_never(facts)
    if failure is not None and not (isinstance(facts, UnusableModel) and facts.error.message == failure.error):
        notes.append(_error(f"✕ {failure.error}", failure.hint))
    state, style = _state(role, facts, view)
    first = Content.assemble(
        (f"{role:<{NAME_WIDTH}}", "bold"),
        (f"{state:<{STATE_WIDTH}}", style),
        one_line(name, max(room - STATE_WIDTH, NAME_WIDTH)),
    )
    hanging = [Content.assemble(" " * NAME_WIDTH, line) for each in notes for line in each.wrap(room)]
    return Content("\n").join([first, *hanging])


def _error(message: str, hint: str) -> Content:
    return Content.assemble((one_line(message, LONGEST), "$text-error"), (f" {hint}", "$foreground-muted"))


def _is_none(facts: UnusableModel) -> bool:
    """Whether the role has no model, which is no error."""
    return isinstance(facts.error, NoModelError)


def _present(role: Role, view: MachineView) -> tuple[Phase, str]:
    """The phase of a role's model, and the name of the one that is loaded; Empty when none is."""
    snapshot = view.snapshot
    if snapshot.role == role and snapshot.phase in (Phase.LOADING, Phase.UNLOADING):
        return snapshot.phase, snapshot.model or ""
    return next(((Phase.WARM, each.model) for each in snapshot.warm if each.role == role), (Phase.EMPTY, ""))


def _other_is_loaded(facts: UsableModel, view: MachineView) -> bool:
    """Whether another model than the role's file is loaded, as after `charlie models use`."""
    phase, name = _present(facts.role, view)
    return phase is not Phase.EMPTY and name != facts.spec.name


def _other(role: Role, view: MachineView) -> Content:
    phase, name = _present(role, view)
    look = PHASE_LOOKS[phase]
    loaded = f"{look.symbol} {one_line(name, LONGEST_NAME)} is {look.word.lower()}"
    return Content.assemble((loaded, look.style), ("; this file from the next use on", "$foreground-muted"))


def _state(role: Role, facts: ModelFacts | None, view: MachineView) -> tuple[str, str]:
    pinned = " · pinned" if isinstance(facts, UsableModel) and facts.pinned else ""
    phase, _ = _present(role, view)
    if phase is not Phase.EMPTY and not (isinstance(facts, UsableModel) and _other_is_loaded(facts, view)):
        look = PHASE_LOOKS[phase]
        more = f" {view.fraction:.0%}" if phase is Phase.LOADING else pinned
        return f"{look.symbol} {look.word.lower()}{more}", look.style
    if isinstance(facts, UnusableModel):
        return ("  none", "$foreground-muted") if _is_none(facts) else ("✕ unusable", "$text-error")
    if not isinstance(facts, UsableModel) or view.memory is None:
        return "", ""
    if facts.planned(view.memory).fits:
        return f"  fits{pinned}", "$foreground-muted"
    return "! too large now", "$text-warning"


def _about(facts: UsableModel, view: MachineView, width: int) -> str:
    """As many facts as fit into `width` cells, the memory needs always."""
    header = facts.spec.header
    made = facts.planned(view.memory) if view.memory else None
    spec, needs = (made.spec, made.need) if made else (facts.spec, facts.needs)
    parts = [
        one_line(header.architecture, 24),
        f"{header.layers} layer" + ("s" if header.layers != 1 else ""),
        f"{spec.context_length:,} of {header.context_length:,} ctx",
        one_line(header.quantization, 12),
        size(header.file_bytes),
        f"needs {size(needs.ram)}" + (f" + {size(needs.vram)} VRAM" if needs.vram else ""),
    ]
    while len(text := " · ".join(parts)) > width and len(parts) > 1:
        del parts[-2]
    against = f" of {size(view.memory.available)} free" if view.memory and not needs.vram else ""
    return text + against if len(text + against) <= width else text


class ModelTable(OptionList):
    """One row for each role, one of them selected."""

    DEFAULT_CSS = """
    ModelTable, ModelTable:focus {
        height: auto; min-width: 20; border: none; padding: 0; background: transparent;
        .option-list--option { padding: 0 1; }
        .option-list--option-highlighted { background: $primary 25%; color: $foreground; text-style: none; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        self._facts: dict[Role, ModelFacts] = {}
        self._failures: dict[Role, JobChanged] = {}
        super().__init__(*[Option(f"{role}\n", id=role.value) for role in Role], id=id, markup=False)

    def on_mount(self) -> None:
        self.highlighted = 0
        self.watch(self.app, "view", self._draw)

    @property
    def selected(self) -> Role:
        return tuple(Role)[self.highlighted or 0]

    def facts(self, role: Role) -> ModelFacts | None:
        return self._facts.get(role)

    def set_facts(self, facts: tuple[ModelFacts, ...]) -> None:
        for each in facts:
            if each != self._facts.get(each.role):  # a failure belongs to the file before
                self._failures.pop(each.role, None)
        self._facts = {each.role: each for each in facts}
        self._draw()

    def handle_job(self, event: JobChanged) -> None:
        """Show the failure of a load in its role's row, until the next load."""
        if event.job is not JobKind.WARM or event.subject not in tuple(Role):
            return
        role = Role(event.subject)
        if event.state == "failed":
            self._failures[role] = event
        elif event.state in ("queued", "done"):
            self._failures.pop(role, None)
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Only select the row: the click of OptionList would also load its model."""
        event.prevent_default()
        clicked: int | None = event.style.meta.get("option")
        if clicked is not None:
            self.highlighted = clicked

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        view, width = host(self).view, self.scrollable_content_region.width - PADDING
        for role in Role:
            prompt = row(role, self._facts.get(role), view, self._failures.get(role), width)
            if self.get_option(role.value).prompt != prompt:
                self.replace_option_prompt(role.value, prompt)
