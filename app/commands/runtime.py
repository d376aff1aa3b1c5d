"""`charlie up`, `worker`, `warm`, `unload` and `cancel`: the runtime, and what is asked of it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

RoleName = Literal["instruct", "embedding", "reranker"]


def up() -> None:
    """Run the database and the worker without the interface, until Ctrl+C."""
    import signal

    from app.commands.session import session
    from app.commands.status import line
    from app.output import talk
    from core.events import StateChanged, WorkerLost, WorkerUp

    asked: list[int] = []
    with session(worker=True, patient=False) as running:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: asked.append(number))
        talk(
            "Charlie is up; Ctrl+C ends it."
            if running.owner
            else "Charlie is up already; this one takes over when that one leaves."
        )
        for item in running.client.bus.follow(lambda: bool(asked)):
            running.tick()
            if isinstance(item, StateChanged | WorkerUp | WorkerLost):
                talk(line(item))
    talk("Charlie has ended.")


def worker() -> None:
    """Run a worker in this process, for the database at database.url."""
    from app.output import talk, without_password
    from core.errors import CharlieError
    from core.settings import load_settings

    url = load_settings().database.url
    if url is None:
        # A second worker on the embedded database would hold a second model.
        raise CharlieError(
            "database.url is not set.", "Without it, `charlie` and `charlie up` run a worker themselves."
        )
    from tasks.worker import main

    talk(f"Serving {without_password(url)}; Ctrl+C ends it.")
    main()


def warm(role: Annotated[RoleName, typer.Argument(help="The role whose model is loaded.")]) -> None:
    """Load a role's model, and print how long it took; 0 when it was warm already."""
    from app.commands.session import session
    from app.output import data
    from core.settings import Role

    with session(worker=True) as running:
        result = running.follow(lambda: running.client.warm(Role(role)), lambda _: None)
        data(f"load_ms {result.get('load_ms', 0):.1f}")


def unload() -> None:
    """Unload the model that is warm, if there is one."""
    from app.commands.session import session
    from app.output import talk

    with session(worker=True) as running:
        result = running.follow(running.client.unload, lambda _: None)
        talk("Unloaded." if result.get("unloaded") else "Nothing was loaded.")


def cancel(job: Annotated[str, typer.Argument(help="The job's id, as `charlie ps` shows it.")]) -> None:
    """Stop a job that waits or runs."""
    from app.commands.session import session
    from app.output import talk
    from core.errors import CharlieError

    with session(worker=False) as running:
        if not running.client.cancel(job):
            state = running.client.jobs.get(job).state
            raise CharlieError(f"The job {job} has ended already: it is {state}.")
        ended = running.client.jobs.get(job).state.ended
        talk(f"The job {job} is cancelled." if ended else f"The job {job} is being cancelled.")
