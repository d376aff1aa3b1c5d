"""Long-running commands: their end, the processes and files that they leave, and the modules that they import."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.client import Client
from app.commands.attach import Session
from app.runtime.owner import Runtime
from core.errors import CharlieError
from core.events.types import WorkerLost, WorkerUp
from core.paths import find_paths
from core.settings_file import load_settings
from tests.app.commands.charlie import PATIENCE, charlie, environment, on_a_terminal, read_until, started
from tests.e2e.processes import PATIENT as LEFT_ALONE
from tests.e2e.processes import quiet_disk


def left(*pids: int) -> list[str]:
    """The processes that are still alive after two seconds; a zombie counts as ended."""
    running = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    waiting = psutil.wait_procs(running, timeout=2)[1]
    return [f"{each.name()} ({each.status()})" for each in waiting if each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_command_stops_the_runtime_it_owns(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, "events", "--follow", "--json") as follower:
        worker = json.loads(read_until(follower.stdout, "WorkerUp"))["pid"]
        database = charlie(tmp_path, "ps", "--json").json["database"]["pid"]
        quiet_disk()
        follower.send_signal(number)
        assert follower.wait(20) == 128 + number
        assert not left(worker, database)
        assert not list((tmp_path / "run").iterdir())
        assert follower.stderr is not None
        assert follower.stderr.read() == ""


def test_nothing_is_left_after_kill_9_and_nothing_saved_is_lost(tmp_path: Path) -> None:
    with started(tmp_path, "up") as up:
        read_until(up.stderr, "worker")
        saved = charlie(tmp_path, "journal", "add", "A thought.").out
        charlie(tmp_path, "warm", "instruct")
        children = [child.pid for child in psutil.Process(up.pid).children()]
        quiet_disk()
        up.kill()
        up.wait(20)
        assert not left(*children)
    report = charlie(tmp_path, "ps", "--json").json
    assert (report["phase"], report["role"], report["worker"]) == ("empty", None, None)
    assert charlie(tmp_path, "journal", "list", "--json").json[0]["id"] == saved.strip()


def test_a_second_up_attaches_and_takes_over(tmp_path: Path) -> None:
    with started(tmp_path, "up") as first:
        read_until(first.stderr, "worker")
        with started(tmp_path, "up") as second:
            read_until(second.stderr, "up already")
            first.terminate()
            assert first.wait(20) == 0
            read_until(second.stderr, "is up")
            assert charlie(tmp_path, "ask", "hello", "--json").json["text"]
            second.terminate()
            assert second.wait(20) == 0


def test_ctrl_c_and_cancel_stop_a_job_and_its_end_is_waited_for(tmp_path: Path) -> None:
    with (
        started(tmp_path, "up", **LEFT_ALONE) as up,
        started(tmp_path, "events", "--follow", "--json", **LEFT_ALONE) as follower,
    ):
        worker = psutil.Process(json.loads(read_until(follower.stdout, "WorkerUp"))["pid"])

        worker.suspend()  # so that the job cannot end before it is cancelled
        with started(tmp_path, "ask", "hello") as ask:
            job = json.loads(read_until(follower.stdout, '"queued"'))["id"]
            ask.send_signal(signal.SIGINT)
            read_until(ask.stderr, "Cancelling")
            worker.resume()
            assert ask.wait(20) == 130
        assert json.loads(read_until(follower.stdout, '"cancelled"'))["id"] == job

        worker.suspend()
        with started(tmp_path, "ask", "hello") as ask:
            job = json.loads(read_until(follower.stdout, '"queued"'))["id"]
            assert [each["id"] for each in charlie(tmp_path, "ps", "--json").json["queue"]] == [job]
            assert charlie(tmp_path, "cancel", job).code == 0
            worker.resume()
            out, err = ask.communicate(timeout=PATIENCE)
            assert (ask.returncode, out, err) == (1, "", "charlie: The job was cancelled.\n")
        up.terminate()
        assert up.wait(20) == 0


def test_an_entry_added_without_waiting_is_indexed_at_the_next_start(tmp_path: Path) -> None:
    saved = charlie(tmp_path, "journal", "add", "--no-wait", "The river was high.").out.strip()
    assert charlie(tmp_path, "journal", "list", "--json").json[0]["state"] == "saved"
    assert [each["kind"] for each in charlie(tmp_path, "ps", "--json").json["queue"]] == ["ingest_entry"]
    assert charlie(tmp_path, "journal", "search", "river", "--json").json["hits"][0]["entry"] == saved
    assert charlie(tmp_path, "journal", "list", "--json").json[0]["state"] == "findable"


def test_a_closed_pipe_ends_a_follower_quietly(tmp_path: Path) -> None:
    with started(tmp_path, "events", "--follow", "--json") as follower:
        read_until(follower.stdout, "WorkerUp")
        assert follower.stdout is not None
        follower.stdout.close()
        charlie(tmp_path, "journal", "add", "--no-wait", "Something that happens.")
        follower.wait(20)
        assert follower.stderr is not None
        assert follower.stderr.read() == ""


def test_a_terminal_gets_no_control_sequences(tmp_path: Path) -> None:
    charlie(tmp_path, "journal", "add", "--no-wait", stdin="before \x1b[31m\u202eafter")
    shown, code = on_a_terminal(tmp_path, "journal", "list", "--json")
    assert code == 0
    assert "before ␛[31m<U+202E>after" in shown
    assert "\u202e" not in shown


def test_on_a_terminal_ask_without_a_text_is_a_usage_error(tmp_path: Path) -> None:
    said, code = on_a_terminal(tmp_path, "ask")
    assert code == 2
    assert "Give the message" in said


def test_a_given_up_worker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_HOME", str(tmp_path))
    monkeypatch.setattr("app.commands.attach.TICK_SECONDS", 0.0)
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        running = Session(client, runtime)
        client.bus.publish(WorkerLost(1, "signal SIGKILL", 6, 5, at=0.0))
        running.tick()  # the loss is of an earlier run
        client.bus.publish(WorkerLost(1, "signal SIGKILL", 5, 5))
        running.tick()  # the worker is started again
        client.bus.publish(WorkerLost(1, "signal SIGKILL", 6, 5))
        with pytest.raises(CharlieError, match="ended 6 times in a row"):
            running.tick()
        client.bus.publish(WorkerUp(2))
        running.tick()


def loaded_by(home: Path, *arguments: str) -> set[str]:
    """The top-level modules that a command has imported at its end."""
    code = (
        "import sys\nfrom app.cli import main\ntry:\n    main()\nexcept SystemExit: pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return set(done.stderr.split())


def test_help_loads_nothing_of_weight(tmp_path: Path) -> None:
    heavy = {"redis", "huey", "textual", "rich", "numpy", "psutil", "transitions", "llama_cpp", "dspy"}
    assert not loaded_by(tmp_path, "--help") & heavy
    assert not loaded_by(tmp_path, "--version") & heavy


@pytest.mark.parametrize(
    "arguments", [("ask", "hello"), ("models", "list"), ("models", "plan", "instruct"), ("doctor",)]
)
def test_no_command_loads_what_belongs_to_the_worker(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert not loaded_by(tmp_path, *arguments) & {"llama_cpp", "dspy", "litellm", "textual", "transitions"}


def test_an_unexpected_error_is_logged_and_reported_in_one_sentence(tmp_path: Path) -> None:
    code = (
        "from app import cli\nfrom core import paths\npaths.Paths.config_file = property(lambda _: 1 / 0)\ncli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "paths"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "logs" / "app.log") in done.stderr
    assert "Traceback" in (tmp_path / "logs" / "app.log").read_text()
