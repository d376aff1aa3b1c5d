"""`charlie graph`: exports the state graph from the machine's own table of transitions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, assert_never

import typer

from app.commands.ps import current_snapshot
from app.commands.session import session
from core.errors import CharlieError
from core.events.types import Phase
from states import diagram

Format = Literal["mermaid", "dot", "svg", "png"]


def graph(
    form: Annotated[Format, typer.Option("--format", help="svg and png need Graphviz.")] = "mermaid",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Mark the current state.")] = False,
) -> None:
    if form == "png" and out is None and sys.stdout.isatty():
        raise CharlieError("PNG output cannot be shown in a terminal.", "Name a file with --out.")
    phase = None
    if live:
        with session(worker=False) as running:
            phase = current_snapshot(running).phase
    picture = _draw(form, phase)
    if out is None:
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise CharlieError(f"The file {out} cannot be written: {error.strerror}.", "Choose another.") from error


def _draw(form: Format, live: Phase | None) -> bytes:
    match form:
        case "mermaid":
            return diagram.mermaid(live).strip().encode() + b"\n"
        case "dot":
            return diagram.dot(live).strip().encode() + b"\n"
        case "svg" | "png":
            return diagram.render(live, form)
        case _:
            assert_never(form)
