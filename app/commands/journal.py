"""`charlie journal`: add entries, list them, search them by meaning, ask them a question."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.ask import AsJson, MaxTokens, Printer, Seed, Temperature, given

if TYPE_CHECKING:
    from tasks.jobs import Hit, Hits, Text

journal = typer.Typer(help="Add journal entries, and find them again by meaning.", rich_markup_mode=None)

Limit = Annotated[int, typer.Option(min=1, max=100, help="At most so many entries.")]


@journal.command()
def add(
    text: Annotated[
        str | None, typer.Argument(help="The entry; `-` reads standard input; nothing opens $EDITOR.")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until it can be found.")] = False,
) -> None:
    """Save an entry, and print its id."""
    from app.commands.session import read_text, session, tell_about
    from app.output import data, talk
    from core.errors import CharlieError

    if text is None and sys.stdin.isatty():
        text = _edit()
    text = read_text(text, "entry")
    with session(worker=not no_wait) as running:
        entry = running.client.library.new_entry(text)
        data(entry.id)
        job = running.client.ingest(entry)
        if no_wait:
            return
        try:
            tell_about(running.wait(job))
        except KeyboardInterrupt:
            talk("The entry is saved; it is made findable the next time a worker is up.")
            raise
        except CharlieError as error:
            raise CharlieError(f"The entry is saved but cannot be found yet: {error.message}", error.hint) from error


@journal.command("list")
def list_entries(as_json: AsJson = False) -> None:
    """List the entries, the newest first."""
    from dataclasses import asdict
    from time import localtime, strftime

    from app.commands.session import session
    from app.output import data, data_json, table, talk

    with session(worker=False) as running:
        entries = running.client.library.entries()
    if as_json:
        data_json(
            [
                {"id": entry.id, "title": entry.title}
                | {key: value for key, value in asdict(entry).items() if key != "id"}
                for entry in entries
            ]
        )
    elif not entries:
        talk("There are no entries yet; `charlie journal add` writes one.")
    else:
        data(
            table(
                (entry.id, strftime("%Y-%m-%d %H:%M", localtime(entry.created)), entry.state, entry.title)
                for entry in entries
            )
        )


@journal.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for; `-` reads standard input.")],
    limit: Limit = 10,
    as_json: AsJson = False,
) -> None:
    """Find entries by meaning."""
    from dataclasses import asdict

    from app.commands.session import read_text, session, tell_about
    from app.output import data, data_json, talk
    from tasks.jobs import Hits

    found: list[Hit] = []

    def take(output: Text | Hits) -> None:
        if isinstance(output, Hits):
            found[:] = output.hits

    query = read_text(query, "query")
    with session(worker=True) as running:
        result = running.follow(lambda: running.client.search(query, limit), take)
    if as_json:
        data_json({"query": query, "hits": [asdict(hit) for hit in found]})
        return
    if not found:
        talk("No entry was found.")
    for hit in found:
        data(_hit(hit))
    tell_about(result)


@journal.command("ask")
def ask_journal(
    question: Annotated[str, typer.Argument(help="The question; `-` reads standard input.")],
    limit: Limit = 5,
    as_json: AsJson = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
) -> None:
    """Ask a question; the answer cites the entries that it comes from."""
    from app.commands.session import read_text, session

    question = read_text(question, "question")
    options = given(max_tokens, temperature, seed)
    printer = Printer(silent=as_json)
    with session(worker=True) as running:
        result = running.follow(lambda: running.client.ask(question, limit, **options), printer.take)
    _show(result, printer, as_json=as_json)


@journal.command()
def reflect(as_json: AsJson = False) -> None:
    """Look back on the entries of the last seven days: themes, a reflection and a question."""
    from app.commands.session import session

    printer = Printer(silent=as_json)
    with session(worker=True) as running:
        result = running.follow(running.client.reflect, printer.take)
    _show(result, printer, as_json=as_json)


def _show(result: dict[str, Any], printer: Printer, *, as_json: bool) -> None:
    """What is to be known of an answer that the printer has put out: the entries it is from, and the notes."""
    from app.commands.session import tell_about
    from app.output import data, data_json

    if as_json:
        data_json(result)
        return
    printer.end()
    for citation in result.get("citations", ()):
        data(f"[{citation['number']}] {citation['title']}  ({citation['entry']})")
    tell_about(result)


def _hit(hit: Hit) -> str:
    from core.text import one_line

    relevance = "" if hit.relevance is None else f"{hit.relevance:.2f}  "
    return f"{relevance}{hit.similarity:.2f}  {hit.entry}  {hit.title}\n    {one_line(hit.chunk, 100)}"


def _edit() -> str:
    """What the person writes in $VISUAL or $EDITOR."""
    import os
    import shlex
    import subprocess
    import tempfile
    from pathlib import Path

    from core.errors import CharlieError

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="charlie-") as folder:
        file = Path(folder) / "entry.md"
        file.touch(mode=0o600)
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise CharlieError(
                f"The editor {editor!r} failed: {error}.", "Set EDITOR, or give the text as an argument."
            ) from error
        return file.read_text("utf-8", "replace")
