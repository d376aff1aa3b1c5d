"""The state graph as text, from the table of transitions: the current state and the last edge are highlighted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from textual.content import Content
from textual.widget import Widget

from app.tui.host import host
from app.tui.machine_view import MachineView
from app.tui.shared.phase_looks import PHASE_LOOKS
from core.events.types import Phase, Snapshot
from core.text import one_line
from states.lifecycle import TRANSITIONS

WIDTH, HEIGHT = 76, 7
Point = tuple[int, int]
Edge = tuple[Phase, Phase]

PLACES: dict[Phase, Point] = {
    Phase.EMPTY: (1, 1),
    Phase.LOADING: (23, 1),
    Phase.WARM: (49, 1),
    Phase.UNLOADING: (37, 6),
}
"""Column and row of each node's text."""


@dataclass(frozen=True, slots=True)
class Route:
    """An edge's corners from start to head, its arrow head, and the place of its label."""

    corners: tuple[Point, ...]
    head: str
    label: Point


ROUTES: dict[Edge, Route] = {
    (Phase.EMPTY, Phase.LOADING): Route(((11, 1), (21, 1)), "▶", (11, 0)),
    (Phase.LOADING, Phase.WARM): Route(((35, 1), (47, 1)), "▶", (27, 0)),
    (Phase.LOADING, Phase.EMPTY): Route(((29, 2), (29, 3), (6, 3), (6, 2)), "▲", (8, 3)),
    (Phase.WARM, Phase.LOADING): Route(((50, 2), (50, 3), (31, 3), (31, 2)), "▲", (34, 3)),
    (Phase.WARM, Phase.UNLOADING): Route(((55, 2), (55, 6), (51, 6)), "◀", (57, 5)),
    (Phase.UNLOADING, Phase.WARM): Route(((46, 5), (46, 4), (53, 4), (53, 2)), "▲", (14, 4)),
    (Phase.UNLOADING, Phase.EMPTY): Route(((35, 6), (3, 6), (3, 2)), "▲", (4, 6)),
}
LIGHT = {"h": "─", "v": "│", "ul": "┘", "ur": "└", "dl": "┐", "dr": "┌"}
HEAVY = {"h": "━", "v": "┃", "ul": "┛", "ur": "┗", "dl": "┓", "dr": "┏"}


def labels() -> dict[Edge, str]:
    """The label of each edge: its triggers, and the guard of those before it."""
    named: dict[Edge, dict[str | None, list[str]]] = {}
    for t in TRANSITIONS:
        named.setdefault((t.source, t.dest), {}).setdefault(t.guard, []).append(t.trigger)
    return {edge: ", ".join(_label(*each) for each in by_guard.items()) for edge, by_guard in named.items()}


def _label(guard: str | None, triggers: list[str]) -> str:
    words = f" [{guard.removesuffix('_loaded').replace('_', ' ')}]" if guard else ""
    return "/".join(triggers) + words


def draw(snapshot: Snapshot, last: Edge | None) -> Content:
    """The graph of the machine, WIDTH by HEIGHT cells."""
    cells: dict[Point, tuple[str, str]] = {}

    def write(at: Point, text: str, style: str) -> None:
        cells.update({(at[0] + offset, at[1]): (character, style) for offset, character in enumerate(text)})

    for edge, label in labels().items():
        route = ROUTES[edge]
        heavy = edge == last
        style = "bold $text-accent" if heavy else "$foreground-muted"
        for point, character in _line(route, HEAVY if heavy else LIGHT):
            write(point, character, style)
        on_line = route.label in {point for point, _ in _line(route, LIGHT)}
        write(route.label, f" {label} " if on_line else label, style)
    for phase, place in PLACES.items():
        write(place, *_node(phase, snapshot))
    rows = ([cells.get((x, y), (" ", "")) for x in range(WIDTH)] for y in range(HEIGHT))
    return Content("\n").join([Content.assemble(*row) for row in rows])


def _node(phase: Phase, snapshot: Snapshot) -> tuple[str, str]:
    if snapshot.worker_lost or snapshot.phase != phase.value:
        return f"( {phase.name.capitalize()} )", "$foreground"
    count = len(snapshot.warm)
    what = f" {count} models" if count > 1 else f" {snapshot.role}" if snapshot.role else ""
    return f"[ {phase.name}{what if phase is Phase.WARM else ''} ]", f"{PHASE_LOOKS[snapshot.phase].style} reverse"


def _line(route: Route, strokes: dict[str, str]) -> Iterator[tuple[Point, str]]:
    """The cells of a route with their characters, the arrow head last."""
    corners = route.corners
    for before, after in pairwise(corners):
        (x, y), (to_x, to_y) = before, after
        step = ((to_x > x) - (to_x < x), (to_y > y) - (to_y < y))
        while (x, y) != after:
            yield (x, y), strokes["h" if step[0] else "v"]
            x, y = x + step[0], y + step[1]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        yield corner, strokes[_turn(before, corner, after)]
    yield corners[-1], route.head


def _turn(before: Point, corner: Point, after: Point) -> str:
    ends = (before, after)
    vertical = "d" if any(y > corner[1] for _, y in ends) else "u"
    return vertical + ("r" if any(x > corner[0] for x, _ in ends) else "l")


class StateGraph(Widget):
    """The graph, and the policy below it. Redraws when the app's MachineView changes."""

    DEFAULT_CSS = f"StateGraph {{ width: {WIDTH}; height: auto; min-height: {HEIGHT + 1}; }}"

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._show, init=False)

    def _show(self, old: MachineView, new: MachineView) -> None:
        if (old.snapshot, old.last) != (new.snapshot, new.last):
            self.refresh(layout=old.snapshot.policy_reason != new.snapshot.policy_reason)

    def render(self) -> Content:
        view = host(self).view
        last = (Phase(view.last.source), Phase(view.last.to)) if view.last else None
        snapshot = view.snapshot
        policy = one_line(f"{snapshot.policy}: {snapshot.policy_reason}" if snapshot.policy else "", 2 * WIDTH)
        below = Content.styled(policy, "$foreground-muted").wrap(WIDTH - 1)
        return Content("\n").join([draw(snapshot, last), *(Content.assemble(" ", line) for line in below)])
