"""`charlie journal`: adds, lists and searches entries, and asks them a question."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.ask import MaxTokens, Printer, Seed, Temperature, Think, sampling
from app.commands.library import records
from app.commands.output import AsJson, data, data_json, note, note_limits, table
from app.commands.session import read_text, session
from app.commands.text_editor import edited
from app.library_changes import delete_entry, new_entry, set_mood, write_entry
from core.errors import CharlieError
from core.figures import local_time
from core.library.records import Entry
from core.programs.feelings import MOODS
from core.text import one_line
from tasks.jobs.records import Hit, Hits, Piece

if TYPE_CHECKING:
    from app.commands.attach import Session

journal = typer.Typer(rich_markup_mode=None)

Limit = Annotated[int, typer.Option(min=1, max=100, help="The most entries to use.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is indexed.")]


@journal.command()
def add(
    text: Annotated[
        str | None, typer.Argument(help="The entry; `-` reads standard input. Without it, $EDITOR opens.")
    ] = None,
    no_wait: NoWait = False,
) -> None:
    """Save and index an entry, and print its id."""
    with ExitStack() as unsaved:
        if text is None and sys.stdin.isatty():
            with session(worker=False):
                pass  # the settings, the folders and the database can be used
            text = unsaved.enter_context(edited())
        text = read_text(text, "entry")
        with session(worker=not no_wait) as running:
            entry = new_entry(running.client, text)
            unsaved.close()
            data(entry.id)
            _index(running, entry, no_wait=no_wait)


@journal.command("list")
def list_entries(as_json: AsJson = False) -> None:
    """List the entries, newest first."""
    with session(worker=False) as running:
        entries = running.client.journal.entries()
    rows = ((entry.id, local_time(entry.created), entry.state.name.lower(), entry.title) for entry in entries)
    none = "There are no entries yet; `charlie journal add` saves one."
    found = [_record(entry) for entry in entries]
    records.print_list(found, ("ID", "WRITTEN", "STATE", "TITLE"), rows, none, as_json=as_json)


@journal.command()
def show(id_: records.Id, as_json: AsJson = False) -> None:
    """Print an entry's text."""
    with session(worker=False) as running:
        entry = records.find_entry(running.client, id_)
    if as_json:
        data_json(_record(entry))
    else:
        records.print_text(entry.text)


@journal.command()
def edit(
    id_: records.Id,
    text: Annotated[
        str | None, typer.Argument(help="The new text; `-` reads standard input. Without it, $EDITOR opens.")
    ] = None,
    no_wait: NoWait = False,
) -> None:
    """Change an entry's text and index it. The earlier text stays in its history."""
    with session(worker=False) as running:
        old = records.find_entry(running.client, id_)
    with ExitStack() as unsaved:
        by_hand = text is None and sys.stdin.isatty()
        text = unsaved.enter_context(edited(old.text)) if by_hand else read_text(text, "entry")
        if text == old.text:
            return note("The text is unchanged.")
        with session(worker=not no_wait) as running:
            entry = write_entry(running.client, old.id, text, old.revision)
            unsaved.close()
            note(f"{records.named([entry.title])} is saved.")
            if entry.revision > old.revision + 1:
                note(f"The entry was changed elsewhere too; `charlie journal history {old.id}` has the other text.")
            return _index(running, entry, no_wait=no_wait)


@journal.command()
def mood(
    id_: records.Id, mood: Annotated[str, typer.Argument(metavar="MOOD", help=f"One of {', '.join(MOODS)}.")]
) -> None:
    """Set an entry's mood. It stays, and teaches Charlie the moods of other entries."""
    if mood not in MOODS:
        raise CharlieError(f"{mood!r} is no mood.", f"Choose one of {', '.join(MOODS)}.")
    with session(worker=False) as running:
        entry = set_mood(running.client, records.find_entry(running.client, id_).id, mood)
    note(f"{records.named([entry.title])} is {mood}.")


@journal.command()
def delete(ids: records.Ids, yes: records.Yes = False) -> None:
    """Move entries to the trash, for 30 days."""
    with session(worker=False) as running:
        client = running.client
        records.delete_all(
            [records.find_entry(client, each) for each in ids], lambda id_: delete_entry(client, id_), yes=yes
        )


@journal.command()
def history(
    id_: records.Id,
    revision: records.Part = None,
    diff: records.Difference = False,
    restore: records.Restore = False,
    as_json: AsJson = False,
) -> None:
    """List the earlier texts of an entry, print one, or bring it back."""
    with session(worker=False) as running:
        entry = records.find_entry(running.client, id_)
        options = {"diff": diff, "restore": restore, "as_json": as_json}
        records.show_history(running.client, entry.id, lambda _: entry.text, revision, **options)


@journal.command()
def search(
    query: Annotated[str, typer.Argument(help="The query; `-` reads standard input.")],
    limit: Limit = 10,
    as_json: AsJson = False,
) -> None:
    """Find entries by words and by meaning, of the days that the query names (`last week`, `in March`).

    The default embedder knows the meaning of English only; words are found in any language with spaces between them.
    """
    found: list[Hit] = []

    def take(output: Piece) -> None:
        if isinstance(output, Hits):
            found[:] = output.hits

    query = read_text(query, "query")
    with session(worker=True) as running:
        result = running.follow(lambda: running.client.search(query, limit), take)
    if as_json:
        data_json({"query": query, "hits": [asdict(hit) for hit in found]})
        return
    if found:
        headings, *rows = table([("RELEVANCE", "SIMILARITY", "ID", "TITLE"), *map(_hit, found)]).splitlines()
        data(headings)
        for row, hit in zip(rows, found, strict=True):
            data(f"{row}\n    {one_line(hit.chunk[slice(*hit.mark)], 100)}")
    else:
        note("No entry was found.")
    if found and result["nothing_near"]:
        note("Not in your entries, as it seems; these are the nearest.")
    note_limits(result)


@journal.command("ask")
def ask_journal(
    question: Annotated[str, typer.Argument(help="The question; `-` reads standard input.")],
    limit: Limit = 5,
    as_json: AsJson = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    thinking: Think = None,
) -> None:
    """Ask a question; the answer cites its entries."""
    question = read_text(question, "question")
    options = sampling(max_tokens, temperature, seed)
    printer = Printer(silent=as_json)
    with session(worker=True) as running:
        result = running.follow(lambda: running.client.ask(question, limit, thinking=thinking, **options), printer.take)
    _show(result, printer, as_json=as_json)


@journal.command()
def reflect(as_json: AsJson = False) -> None:
    """Reflect on the last seven days: themes, a reflection and a question."""
    printer = Printer(silent=as_json)
    with session(worker=True) as running:
        result = running.follow(running.client.reflect, printer.take)
    _show(result, printer, as_json=as_json)


def _record(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, "title": entry.title} | asdict(entry)


def _index(running: Session, entry: Entry, *, no_wait: bool) -> None:
    job = running.client.ingest(entry)
    if no_wait:
        return
    try:
        note_limits(running.wait(job))
        if any(each.distress for each in running.client.journal.entries_of([entry.id])):
            note(running.client.settings.support.line)
    except KeyboardInterrupt:
        note("The entry is saved; the next worker indexes it.")
        raise
    except CharlieError as error:
        raise CharlieError(f"The entry is saved but not indexed: {error.message}", error.hint) from error


def _show(result: dict[str, Any], printer: Printer, *, as_json: bool) -> None:
    """Prints the citations and notes of a streamed answer."""
    if as_json:
        data_json(result)
        return
    printer.end()
    if result.get("nothing_near"):
        data("Only the nearest passages:")
    for citation in result.get("citations", ()):
        data(f"[{citation['number']}] {citation['title']}  ({citation['entry']})")
        if passage := citation.get("chunk"):
            data(f"    {one_line(passage[slice(*citation['mark'])], 100)}")
    note_limits(result)


def _hit(hit: Hit) -> tuple[str, ...]:
    relevance = "-" if hit.relevance is None else f"{hit.relevance:.2f}"
    return relevance, f"{hit.similarity:.2f}", hit.entry, hit.title
