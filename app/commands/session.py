"""What commands share: a client with a runtime for as long as it is needed, and a job followed to its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, assert_never

from app.output import StatusLine, log_to, talk

if TYPE_CHECKING:
    from types import FrameType

    from app.client import Client
    from app.runtime import Runtime
    from tasks.jobs import Ended, Hits, Job, Text

TICK_SECONDS = 0.2
WORKERS_OWN = (
    "CHARLIE_INSTRUCT__FILE", "CHARLIE_INSTRUCT__C", "CHARLIE_INSTRUCT__GPU", "CHARLIE_INSTRUCT__THREADS",
    "CHARLIE_INSTRUCT__BATCH", "CHARLIE_INSTRUCT__KV", "CHARLIE_INSTRUCT__MMAP", "CHARLIE_INSTRUCT__SYSTEM",
    "CHARLIE_EMBEDDING", "CHARLIE_RERANKER",
    "CHARLIE_KEEP_ALIVE", "CHARLIE_MEMORY",
)  # fmt: skip
"""Variables that only the process which loads the models can heed."""
PATIENCE_SECONDS = 10.0
"""How long a database may be away before a command gives up; the embedded one is back much sooner."""


class Session:
    """A client and the runtime behind it, which is kept well while a command waits."""

    def __init__(self, client: Client, runtime: Runtime) -> None:
        self.client = client
        self.owner = runtime.owner
        """Whether nobody else was running when this began, so that nothing is loaded and no worker is up."""
        self._runtime = runtime
        self._answered = self._ticked = time.monotonic()
        # An owner has just started the database: what was lost before was lost to an earlier one.
        uptime = 0 if runtime.owner else int(client.redis.info("server")["uptime_in_seconds"]) + 1
        self._up_since = time.time() - uptime

    def tick(self) -> None:
        """Keep the runtime well; call it often. Raises CharlieError when there is no worker any more and none follows,
        DatabaseError when the database stays away.
        """
        now = time.monotonic()
        if now - self._ticked < TICK_SECONDS:
            return
        self._ticked = now
        if said := self._runtime.tick():
            talk(said)
        self._check_worker(now)

    def _check_worker(self, now: float) -> None:
        from redis.exceptions import ConnectionError as Lost
        from redis.exceptions import TimeoutError as Late

        from core.errors import CharlieError, DatabaseError
        from core.events import WorkerLost

        try:
            last = self.client.bus.transitions(1)
        except (Lost, Late) as error:
            if now - self._answered > PATIENCE_SECONDS:
                raise DatabaseError("The database went away and did not come back.", "Try again.") from error
            return
        self._answered = time.monotonic()
        match last:
            case [WorkerLost() as lost] if lost.attempt > lost.attempts and lost.at > self._up_since:
                raise CharlieError(
                    f"The worker ended {lost.attempt} times in a row ({lost.reason}) and is not started again.",
                    f"Its log is {self.client.paths.logs / 'worker.log'}; `charlie doctor` looks for the reason.",
                )

    def follow(self, submit: Callable[[], Job], on_output: Callable[[Text | Hits], None]) -> dict[str, Any]:
        """Ask for a job and hand on its output until it ends; returns its result.

        Ctrl+C and a closed pipe cancel the job, and the cancellation is waited for. Raises CharlieError when
        the job fails.
        """
        job: Job | None = None
        try:
            with _interrupt_held():
                job = submit()
            return _result(self._deliver(self._outputs(job), on_output))
        except (KeyboardInterrupt, BrokenPipeError) as reason:
            if job is not None and self.client.cancel(job.id):
                if isinstance(reason, KeyboardInterrupt):
                    talk("Cancelling …")
                self._deliver(self._outputs(job), lambda _: None)
            raise

    def wait(self, job: Job) -> dict[str, Any]:
        """Wait until a job ends; returns its result. Ctrl+C leaves the job where it is. Raises CharlieError."""
        return _result(self._deliver(self._outputs(job), lambda _: None))

    def _deliver(self, outputs: Iterator[Text | Hits | Ended], on_output: Callable[[Text | Hits], None]) -> Ended:
        from tasks.jobs import Ended

        for output in outputs:
            if isinstance(output, Ended):
                return output
            on_output(output)
        raise AssertionError("an output ends with Ended")

    def _outputs(self, job: Job) -> Iterator[Text | Hits | Ended]:
        with StatusLine() as status:
            for output in self.client.follow(job.id):
                self.tick()
                if output is not None:
                    status.show("")
                    yield output
                elif status.visible:
                    status.show(self._describe(job.id))

    def _describe(self, job_id: str) -> str:
        """Where a job is, in words: what waits before it, or what the worker does for it."""
        from redis.exceptions import ConnectionError as Lost

        try:
            queued = next(iter(self.client.places([job_id])), None)
            snapshot = self.client.snapshot()
        except Lost:
            return "waiting for the database"
        if queued is None:
            return ""
        if queued.position > 0:
            about = f" · about {queued.wait:.0f} s" if queued.wait else ""
            return f"waiting · {queued.position - 1} ahead{about}" if queued.position > 1 else f"waiting{about}"
        if snapshot.phase == "loading":
            return f"loading {snapshot.role} · {snapshot.model}"
        return str(queued.job.state)


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Put Ctrl+C off until the end of the block, so that it cannot come between a job's start and its name."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _result(ended: Ended) -> dict[str, Any]:
    from core.errors import CancelledError, CharlieError
    from tasks.jobs import JobState

    match ended.state:
        case JobState.DONE:
            return ended.result or {}
        case JobState.CANCELLED:
            raise CancelledError("The job was cancelled.", ended.hint)
        case JobState.INTERRUPTED:
            raise CharlieError(ended.error or "The worker ended while it worked on this.", ended.hint or "Ask again.")
        case JobState.FAILED:
            raise CharlieError(ended.error, ended.hint)
        case JobState.QUEUED | JobState.WAITING | JobState.RUNNING:
            raise AssertionError(f"a job does not end as {ended.state}")
        case _:
            assert_never(ended.state)


def make_client() -> Client:
    """A client by the settings of this environment. The folders are there afterwards, and warnings go to a file."""
    from app.client import Client
    from core.paths import find_paths
    from core.settings import load_settings

    settings, paths = load_settings(), find_paths()
    paths.make()
    log_to(paths.logs / "app.log")
    return Client(settings, paths)


@contextmanager
def session(*, worker: bool, patient: bool = True) -> Iterator[Session]:
    """Attach to a running Charlie, or run one until the end of the block; without `worker`, its database alone.

    A patient one that ends in order lets the job finish that another command is waiting for.
    """
    from app.runtime import Runtime

    client = make_client()
    end_in_order()
    with Runtime(client, worker=worker, on_wait=_say_so if patient else None) as runtime:
        if runtime.notice:
            talk(runtime.notice)
        if worker and not runtime.owner and (unheeded := _unheeded(client)):
            talk(f"{', '.join(unheeded)}: the worker that runs already was started without this and goes by its own.")
        if worker and client.settings.database.url is not None and client.snapshot().worker_pid is None:
            talk("No worker serves this database yet; `charlie worker` starts one.")
        yield Session(client, runtime)


def _unheeded(client: Client) -> list[str]:
    """The settings in this environment that the running worker does not share and that cannot go with a job."""
    import psutil

    pid = client.snapshot().worker_pid
    if pid is None or client.settings.database.url is not None:
        return []
    try:
        theirs = psutil.Process(pid).environ()
    except psutil.Error:
        return []
    return [name for name, value in os.environ.items() if name.startswith(WORKERS_OWN) and theirs.get(name) != value]


def tell_about(result: dict[str, Any]) -> None:
    """Say on stderr what a person should know of a result, beside the result itself."""
    if result.get("starter"):
        talk("The starter model was used, which is very small. `charlie models pull ROLE` fetches a real one.")
    if result.get("truncated"):
        talk("The message was longer than the context: only its end was read.")
    if left_out := result.get("left_out"):
        talk(f"{left_out} earlier turns are outside the context.")
    if note := result.get("note"):
        talk(note)


def _say_so() -> None:
    talk("Finishing what another command has asked for; Ctrl+C stops it.")


def end_in_order() -> None:
    """Have SIGTERM and SIGHUP unwind the program like an exit does, so that a runtime stops its children."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the signature is Python's
    for each in (signal.SIGTERM, signal.SIGHUP):  # once is enough: the second must not interrupt the stopping
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def read_text(text: str | None, what: str) -> str:
    """The argument, or standard input for `-` and for no argument in a pipe.

    Raises CharlieError when it is empty, a usage error when there is nothing to read from.
    """
    from typer import BadParameter

    from core.errors import CharlieError

    if text is None and sys.stdin.isatty():
        raise BadParameter(f"Give the {what}, or `-` and pipe it in.")
    if text is None or text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not text.strip():
        raise CharlieError(f"The {what} is empty.", "Write something first.")
    return text
