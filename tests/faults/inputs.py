"""Hundreds of bad inputs: queue messages, model headers, compiled programs, texts with terminal control sequences."""

from __future__ import annotations

import base64
import json
import pickle
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import CharlieError
from core.events.types import JobState
from core.library.records import StoredMessage
from core.programs.saved import load_program, save_program
from core.programs.signatures import recall_program
from core.roles import Role
from tests.app.commands.charlie import charlie
from tests.compiled import run_of
from tests.damaged import KINDS, damaged_headers, write_whole
from tests.e2e.processes import until
from tests.e2e.terminal import ENTER, F3
from tests.faults.outcome import Fault, Outcome
from tests.faults.stage import interface, left_on, stage
from tests.tiny_models import tiny_models
from tests.waiting import ended

MESSAGES = 400
HEADERS = 350
"""For each of the six kinds of model file."""
PROGRAMS = 600
MODEL = "0123456789abcdef-01234567-tiny"
CONTROL_SEQUENCES = (
    "\x1b]0;gotcha\x07", "\x1b]52;c;Z290Y2hh\x07", "\x1b[2J\x1b[31mred", "\x9b31mgotcha", "\x1b]8;;http://a.invalid\x1b\\",
    "\x1bPgotcha\x1b\\", "\x1b[?1049lgotcha", "\x1b[6n", "\u202egotcha", "\x07\x08gotcha",
)  # fmt: skip
MARKUP = ("[red]gotcha[/red]", "[/]", "[bold", "[@click=app.quit]gotcha[/]", "[link=http://a.invalid]x[/link]", "]] [[")


def messages(home: Path) -> Outcome:
    """Each is refused and counted; the worker lives on, and the jobs before and behind them are done."""
    with stage(home) as on:
        on.track(on.client.warm(Role.EMBEDDING))
        ended(on.client.jobs, on.jobs[0].id)
        worker, storage = on.worker(), on.client._queue.storage
        on.queue_more()
        began = time.monotonic()
        storage.conn.lpush(storage.queue_key, *_bad_messages(random.Random(1)))
        on.queue_more()
        missed = [*on.wait_for_jobs(), *on.broken_promises()]
        usable = time.monotonic() - began
        if on.client.refused()[0] != MESSAGES:
            missed.append(f"{on.client.refused()[0]} of {MESSAGES} were counted")
        if on.worker() != worker:
            missed.append("the worker was restarted")
        saw = next(line for line in charlie(home, "ps").out.splitlines() if line.startswith("refused"))
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        return Outcome(" ".join(saw.split()), usable, jobs, entries, left_on(home), tuple(missed), MESSAGES)


def _bad_messages(dice: random.Random) -> Iterator[bytes]:
    """Damaged in a byte, cut off, with a field of another type, or pickles."""
    whole: dict[str, Any] = {"id": "nobody", "name": "tasks.queue.unload", "args": ["nobody"], "eta": None}
    data = json.dumps(whole).encode()
    others: tuple[Any, ...] = (
        None,
        True,
        7,
        1e999,
        float("nan"),
        [],
        {},
        [[]],
        "\ud800",
        "x" * 100_000,
        "2020-01-01T00:00:00+00:00",
    )
    for number in range(MESSAGES):
        match number % 5:
            case 0:
                yield data[: dice.randrange(len(data))]
            case 1:
                at = dice.randrange(len(data))
                yield data[:at] + bytes([128 + dice.randrange(128)]) + data[at + 1 :]
            case 2:
                key = dice.choice(["id", "name", "args"])
                yield json.dumps(whole | {key: dice.choice(others)}).encode()
            case 3:
                pickled = pickle.dumps(whole | {"number": number})
                yield dice.choice([pickled, base64.b64encode(pickled)])
            case _:
                yield dice.randbytes(dice.randrange(1, 5_000))


def headers(home: Path) -> Outcome:
    """Each gives a header with known memory needs, or an error of one sentence; any other outcome raises here."""
    began = time.monotonic()
    files = [write_whole(home / f"{kind}.gguf", kind, tiny_models()) for kind in KINDS]
    outcomes = [each for file in files for each in damaged_headers(file, HEADERS)]
    saw = f"one of {len(set(outcomes)):,} sentences for each, such as: {outcomes[-1].replace(f'{home}/', '')}"
    usable = (time.monotonic() - began) / len(outcomes)
    return Outcome(saw, usable, left=left_on(home), inputs=len(outcomes))


def programs(home: Path) -> Outcome:
    """Each is refused in one sentence and changes nothing, or sets instructions and demos only."""
    path, dice, missed, refused = home / "recall.json", random.Random(2), list[str](), 0
    saved = recall_program()
    save_program(path, saved, run_of("recall", MODEL))
    data = path.read_bytes()
    program, last = recall_program(), ""
    fresh = vars(program.predict).copy()
    began = time.monotonic()
    for number in range(PROGRAMS):
        path.write_bytes(_bad_program(dice, data, number))
        try:
            load_program(path, program, MODEL)
        except CharlieError as error:
            refused, last = refused + 1, error.message.replace(str(path), "FILE")
            if not error.hint or vars(program.predict) != fresh:
                missed.append(f"the refused program {number} has no hint, or changed something")
        harmless = {key: fresh[key] for key in fresh.keys() - {"signature", "demos"}}
        if {
            key: value for key, value in vars(program.predict).items() if key not in ("signature", "demos")
        } != harmless:
            missed.append(f"the program {number} set something else")
        vars(program.predict).update(fresh)
    usable = (time.monotonic() - began) / PROGRAMS
    saw = f"a sentence for {refused:,} of {PROGRAMS:,}, such as: {last}"
    return Outcome(saw, usable, left=left_on(home), missed=tuple(missed), inputs=PROGRAMS)


def _bad_program(dice: random.Random, data: bytes, number: int) -> bytes:
    at = dice.randrange(len(data))
    match number % 4:
        case 0:
            return data[:at]
        case 1:
            return data[:at] + dice.randbytes(dice.randint(1, 8)) + data[at + 1 :]
        case 2:
            return data[:at] + dice.choice([b"[", b"{", b'"']) * dice.randint(1, 100_000) + data[at:]
        case _:
            parsed = json.loads(data)
            place = dice.choice([parsed, parsed["predictors"], parsed["predictors"]["predict"], parsed["versions"]])
            key = dice.choice([*place, "lm", "forward", "__class__", "metadata", "config", "callbacks", "api_base"])
            place[key] = dice.choice([None, 7, [], {}, [[{}]], "openai/gpt", {"model": "openai/gpt"}, [{"lm": "x"}]])
            return json.dumps(parsed).encode()


def texts(home: Path) -> Outcome:
    """Entries, titles and messages show as written; the terminal gets none of their control sequences."""
    with stage(home) as on:
        job = on.track(on.client.warm(Role.EMBEDDING))
        assert ended(on.client.jobs, job.id).state is JobState.DONE
        conversation = on.client.conversations.new_conversation(CONTROL_SEQUENCES[0] + MARKUP[0])
        for number, text in enumerate((*CONTROL_SEQUENCES, *MARKUP)):
            message = StoredMessage(f"{number:014x}", ("user", "assistant")[number % 2], text)
            on.client.conversations.put_message(conversation.id, message)
        on.stop()
    with interface(home) as on:
        for number, text in enumerate((*CONTROL_SEQUENCES, *MARKUP)):
            on.save(f"number {number} {text}\n{text}")
        assert on.terminal is not None
        on.output.wait(MARKUP[-1])  # the last turn
        began = time.monotonic()
        on.press(F3)
        shown = on.output.wait("number 15", began)
        on.press("\x02")  # to the list
        on.press("\x1b[B" * 3 + ENTER)
        until(lambda: on.terminal is not None and "saved" in on.terminal.text)
        raw = on.terminal.raw.decode(errors="replace")
        missed = [f"{text!r} was sent" for text in CONTROL_SEQUENCES if text in raw]
        missed += [f"{text!r} was read as markup" for text in MARKUP if text[:12] not in on.terminal.text]
        entries = on.entries_lost()
        on.stop()
    count = 2 * len((*CONTROL_SEQUENCES, *MARKUP))
    return Outcome(f"the text itself: {shown[1]}", shown[0], 0, entries, left_on(home), tuple(missed), count)


FAULTS = [
    Fault("bad messages in the queue", messages, quick=True),
    Fault("damaged model headers", headers),
    Fault("damaged compiled programs", programs),
    Fault("texts with control sequences and markup", texts),
]
