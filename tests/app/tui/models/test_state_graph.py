from __future__ import annotations

import pytest

from app.tui.models.state_graph import HEIGHT, ROUTES, WIDTH, draw, labels
from core.events.types import Phase, Snapshot, WarmRole
from states.lifecycle import TRANSITIONS

DRAWN = """\
           load [fits]     loaded, load_failed [others]
 ( Empty ) ──────────▶ ( Loading ) ────────────▶ ( Warm )
   ▲  ▲                      │ ▲                  │  ▲ │
   │  └─ load_failed [none] ─┘ └── load [fits] ───┘  │ │
   │          unloaded/unload_failed [others] ┌──────┘ │
   │                                          │        │ unload [not leased]
   └ unloaded/unload_failed [none] ─ ( Unloading ) ◀───┘"""


def plain(snapshot: Snapshot, last: tuple[Phase, Phase] | None = None) -> str:
    return "\n".join(line.rstrip() for line in draw(snapshot, last).plain.splitlines())


def test_every_declared_transition_is_drawn() -> None:
    assert set(ROUTES) == {(t.source, t.dest) for t in TRANSITIONS}
    text = plain(Snapshot())
    assert all(t.trigger in text for t in TRANSITIONS)
    for t in TRANSITIONS:
        label = labels()[t.source, t.dest]
        assert t.trigger in label
        assert ("[" in label) == any(other.guard for other in TRANSITIONS if other[1:3] == t[1:3])


def test_the_drawing_of_the_graph() -> None:
    assert plain(Snapshot(worker_lost=True)) == DRAWN


@pytest.mark.parametrize("phase", ["empty", "loading", "warm", "unloading"])
@pytest.mark.parametrize("role", ["instruct", "embedding", "reranker"])
def test_the_current_state_is_highlighted_and_the_graph_fits(phase: str, role: str) -> None:
    text = plain(Snapshot(phase=phase, role=role))  # type: ignore[arg-type]
    assert f"[ {phase.upper()}" in text
    assert (f"[ WARM {role} ]" in text) == (phase == "warm")
    assert len(text.splitlines()) == HEIGHT
    assert max(map(len, text.splitlines())) <= WIDTH


def test_several_warm_models_are_counted() -> None:
    warm = tuple(WarmRole(role, role) for role in ("embedding", "instruct"))
    text = plain(Snapshot(phase=Phase.WARM, role="instruct", model="instruct", warm=warm))
    assert "[ WARM 2 models ]" in text
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize("edge", list(ROUTES))
def test_the_last_edge_is_heavy(edge: tuple[Phase, Phase]) -> None:
    heavy = set("━┃┏┓┗┛")
    assert heavy & set(plain(Snapshot(), edge))
    assert not heavy & set(plain(Snapshot()))
