"""Faults of size: a long queue, a journal and a conversation of years, one huge entry, while the user types."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

from app.client import Client
from app.tui.chat.transcript import EARLIER_TURNS, LATEST_TURNS
from core.database.keys import INDEXES
from core.events.types import JobState
from core.library.records import Entry, StoredMessage
from core.library.vectors import Quantized, stored_vectors
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tests.app.commands.charlie import Ended, charlie
from tests.e2e.processes import until
from tests.e2e.terminal import ENTER, F3, ctrl
from tests.faults import phases
from tests.faults.outcome import STOPPED_SECONDS, Fault, Outcome, too_slow
from tests.faults.stage import Stage, interface, left_on, stage
from tests.waiting import ended

LONG_QUEUE = 10_000
KEY_SECONDS = 0.2
"""A pressed key shows on the screen within this time."""
COMMAND_SECONDS = 2.0
START_SECONDS = 10.0
FILTER_SECONDS = 3.0
KEYS = "quick brown fox"
LONG_JOURNAL = 100_000
NEEDLE = "A needle in the hay."
RESULTS = 10
LONG_CONVERSATION = 2_000
ROLES: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")
HUGE = 5_000_000
BUSY_KEY_SECONDS = 0.4
"""While a thousand jobs a second are queued, each with an event."""
HUGE_KEY_SECONDS = 0.4
"""Each key joins the whole text from its lines."""
LARGE_IMPORT = 10_000
DOWN, CTRL_HOME = "\x1b[B", "\x1b[1;5H"
MEMORY_BYTES = 50_000_000
"""Bytes that the interface may take for a journal of any length."""


def keys_answered(on: Stage, keys: str = KEYS, *, clear: bool = True) -> float:
    """Seconds from key press to screen for the slowest key; `clear` deletes the typed text afterwards."""
    slowest, typed = 0.0, ""
    for key in keys:
        typed += key
        began = time.monotonic()
        on.press(key)
        if key != " ":
            slowest = max(slowest, on.output.wait(typed, began)[0])
    if clear:
        on.press("\x7f" * len(keys))
    return slowest


def long_queue(home: Path) -> Outcome:
    """Another process queues 10,000 jobs while one reply streams and one waits; then one job is cancelled."""
    with interface(home) as on:
        phases.decoding(on)
        began = time.monotonic()
        on.press("first\r")
        on.output.wait(f"waiting · {len(on.jobs)} ahead", began)
        began = time.monotonic()
        filling = subprocess.Popen([sys.executable, "-c", f"from {__name__} import fill; fill()"])
        during = 0.0
        while filling.poll() is None:
            during = max(during, keys_answered(on))
        filled = time.monotonic() - began
        jobs = [each.job.id for each in on.client.queue()]
        after = keys_answered(on)
        on.press("last\r")
        on.output.wait(f"waiting · {LONG_QUEUE + len(on.jobs) + 1} ahead")
        began = time.monotonic()
        listed = charlie(home, "ps")
        ps = time.monotonic() - began
        began = time.monotonic()
        on.client.cancel(jobs[len(jobs) // 2])
        cancelled = time.monotonic() - began
        missed = [
            *too_slow("a key while it was filled", during, BUSY_KEY_SECONDS),
            *too_slow("a key", after, KEY_SECONDS),
            *too_slow("`charlie ps`", ps, COMMAND_SECONDS),
            *too_slow("cancelling", cancelled, KEY_SECONDS),
        ]
        if (length := f"{LONG_QUEUE + len(on.jobs) + 2:,} jobs") not in listed.out:
            missed.append(f"`charlie ps` did not show a queue of {length}")
        if on.client.jobs.get(jobs[len(jobs) // 2]).state is not JobState.CANCELLED:
            missed.append("a waiting job was not cancelled")
        on.stop()
    saw = (
        f"{LONG_QUEUE:,} jobs queued in {filled:.1f} s; slowest key {during * 1000:.0f} ms during that, "
        f"{after * 1000:.0f} ms after; `charlie ps` {ps:.1f} s"
    )
    return Outcome(saw, 0.0, left=left_on(home), missed=tuple(missed))


def fill() -> None:
    """Runs in a process of its own, since the measuring process is busy."""
    client = Client(load_settings(), find_paths())
    try:
        for _ in range(LONG_QUEUE):
            client.warm(Role.EMBEDDING)
    finally:
        client.close()


def long_journal(home: Path) -> Outcome:
    """Starts the interface on 100,000 indexed entries, filters them and searches them."""
    with stage(home) as on:
        assert ended(on.client.jobs, on.client.ingest(on.save(NEEDLE)).id).state is JobState.DONE
        _write_journal(on.client)
        on.stop()
    began = time.monotonic()
    with interface(home) as on:
        keys = keys_answered(on)
        started = time.monotonic() - began
        before = psutil.Process(on.pid).memory_info().rss
        opened = _pressed(on, F3, "Entry 99999")
        keys = max(keys, keys_answered(on))
        on.press(ctrl("f"))
        began = time.monotonic()
        keys = max(keys, keys_answered(on, "needle", clear=False))
        filtered = on.output.wait("\u00a0A needle in", began)[0]
        taken = psutil.Process(on.pid).memory_info().rss - before
        searched = _pressed(on, ENTER, f"{RESULTS} found")
        again = _timed(lambda: charlie(home, "journal", "search", "needle"))
        listed = _timed(lambda: charlie(home, "journal", "list"))
        on.stop()
    missed = [
        *too_slow("a key", keys, KEY_SECONDS),
        *too_slow("the start", started, START_SECONDS),
        *too_slow("opening the journal", opened, 1.0),
        *too_slow("filtering", filtered, FILTER_SECONDS),
    ]
    if taken > MEMORY_BYTES:
        missed.append(f"the interface took {taken / 1e6:.0f} MB more")
    saw = (
        f"start to the prompt {started:.1f} s, journal opened in {opened:.2f} s, filtered in {filtered:.1f} s, "
        f"searched in {searched:.1f} s, by a command {again:.1f} s; `charlie journal list` {listed:.1f} s; "
        f"slowest key {keys * 1000:.0f} ms; {taken / 1e6:.0f} MB more"
    )
    return Outcome(saw, started, left=left_on(home), missed=tuple(missed))


def _write_journal(client: Client) -> None:
    """Adds entries newer than the present one, each with a copy of its vector plus noise."""
    (key,) = (key for key in client.redis.smembers(INDEXES) if ":vectors:" in key)
    (vector,) = client._raw.hvals(key)
    similar = stored_vectors(vector, len(vector) // 4 * 4 - 4)[0]
    random, now = np.random.default_rng(0), time.time()
    for start in range(0, LONG_JOURNAL, 1000):
        numbers = range(start, start + 1000)
        entries = [_entry_of(number, now + number / 1000) for number in numbers]
        client.journal.restore_entries(entries)
        turned = similar + random.normal(0, 0.05, (1000, len(similar)))
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        rows = zip(entries, turned.astype(np.float32), strict=True)
        with client._raw.pipeline(transaction=False) as pipe:
            pipe.hset(key, mapping={entry.id: Quantized.of(row[None]).record() for entry, row in rows})
            pipe.execute()


def _entry_of(number: int, at: float) -> Entry:
    return Entry(f"{number:014x}", f"Entry {number}\n{'It rained, and we stayed at home. ' * 10}", at, at)


def _pressed(on: Stage, key: str, text: str) -> float:
    began = time.monotonic()
    on.press(key)
    return on.output.wait(text, began)[0]


def _timed(call: Callable[[], Ended]) -> float:
    began = time.monotonic()
    assert call().code == 0
    return time.monotonic() - began


def long_conversation(home: Path) -> Outcome:
    """Opens a conversation of 2,000 turns, scrolls up in it, and asks one more question."""
    with stage(home) as on:
        conversation = on.client.conversations.new_conversation("Years")
        on.client.conversations.restore_conversation(
            replace(conversation, updated=conversation.updated + 1),
            [StoredMessage(f"{number:014x}", ROLES[number % 2], _turn(number)) for number in range(LONG_CONVERSATION)],
        )
        on.stop()
    began = time.monotonic()
    with interface(home, CHARLIE_INSTRUCT__CONTEXT_LENGTH="2048", CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS="3") as on:
        on.output.wait(f"Turn {LONG_CONVERSATION - 1}.", began)
        started = time.monotonic() - began
        keys = keys_answered(on)
        scrolled = 0.0
        for earlier in range(
            LONG_CONVERSATION - LATEST_TURNS - EARLIER_TURNS,
            LONG_CONVERSATION - LATEST_TURNS - 4 * EARLIER_TURNS,
            -EARLIER_TURNS,
        ):
            scrolled = max(scrolled, _pressed(on, CTRL_HOME, f"{earlier:,} earlier turns"))
        keys = max(keys, keys_answered(on))
        answered = _timed_until(lambda: on.press("And now?\r"), lambda: _answered(on, conversation.id))
        on.stop()
    missed = [
        *too_slow("a key", keys, KEY_SECONDS),
        *too_slow("the start", started, START_SECONDS),
        *too_slow("a step upwards", scrolled, 1.0),
    ]
    saw = (
        f"opened {started:.1f} s after the start; {scrolled:.2f} s for {EARLIER_TURNS} earlier turns; "
        f"answered in {answered:.1f} s; slowest key {keys * 1000:.0f} ms"
    )
    return Outcome(saw, started, left=left_on(home), missed=tuple(missed))


def _answered(on: Stage, conversation: str) -> bool:
    job = on.client.jobs.find(on.client.conversations.messages(conversation)[-1].id)
    return job is not None and job.state is JobState.DONE


def _turn(number: int) -> str:
    return f"Turn {number}. {'Some words of it, and some more. ' * 5}"


def _timed_until(act: Callable[[], object], seen: Callable[[], bool]) -> float:
    began = time.monotonic()
    act()
    until(seen)
    return time.monotonic() - began


def huge_entry(home: Path) -> Outcome:
    """An entry of 5 MB is added by a command, opened and changed in the editor, and its ingestion is stopped."""
    text = "".join(f"Line {number} of a very long day, on which it rained.\n" for number in range(HUGE // 50))
    added = _timed(lambda: charlie(home, "journal", "add", "-", "--no-wait", stdin=text))
    with interface(home) as on:
        _pressed(on, F3, "Line 0 of")
        on.press(ctrl("b"))
        opened = _pressed(on, f"{DOWN}{DOWN}{ENTER}", f"Line {HUGE // 50 - 1} of")
        keys = keys_answered(on)
        on.press(f"{CTRL_HOME}kept ")
        saved = _timed_until(lambda: None, lambda: any(e.text.startswith("kept ") for e in on.client.journal.entries()))
        until(lambda: on.client.depth()[1] is not None)
        job = on.client.queue()[0].job
        keys = max(keys, keys_answered(on))
        began = time.monotonic()
        on.client.cancel(job.id)
        assert ended(on.client.jobs, job.id).state is JobState.CANCELLED
        stopped = time.monotonic() - began
        keys = max(keys, keys_answered(on))
        on.stop()
    missed = [
        *too_slow("a key", keys, HUGE_KEY_SECONDS),
        *too_slow("opening it", opened, 3.0),
        *too_slow("saving it", saved, 3.0),
        *too_slow("stopping its ingestion", stopped, STOPPED_SECONDS),
    ]
    saw = (
        f"added in {added:.1f} s, opened in {opened:.1f} s, saved {saved:.1f} s after it was changed, its ingestion "
        f"stopped in {stopped:.2f} s; slowest key {keys * 1000:.0f} ms"
    )
    return Outcome(saw, 0.0, left=left_on(home), missed=tuple(missed))


def large_import(home: Path) -> Outcome:
    """Imports 10,000 entries, twice; the second import adds none."""
    folder = home / "export"
    with stage(home) as on:
        now = time.time()
        for start in range(0, LARGE_IMPORT, 1000):
            on.client.journal.restore_entries([_entry_of(number, now) for number in range(start, start + 1000)])
        assert charlie(home, "export", str(folder)).code == 0
        for id_ in on.client.journal.entry_ids():
            on.client.journal.delete_entry(id_)
        first = _timed(lambda: charlie(home, "import", str(folder)))
        once = len(on.client.journal.entries())
        second = _timed(lambda: charlie(home, "import", str(folder)))
        twice = len(on.client.journal.entries())
        on.stop()
    missed = [] if once == twice == LARGE_IMPORT + 1 else [f"{once:,} entries after one import, {twice:,} after two"]
    saw = f"imported in {first:.1f} s, a second time in {second:.1f} s; {twice:,} entries"
    return Outcome(saw, 0.0, left=left_on(home), missed=tuple(missed))


FAULTS = [
    Fault("100,000 journal entries", long_journal),
    Fault("an entry of 5 MB", huge_entry),
    Fault("a conversation of 2,000 turns", long_conversation),
    Fault("import of 10,000 entries, twice", large_import),
    Fault("10,000 jobs in the queue", long_queue),
]
