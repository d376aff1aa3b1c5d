"""Draws the state graph from the table of the machine."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from core.errors import CharlieError
from core.events.types import Phase
from states.lifecycle import TRANSITIONS

TITLE = "The lifecycle of the model"


def render(live: Phase | None, image: Literal["svg", "png"]) -> bytes:
    """The graph as an image. Raises CharlieError when Graphviz is not installed."""
    import graphviz

    try:
        picture: bytes = graphviz.Source(dot(live)).pipe(format=image)
    except graphviz.ExecutableNotFound as error:
        raise CharlieError(
            f"Graphviz is needed to draw {image}, and its `dot` was not found.",
            "Install the package graphviz of your system, or ask for --format mermaid or dot.",
        ) from error
    return picture


def _source(engine: Literal["mermaid", "graphviz"], live: Phase | None = None) -> str:
    """The graph with the state `live` marked."""
    from transitions.extensions import GraphMachine

    machine = GraphMachine(
        states=Phase,
        transitions=list(map(list, TRANSITIONS)),
        initial=Phase.EMPTY,
        auto_transitions=False,
        show_conditions=True,
        graph_engine=engine,
    )
    graph = machine.model_graphs[id(machine)]
    graph.reset_styling()
    if live is not None:
        graph.set_node_style(live, "active")
    drawn: Any = graph.get_graph(title=TITLE if engine == "graphviz" else f"title: {TITLE}")
    return str(drawn.source)


mermaid = partial(_source, "mermaid")
dot = partial(_source, "graphviz")
