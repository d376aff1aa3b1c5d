"""`charlie up` and `charlie worker`: run the processes without the interface."""

from __future__ import annotations

import signal

from app.commands.events import line
from app.commands.output import note
from app.commands.session import session
from core.database.connection import without_password
from core.errors import CharlieError
from core.events.types import StateChanged, WorkerLost, WorkerUp
from core.settings_file import load_settings


def up() -> None:
    signals: list[int] = []
    with session(worker=True, patient=False) as running:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: signals.append(number))
        note(
            "Charlie is up; Ctrl+C ends it."
            if running.owner
            else "Charlie is up already; this process takes over when that one ends."
        )
        for item in running.client.bus.follow(lambda: bool(signals)):
            running.tick()
            if isinstance(item, StateChanged | WorkerUp | WorkerLost):
                note(line(item))
    note("Charlie has ended.")


def worker() -> None:
    url = load_settings().database.url
    if url is None:
        # A second worker on the embedded database would hold a second model.
        raise CharlieError(
            "database.url is not set.", "Without it, `charlie` and `charlie up` run a worker themselves."
        )
    from tasks.worker.__main__ import main  # llama.cpp and DSPy: only the worker may load them

    note(f"Serving {without_password(url)}; Ctrl+C ends it.")
    main()
