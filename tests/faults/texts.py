"""Faults of the texts: two interfaces on one entry; a full disk and kill -9 in the editor, a backup and a rewriting."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from app.client import Client
from app.library_changes import delete_entry
from app.purge import purge
from core.database.rewrite import UNFINISHED
from core.database.server import APPEND_ONLY
from core.library.backup_export import UNFINISHED_FILE
from core.library.backup_format import LIBRARY_FILE
from core.library.backup_import import read_export
from core.library.backups import Backups, today
from core.library.records import Entry
from tests.e2e.processes import running_on, until
from tests.e2e.terminal import ENTER, F3, Terminal, ctrl
from tests.faults.files import UNMOUNTABLE, fill, small_disk
from tests.faults.outcome import RECOVERED_SECONDS, Fault, Outcome, TooLateError, too_slow
from tests.faults.stage import Stage, interface, kill, left_on, stage

HOME = "\x1b[H"
UNSAVED = "not saved yet"
FAILED = "Nothing can be saved now"
RESTORED = "Restored what was not saved"
LONG = "\n".join(f"Line {number} was typed while the disk was full." for number in range(1000))
"""More than fits into the rest of the file's last block."""
LONG_SECONDS = 60.0
EARLIER = "2024-01-31"
MANY = 3000
DELETED = "What was deleted for good."


def two_on_one_entry(home: Path) -> Outcome:
    """Both type at once: one text becomes a revision, and its writer is told."""
    with interface(home) as first, interface(home) as on:
        on.entries |= first.entries
        entry = on.save("Begun by hand.")
        terminals = [_open_newest(each, entry.title) for each in (first, on)]
        began = time.monotonic()
        for each, words in ((first, " Typed in the first."), (on, " Typed in the second.")):
            each.press(words)
        until(lambda: all(UNSAVED not in each.text for each in terminals) and len(_texts(on.client, entry.id)) > 2)
        back = time.monotonic() - began
        texts = _texts(on.client, entry.id)
        if any("first." in text and "second." in text for text in texts):
            raise TooLateError("one text was saved before the other was typed")
        until(lambda: any("was changed elsewhere too" in each.text for each in terminals))
        missed = [f"{words!r} is lost" for words in ("first.", "second.") if not any(words in text for text in texts)]
        on.entries[entry.id] = texts[0]
        entries = on.entries_lost()
        first.stop()
        on.stop()
    return Outcome("changed elsewhere too; both texts are kept", back, 0, entries, left_on(home), tuple(missed))


def two_on_one_entry_one_killed(home: Path) -> Outcome:
    """The one that owns the database is killed with unsaved text, which its next start saves, and keeps both."""
    with interface(home) as first, interface(home) as on:
        on.entries |= first.entries
        entry = on.save("Begun by hand.")
        for each in (first, on):
            _open_newest(each, entry.title)
        first.press(" Typed in the first.")
        until(lambda: any(b"in the first." in path.read_bytes() for path in on.client.paths.drafts.glob("*.json")))
        began = kill(first.pid)
        if any("first." in text for text in _texts(on.client, entry.id)):
            raise TooLateError("the text was saved before the kill")
        on.press(" Typed in the second.")
        until(lambda: len(_texts(on.client, entry.id)) > 1)
        back = time.monotonic() - began
        on.stop()
    left = left_on(home)
    with interface(home) as again:
        again.press(F3)
        saw = again.output.wait(RESTORED)[1]
        until(lambda: any("first." in text for text in _texts(again.client, entry.id)))
        texts = _texts(again.client, entry.id)
        missed = [] if any("second." in text for text in texts) else ["the other interface's text is lost"]
        again.entries |= on.entries | {entry.id: texts[0]}
        entries = again.entries_lost()
        again.stop()
    return Outcome(saw, back, 0, entries, (*left, *left_on(home)), tuple(missed))


def full_in_the_editor(home: Path, *, killed: bool) -> Outcome:
    """The interface says that the text is not saved, and saves it with room again, also after a kill."""
    data = home / "data" / "database"
    with small_disk(data) as mounted:
        if not mounted:
            return Outcome(UNMOUNTABLE, 0.0)
        with interface(home) as on:
            assert on.terminal is not None
            on.press(F3)
            on.output.wait("Filter…")
            on.press(ctrl("n"))
            ballast = fill(data)
            on.press(f"\x1b[200~{LONG}\x1b[201~")
            saw = on.output.wait(FAILED)[1]
            missed = [] if UNSAVED in on.terminal.text else ["the text is said to be saved"]
            if killed:
                kill(on.pid)
                left: tuple[str, ...] = left_on(home)
                ballast.unlink()
                began = time.monotonic()
            else:
                ballast.unlink()
                began = time.monotonic()
                until(lambda: _is_saved(on))
                back = time.monotonic() - began
                missed += too_slow("saving again", back, 2 * RECOVERED_SECONDS)  # it tries again after five seconds
                on.stop()
                left = left_on(home)
        begin = interface if killed else stage
        with begin(home) as again:
            again.entries |= on.entries
            if killed:
                again.press(F3)
                again.output.wait(RESTORED)
            until(lambda: _is_saved(again))
            if killed:
                back = time.monotonic() - began
            entries = again.entries_lost()
            again.stop()
    return Outcome(saw, back, 0, entries, (*left, *left_on(home)), tuple(missed))


def full_in_the_backup(home: Path) -> Outcome:
    """Charlie ends, and the earlier backup stays; with room again, the next end makes today's."""
    with small_disk(home / "data" / "backups") as mounted:
        if not mounted:
            return Outcome(UNMOUNTABLE, 0.0)
        with interface(home) as on:
            earlier = _earlier_backup(on)
            on.save("x" * 100_000)
            ballast = fill(on.client.paths.backups)
            on.stop()
        left, saw = left_on(home), _logged(on, "today's backup is missing")
        missed = [*_unfinished(on, today()), *([] if earlier() else ["the earlier backup was changed"])]
        ballast.unlink()
        return _backed_up(on, saw, left, missed)


def killed_in_the_backup(home: Path) -> Outcome:
    """The earlier backup stays; the next end makes today's, and leaves nothing unfinished."""
    with interface(home) as on:
        earlier = _earlier_backup(on)
        many = [Entry(f"entry-{number}", f"Text {number}.", 1.0, 1.0) for number in range(MANY)]
        on.client.journal.restore_entries(many)
        on.entries |= {entry.id: entry.text for entry in many}
        on.end()
        until(lambda: (on.client.paths.backups / today() / UNFINISHED_FILE).exists(), LONG_SECONDS)
        kill(on.pid)
        left = left_on(home)
    if today() in Backups(on.client.paths.backups).names():
        raise TooLateError("the backup was complete before the kill")
    missed = [] if earlier() else ["the earlier backup was changed"]
    return _backed_up(on, "it is gone", left, missed)


def _earlier_backup(on: Stage) -> Callable[[], bool]:
    """Makes a backup; returns whether it is still whole and the same."""
    Backups(on.client.paths.backups).make(on.client, EARLIER)
    file = on.client.paths.backups / EARLIER / LIBRARY_FILE
    data = file.read_bytes()
    return lambda: file.read_bytes() == data and bool(list(read_export(file.parent)))


def _unfinished(on: Stage, name: str) -> list[str]:
    return ["an unfinished backup was left"] if (on.client.paths.backups / name).exists() else []


def _backed_up(before: Stage, saw: str, left: tuple[str, ...], missed: list[str]) -> Outcome:
    """Starts and ends Charlie again, after which today's backup holds all entries."""
    began = time.monotonic()
    with interface(before.home) as on:
        usable = time.monotonic() - began
        on.entries |= before.entries
        entries = on.entries_lost()
        on.stop()
    folder = on.client.paths.backups / today()
    held = {each.id for each in read_export(folder) if isinstance(each, Entry)} if folder.exists() else set()
    if not on.entries.keys() <= held:
        missed.append(f"today's backup holds {len(held)} of {len(on.entries)} entries")
    if parts := list(folder.parent.rglob("*.part")):
        missed.append(f"{len(parts)} unfinished files were left")
    return Outcome(saw, usable, 0, entries, (*left, *left_on(before.home)), tuple(missed))


def full_in_the_rewriting(home: Path) -> Outcome:
    """Charlie ends with the old file whole; with room again, the next end removes what was deleted."""
    data = home / "data" / "database"
    with small_disk(data) as mounted:
        if not mounted:
            return Outcome(UNMOUNTABLE, 0.0)
        with interface(home) as on:
            on.save("x" * 500_000)
            _purge_one(on)
            ballast = fill(data)
            on.stop()
        left, saw = left_on(home), _logged(on, "could not be rewritten")
        ballast.unlink()
        return _removed(on, saw, left)


def killed_in_the_rewriting(home: Path) -> Outcome:
    """The server's copy of itself, which rewrites, ends when it notices that the server is gone."""
    with interface(home) as on:
        for _ in range(40):
            on.save("x" * 1_000_000)
        _purge_one(on)
        file = on.client.paths.database / APPEND_ONLY
        before = file.stat().st_ino
        on.end()
        until(lambda: any(on.client.paths.database.glob(UNFINISHED)), LONG_SECONDS)
        began = kill(on.pid)
        until(lambda: not running_on(home), LONG_SECONDS)
        saw = f"it is gone, and the database {time.monotonic() - began:.1f} s later"
    if file.stat().st_ino != before:
        raise TooLateError("the file was rewritten before the kill")
    return _removed(on, saw, ())


def _purge_one(on: Stage) -> None:
    entry = on.client.journal.new_entry(DELETED)
    delete_entry(on.client, entry.id)
    assert purge(on.client, [entry.id]).count == 1


def _removed(before: Stage, saw: str, left: tuple[str, ...]) -> Outcome:
    """Starts and ends Charlie again, after which no file holds the deleted text."""
    began = time.monotonic()
    with interface(before.home) as on:
        usable = time.monotonic() - began
        on.entries |= before.entries
        entries = on.entries_lost()
        on.stop()
    files = [path for path in before.home.rglob("*") if path.is_file() and path.name != "ballast"]
    missed = [f"{path.name} holds the deleted text" for path in files if DELETED.encode() in path.read_bytes()]
    missed += [f"{path.name} was left" for path in before.client.paths.database.glob(UNFINISHED)]
    return Outcome(saw, usable, 0, entries, (*left, *left_on(before.home)), tuple(missed))


def _logged(on: Stage, words: str) -> str:
    lines = [line for path in on.client.paths.logs.glob("*.log") for line in path.read_text().splitlines()]
    return next((line.partition("WARNING")[2].strip() for line in lines if words in line), "nothing")


def _is_saved(on: Stage) -> bool:
    return any(entry.text.strip() == LONG for entry in on.client.journal.entries())


def _open_newest(on: Stage, text: str) -> Terminal:
    """Opens the newest entry, with the cursor at its end."""
    assert on.terminal is not None
    terminal = on.terminal
    on.press(F3)
    until(lambda: "Filter…" in terminal.text and text in terminal.text)
    on.press(ctrl("b"))
    until(lambda: "d Delete" in terminal.text)
    on.press(HOME + ENTER)
    until(lambda: "d Delete" not in terminal.text and terminal.text.count(text) == 2)
    return terminal


def _texts(client: Client, id_: str) -> list[str]:
    """The present text of an entry, then its revisions."""
    return [client.journal.entry(id_).text, *(each.text for each in client.history.revisions(id_))]


FAULTS = [
    Fault("two interfaces on one entry", two_on_one_entry, quick=True),
    Fault("two interfaces on one entry: one SIGKILL with unsaved text", two_on_one_entry_one_killed),
    Fault("disk full in the editor", partial(full_in_the_editor, killed=False)),
    Fault("disk full in the editor, then SIGKILL", partial(full_in_the_editor, killed=True)),
    Fault("disk full in the daily backup", full_in_the_backup),
    Fault("SIGKILL in the daily backup", killed_in_the_backup),
    Fault("disk full in the rewriting of the database file", full_in_the_rewriting),
    Fault("SIGKILL in the rewriting of the database file", killed_in_the_rewriting),
]
