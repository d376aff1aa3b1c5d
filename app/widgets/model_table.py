"""The roles: which file, what it is, what it needs, and what state it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never, cast

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from app.model_facts import Broken, Facts, Known
from app.widgets.figures import gigabytes, size
from app.widgets.phases import LOOKS
from core.events import JobChanged
from core.settings import Role
from core.text import one_line
from states.room import fits

if TYPE_CHECKING:
    from app.model_state import MachineView
    from app.tui import CharlieApp

LONGEST = 300
NAME_WIDTH = 11
STATE_WIDTH = 16


def row(role: Role, facts: Facts | None, view: MachineView, failure: JobChanged | None, width: int) -> Content:
    """Two lines of `width` cells on one role, and a third where its last warming failed."""
    match facts:
        case None:
            file, about = "", [("reading the file …", "$foreground-muted")]
        case Known():
            file = facts.spec.path.name
            about = [(_about(facts, view, width - NAME_WIDTH), "$foreground-muted")]
        case Broken():
            file = ""
            about = [
                (one_line(facts.error.message, LONGEST), "$text-error"),
                (f" {facts.error.hint}", "$foreground-muted"),
            ]
        case _:
            assert_never(facts)
    state, style = _state(role, facts, view)
    lines = [
        Content.assemble((f"{role:<{NAME_WIDTH}}", "bold"), (f"{state:<{STATE_WIDTH}}", style), one_line(file, 60)),
        Content.assemble(" " * NAME_WIDTH, *about),
    ]
    if failure is not None:
        error = one_line(f"{failure.error} {failure.hint}", LONGEST)
        lines.append(Content.assemble(" " * NAME_WIDTH, (f"✕ {error}", "$text-error")))
    return Content("\n").join(lines)


def _state(role: Role, facts: Facts | None, view: MachineView) -> tuple[str, str]:
    snapshot = view.snapshot
    if snapshot.role == role and snapshot.phase != "empty":
        look = LOOKS[snapshot.phase]
        percent = f" {view.fraction:.0%}" if snapshot.phase == "loading" else ""
        return f"{look.symbol} {look.word.lower()}{percent}", look.style
    if isinstance(facts, Broken):
        return "✕ unusable", "$text-error"
    if not isinstance(facts, Known) or view.memory is None:
        return "", ""
    if fits(facts.needs, view.memory, facts.reserve):
        return "  fits", "$foreground-muted"
    return "! too large now", "$text-warning"


def _about(facts: Known, view: MachineView, width: int) -> str:
    header, needs = facts.spec.header, facts.needs
    parts = [
        one_line(header.architecture, 24),
        f"{header.layers} layer" + ("s" if header.layers != 1 else ""),
        f"{facts.spec.context_length:,} of {header.context_length:,} ctx",
        one_line(header.quantization, 12),
        size(header.file_bytes),
        f"needs {size(needs.ram)}" + (f" + {size(needs.vram)} VRAM" if needs.vram else ""),
    ]
    text = " · ".join(parts)
    against = f" of {gigabytes(view.memory.available)} GB free" if view.memory and not needs.vram else ""
    return text + against if len(text + against) <= width else one_line(text, width)


class ModelTable(OptionList):
    """Three rows to choose from."""

    DEFAULT_CSS = """
    ModelTable, ModelTable:focus {
        height: auto; border: none; padding: 0; background: transparent;
        .option-list--option { padding: 0 1; }
        .option-list--option-highlighted { background: $primary 25%; color: $foreground; text-style: none; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        self._facts: dict[Role, Facts] = {}
        self._failures: dict[Role, JobChanged] = {}
        super().__init__(*[Option(f"{role}\n", id=role.value) for role in Role], id=id, markup=False)

    def on_mount(self) -> None:
        self.highlighted = 0
        self.watch(self.app, "view", self._show)

    @property
    def selected(self) -> Role:
        return tuple(Role)[self.highlighted or 0]

    def facts(self, role: Role) -> Facts | None:
        return self._facts.get(role)

    def tell(self, facts: tuple[Facts, ...]) -> None:
        self._facts = {each.role: each for each in facts}
        self._draw()

    def job(self, event: JobChanged) -> None:
        """Keep the failure of a warming beside what it is about, until the next one."""
        if event.job != "warm" or event.subject not in tuple(Role):
            return
        role = Role(event.subject)
        if event.state == "failed":
            self._failures[role] = event
        elif event.state in ("queued", "done"):
            self._failures.pop(role, None)
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _show(self, _: MachineView) -> None:
        self._draw()

    def _draw(self) -> None:
        view, width = cast("CharlieApp", self.app).view, self.content_size.width
        for role in Role:
            prompt = row(role, self._facts.get(role), view, self._failures.get(role), width)
            if self.get_option(role.value).prompt != prompt:
                self.replace_option_prompt(role.value, prompt)
