"""`charlie graph`: the state graph, from the same table as the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, assert_never

import typer

if TYPE_CHECKING:
    from states.lifecycle import Phase

Format = Literal["mermaid", "dot", "svg", "png"]


def graph(
    form: Annotated[Format, typer.Option("--format", help="svg and png need Graphviz.")] = "mermaid",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Mark the present state.")] = False,
) -> None:
    """Export the state graph."""
    from core.errors import CharlieError

    if form == "png" and out is None and sys.stdout.isatty():
        raise CharlieError("A PNG is not text for a terminal.", "Name a file with --out.")
    picture = _draw(form, _present() if live else None)
    if out is None:
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise CharlieError(f"The file {out} cannot be written: {error.strerror}.", "Choose another.") from error


def _draw(form: Format, live: Phase | None) -> bytes:
    from states import diagram

    match form:
        case "mermaid":
            return diagram.mermaid(live).strip().encode() + b"\n"
        case "dot":
            return diagram.dot(live).strip().encode() + b"\n"
        case "svg" | "png":
            return diagram.render(live, form)
        case _:
            assert_never(form)


def _present() -> Phase:
    from app.commands.session import session
    from app.commands.status import present
    from states.lifecycle import Phase

    with session(worker=False) as running:
        return Phase(present(running).phase)
