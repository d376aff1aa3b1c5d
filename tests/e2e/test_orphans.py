"""However the interface ends, nothing of it is left two seconds later, and nothing that was saved is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from app.client import Client
from app.runtime import Runtime
from core.database import read_address
from core.events import StateChanged
from core.library import StoredMessage
from core.paths import find_paths
from core.settings import Role, load_settings
from core.text import new_id
from tasks.jobs import JobState, Text
from tests.app.charlie import CHARLIE, environment, read_until, started
from tests.e2e.processes import PATIENT, assert_all_gone, quiet_disk, until, workers_on
from tests.e2e.terminal import ENTER, Terminal, ctrl, terminal


def save(client: Client) -> tuple[str, str]:
    """An entry and a message, both acknowledged."""
    conversation = client.library.new_conversation().id
    client.library.put_message(conversation, StoredMessage(new_id(), "user", "Do not forget."))
    return client.library.new_entry("Not to be lost.").id, conversation


def assert_saved(entry: str, conversation: str) -> None:
    """The next start has both."""
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as running:
        assert running.owner
        assert client.library.entry(entry).text == "Not to be lost."
        assert client.library.messages(conversation)[0].text == "Do not forget."
    assert not list(find_paths().run.iterdir())
    assert read_address(find_paths()) is None


def hang_up_while_it_writes(shown: Terminal) -> None:
    shown.press("hello", ENTER)
    shown.until(lambda: "tok/s" in shown.status)
    hang_up(shown)


def hang_up(shown: Terminal) -> None:
    """Close the terminal; the kernel sends SIGHUP."""
    shown.child.ptyproc.fileobj.close()


ENDS = {
    "quit": lambda shown: shown.press(ctrl("q")),
    "SIGTERM": lambda shown: shown.child.kill(signal.SIGTERM),
    "SIGINT": lambda shown: shown.child.kill(signal.SIGINT),
    "SIGKILL": lambda shown: shown.child.kill(signal.SIGKILL),
    "closed": hang_up,
    "closed while it writes": hang_up_while_it_writes,
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_of_an_interface(home: Path, end: str, talkative: dict[str, str]) -> None:
    with terminal(home, variables=talkative) as shown:
        shown.until("Say something")
        shown.until("Empty   nothing loaded yet")
        client = Client(load_settings(), find_paths())
        saved = save(client)
        client.close()
        quiet_disk()
        ENDS[end](shown)
        if end.startswith("closed"):
            os.waitpid(shown.child.pid, 0)
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
def test_nothing_is_left_of_a_runtime_without_interface(home: Path, numbers: list[signal.Signals]) -> None:
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


def test_kill_9_while_the_worker_is_being_started(home: Path) -> None:
    with started(home, "up") as up:
        until(lambda: bool(workers_on(home)))
        up.kill()
        up.wait()
        assert_all_gone(home)


def test_kill_9_before_the_database_answers(home: Path) -> None:
    with started(home, "up") as up:
        until(lambda: bool(list(home.glob("run/db-*"))))
        up.kill()
        up.wait()
        assert_all_gone(home)
    with started(home, "up") as up:
        read_until(up.stderr, "worker")
        assert len(list(home.glob("run/db-*"))) == 1
        up.terminate()
        assert up.wait(20) == 0


def test_kill_9_while_loading(home: Path) -> None:
    with started(home, "up") as up:
        read_until(up.stderr, "worker")
        client = Client(load_settings(), find_paths())
        saved = save(client)
        job = client.warm(Role.INSTRUCT)
        for event in client.bus.follow(lambda: False, past=10):
            if isinstance(event, StateChanged) and event.to == "loading":
                break
        up.kill()
        up.wait()
        assert_all_gone(home)
        client.close()
    assert_saved(*saved)
    client = Client(load_settings(), find_paths())
    with Runtime(client) as running:
        until(lambda: client.jobs.get(job.id).state.ended, meanwhile=running.tick)
        assert client.jobs.get(job.id).state in (JobState.INTERRUPTED, JobState.DONE)
        assert client.snapshot().phase == "empty"


def test_kill_9_while_generating(home: Path, talkative: dict[str, str]) -> None:
    with started(home, "up", **talkative) as up:
        read_until(up.stderr, "worker")
        client = Client(load_settings(), find_paths())
        saved = save(client)
        job = client.chat(saved[1], "And now?")
        assert next(output for output in client.follow(job.id) if isinstance(output, Text))
        up.kill()
        up.wait()
        assert_all_gone(home)
        client.close()
    assert_saved(*saved)
    client = Client(load_settings(), find_paths())
    with Runtime(client) as running:
        until(lambda: client.jobs.get(job.id).state.ended, meanwhile=running.tick)
        texts = [message.text for message in client.library.messages(saved[1])]
        assert texts[:2] == ["Do not forget.", "And now?"]
        assert texts[2]  # as far as it had come


def test_a_command_interrupted_twice_leaves_nothing(home: Path) -> None:
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
        ask.communicate()
        worker.resume()
        client.close()
        up.terminate()
        assert up.wait(20) == 0
        assert_all_gone(home)
