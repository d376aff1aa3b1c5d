"""However the interface ends, no process is left two seconds later, and no saved text is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.database.connection import read_address
from core.events.types import JobState, StateChanged
from core.library.records import StoredMessage
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from core.text import new_id
from tasks.jobs.records import Job, Text
from tests.app.commands.charlie import CHARLIE, environment, read_until, started
from tests.e2e.processes import PATIENT, assert_all_gone, quiet_disk, until, workers_on
from tests.e2e.terminal import ENTER, Terminal, ctrl, terminal
from tests.waiting import first, follow_events, output


def save(client: Client) -> tuple[str, str]:
    """Saves an entry and a message; returns the ids of the entry and the conversation."""
    conversation = client.conversations.new_conversation().id
    client.conversations.put_message(conversation, StoredMessage(new_id(), "user", "Do not forget."))
    return client.journal.new_entry("Not to be lost.").id, conversation


def assert_saved(entry: str, conversation: str) -> None:
    """Both are there at the next start."""
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as running:
        assert running.owner
        assert client.journal.entry(entry).text == "Not to be lost."
        assert client.conversations.messages(conversation)[0].text == "Do not forget."
    assert not list(find_paths().run.iterdir())
    assert read_address(find_paths()) is None


def hang_up_in_a_reply(shown: Terminal) -> None:
    shown.press("hello", ENTER)
    shown.until(lambda: "tok/s" in shown.status)
    hang_up(shown)


def hang_up(shown: Terminal) -> None:
    """Closes the terminal; the kernel sends SIGHUP."""
    shown.child.ptyproc.fileobj.close()


def has_ended(pid: int, *, and_continue: bool) -> bool:
    """Whether a child has ended. The kernel sends one SIGCONT after the SIGHUP; `and_continue` sends one more."""
    if and_continue:
        os.kill(pid, signal.SIGCONT)
    return os.waitpid(pid, os.WNOHANG)[0] != 0


ENDS = {
    "quit": lambda shown: shown.press(ctrl("q")),
    "SIGTERM": lambda shown: shown.child.kill(signal.SIGTERM),
    "SIGINT": lambda shown: shown.child.kill(signal.SIGINT),
    "SIGKILL": lambda shown: shown.child.kill(signal.SIGKILL),
    "closed": hang_up,
    "closed in a reply": hang_up_in_a_reply,
    "closed and continued": hang_up,
}


@pytest.mark.parametrize("end", ENDS)
def test_no_process_of_an_interface_is_left(home: Path, end: str, talkative: dict[str, str]) -> None:
    with terminal(home, variables=talkative) as shown:
        shown.until("Write a message")
        shown.until("Empty   nothing loaded yet")
        client = Client(load_settings(), find_paths())
        saved = save(client)
        client.close()
        quiet_disk()
        ENDS[end](shown)
        if end.startswith("closed"):
            until(lambda: has_ended(shown.child.pid, and_continue=end == "closed and continued"))
        else:
            shown.until_end()
        assert_all_gone(home)
        if end != "SIGKILL":
            assert not list((home / "run").iterdir())
    assert_saved(*saved)


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGHUP], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]],
    ids=lambda numbers: "+".join(number.name for number in numbers),
)
def test_no_process_of_a_runtime_without_interface_is_left(home: Path, numbers: list[signal.Signals]) -> None:
    with started(home, "up") as up:
        read_until(up.stderr, "worker")
        client = Client(load_settings(), find_paths())
        saved = save(client)
        client.close()
        quiet_disk()
        for number in numbers:
            up.send_signal(number)
        up.wait(20)
        assert_all_gone(home)
    assert_saved(*saved)


def test_kill_9_while_the_worker_starts_leaves_no_process(home: Path) -> None:
    with started(home, "up") as up:
        until(lambda: bool(workers_on(home)))
        up.kill()
        up.wait(20)
        assert_all_gone(home)


def test_kill_9_before_the_database_answers_leaves_no_process_and_no_folder(home: Path) -> None:
    with started(home, "up") as up:
        until(lambda: bool(list(home.glob("run/db-*"))))
        up.kill()
        up.wait(20)
        assert_all_gone(home)
    with started(home, "up") as up:
        read_until(up.stderr, "worker")
        assert len(list(home.glob("run/db-*"))) == 1
        up.terminate()
        assert up.wait(20) == 0


def kill_9(home: Path, reach: Callable[[Client, str], Job], **variables: str) -> Job:
    """Kill `charlie up` once `reach` has brought a job to its moment; no process is left, and saved text is kept."""
    with started(home, "up", **variables) as up:
        read_until(up.stderr, "worker")
        client = Client(load_settings(), find_paths())
        entry, conversation = save(client)
        job = reach(client, conversation)
        up.kill()
        up.wait(20)
        assert_all_gone(home)
        client.close()
    assert_saved(entry, conversation)
    return job


def test_kill_9_while_loading_keeps_entry_and_message(home: Path) -> None:
    def loading(client: Client, conversation: str) -> Job:
        job = client.warm(Role.INSTRUCT)
        events = follow_events(client.bus, past=10)
        first(events, lambda event: isinstance(event, StateChanged) and event.to == "loading")
        return job

    job = kill_9(home, loading)
    client = Client(load_settings(), find_paths())
    with Runtime(client) as running:
        until(lambda: client.jobs.get(job.id).state.ended, meanwhile=running.tick)
        assert client.jobs.get(job.id).state in (JobState.INTERRUPTED, JobState.DONE)
        assert client.snapshot().phase == "empty"


def test_kill_9_while_generating_keeps_the_reply_so_far(home: Path, talkative: dict[str, str]) -> None:
    def generating(client: Client, conversation: str) -> Job:
        job = client.chat(conversation, "And now?")
        first(output(client.jobs, job.id), lambda item: isinstance(item, Text))
        return job

    job = kill_9(home, generating, **talkative)
    client = Client(load_settings(), find_paths())
    with Runtime(client) as running:
        until(lambda: client.jobs.get(job.id).state.ended, meanwhile=running.tick)
        texts = [message.text for message in client.conversations.messages(job.subject)]
        assert texts[:2] == ["Do not forget.", "And now?"]
        assert texts[2]


def test_a_command_interrupted_twice_leaves_no_process(home: Path) -> None:
    with started(home, "up", **PATIENT) as up:
        read_until(up.stderr, "worker")
        (worker,) = workers_on(home)
        worker.suspend()
        ask = subprocess.Popen(
            [CHARLIE, "ask", "hello"],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home),
            stdin=subprocess.DEVNULL,
        )
        client = Client(load_settings(), find_paths())
        until(lambda: bool(client.queue()))
        ask.send_signal(signal.SIGINT)
        read_until(ask.stderr, "Cancelling")
        ask.send_signal(signal.SIGINT)
        assert ask.wait(20) == 130
        ask.communicate(timeout=20)
        worker.resume()
        client.close()
        up.terminate()
        assert up.wait(20) == 0
        assert_all_gone(home)
