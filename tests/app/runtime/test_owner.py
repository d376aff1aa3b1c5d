"""The three processes: their start, restarts, change of owner and end. All are real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from app.client import Client
from app.runtime.owner import RESTARTS, Runtime, with_tunables
from core.database.connection import read_address
from core.database.server import find_executable, take_lock
from core.errors import DatabaseError
from core.events.types import JobState, StateChanged, WorkerLost, WorkerUp
from core.library.records import MessageState
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tasks.jobs.records import Ended, Job, Output, Text
from tests.app.commands.charlie import CHARLIE, charlie, environment, read_until, refused, started
from tests.e2e.processes import assert_all_gone, databases_on, kill_all, running_on, until, workers_on
from tests.waiting import deadline, first, follow_events


@pytest.fixture
def home(home: Path) -> Iterator[Path]:
    """A home that no process may use at the end."""
    yield home
    assert not kill_all(home)


def database_pid() -> int:
    address = read_address(find_paths())
    assert address is not None
    return address.pid


def new_client() -> Client:
    return Client(load_settings(), find_paths())


@contextmanager
def runtime(*, worker: bool = True) -> Iterator[tuple[Client, Runtime]]:
    client = new_client()
    with Runtime(client, worker=worker) as running:
        if running.owner and worker:
            until(lambda: client.snapshot().worker_pid is not None, meanwhile=running.tick)
        yield client, running


@contextmanager
def up(home: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`charlie up` with a running worker."""
    with started(home, "up", **variables) as process:
        read_until(process.stderr, "worker")
        yield process
        if process.poll() is None:
            process.terminate()
            assert process.wait(20) == 0


def _followed(client: Client, running: Runtime, job: Job) -> Iterator[Output]:
    """A job's output, with `tick()` called at each step."""

    def follow() -> Iterator[Output | None]:
        for output in client.follow(job.id):
            running.tick()
            yield output

    return deadline(follow(), 120)


def finish(client: Client, running: Runtime, job: Job) -> JobState:
    """Follow a job to its end; returns its last state."""
    for output in _followed(client, running, job):
        if isinstance(output, Ended):
            return output.state
    raise AssertionError("an output ends with Ended")


def decoding(client: Client, running: Runtime) -> Job:
    """A job whose answer is being decoded."""
    job = client.chat(client.conversations.new_conversation().id, "hello")
    for output in _followed(client, running, job):
        assert isinstance(output, Text)
        return job
    raise AssertionError("an output ends with Ended")


def lock_is_free() -> bool:
    lock = take_lock(find_paths())
    if lock is None:
        return False
    os.close(lock)
    return True


def worker_events(client: Client) -> list[WorkerUp | WorkerLost]:
    found = [event for event in client.bus.transitions(100) if isinstance(event, WorkerUp | WorkerLost)]
    return found[::-1]


def test_children_start_in_order_and_stop_in_reverse(
    home: Path, monkeypatch: pytest.MonkeyPatch, talkative: dict[str, str]
) -> None:
    for name, value in talkative.items():
        monkeypatch.setenv(name, value)
    with runtime() as (client, running):
        (database,), (worker,) = databases_on(home), workers_on(home)
        assert database.create_time() <= worker.create_time()
        assert database_pid() == database.pid
        assert client.snapshot().worker_pid == worker.pid
        job = decoding(client, running)
        assert client.snapshot().phase == "warm"
    assert not running_on(home)
    assert not list((home / "run").iterdir())
    assert read_address(find_paths()) is None
    assert lock_is_free()
    with runtime(worker=False) as (client, _):
        assert client.jobs.get(job.id).state is JobState.INTERRUPTED
        reply = client.reply(job)
        assert reply is not None
        assert reply.state is MessageState.INTERRUPTED
        snapshot = client.snapshot()
        assert (snapshot.phase, snapshot.role, snapshot.worker_pid) == ("empty", None, None)
        triggers = [event.trigger for event in client.bus.transitions(100) if isinstance(event, StateChanged)]
        assert triggers == ["unloaded", "unload", "loaded", "load"]


def test_calls_on_other_threads_wait_for_a_start_in_steps(home: Path) -> None:
    client = new_client()
    running = Runtime(client, worker=False)
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        stack.push(running)
        steps = running.starting()
        assert next(steps) == ""
        listed = pool.submit(client.conversations.conversations)
        assert set(steps) == {""}
        assert listed.result(20) == []
        assert running.owner


def test_a_start_that_is_given_up_leaves_no_process(home: Path) -> None:
    client = new_client()
    with closing(Runtime(client, worker=False).starting()) as steps:
        next(steps)
    assert not databases_on(home)
    assert lock_is_free()


def test_the_worker_asks_for_large_pages(home: Path) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client):
        first(follow_events(client.bus, past=1), lambda event: isinstance(event, WorkerUp))
        (worker,) = workers_on(home)
        assert b"glibc.malloc.hugetlb=1" in Path(f"/proc/{worker.pid}/environ").read_bytes()


@pytest.mark.parametrize(
    ("own", "used"),
    [
        ("", "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"),
        ("glibc.malloc.perturb=0", "glibc.malloc.perturb=0:glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"),
        ("glibc.malloc.hugetlb=0:glibc.malloc.arena_max=2", "glibc.malloc.hugetlb=0:glibc.malloc.arena_max=2"),
    ],
)
def test_glibc_tunables_of_the_user_are_kept(own: str, used: str) -> None:
    assert with_tunables(own) == used


def test_queued_jobs_run_at_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch, talkative: dict[str, str]
) -> None:
    for name, value in talkative.items():
        monkeypatch.setenv(name, value)
    with runtime() as (client, running):
        decoding(client, running)
        jobs = [client.warm(Role.EMBEDDING), client.ingest(client.journal.new_entry("A thought.")), client.unload()]
    with runtime() as (client, running):
        assert [finish(client, running, job) for job in jobs] == [JobState.DONE] * 3


@pytest.mark.slow
def test_an_ingestion_stopped_by_quitting_runs_at_the_next_start(home: Path) -> None:
    with runtime() as (client, running):
        job = client.ingest(client.journal.new_entry("A quiet walk by the river. " * 20_000))
        until(lambda: client.jobs.get(job.id).state is JobState.RUNNING, meanwhile=running.tick)
    with runtime() as (client, running):
        assert finish(client, running, job) is JobState.DONE
        assert client.journal.entry(job.subject).state == "findable"


def test_a_second_runtime_attaches_and_starts_no_process(home: Path) -> None:
    with up(home), runtime() as (client, running):
        assert not running.owner
        assert finish(client, running, client.warm(Role.INSTRUCT)) is JobState.DONE
        assert database_pid() == databases_on(home)[0].pid
        assert client.snapshot().worker_pid == workers_on(home)[0].pid
        assert (len(databases_on(home)), len(workers_on(home))) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_attached_runtime_takes_over_from_its_owner(home: Path, number: signal.Signals) -> None:
    with up(home) as owner, runtime() as (client, running):
        assert finish(client, running, client.warm(Role.INSTRUCT)) is JobState.DONE
        old = workers_on(home)[0]
        old.suspend()
        queued = client.ingest(client.journal.new_entry("Before the change of owner."))
        old.resume()
        owner.send_signal(number)
        owner.wait(20)
        until(lambda: running.owner, 2, running.tick)
        assert finish(client, running, queued) is JobState.DONE
        assert finish(client, running, client.warm(Role.EMBEDDING)) is JobState.DONE
        (worker,) = workers_on(home)
        assert len(databases_on(home)) == 1
        snapshot = client.snapshot()
        assert (snapshot.phase, snapshot.role, snapshot.worker_pid) == ("warm", "embedding", worker.pid)


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 2], ids=["its folder", "all run folders"])
def test_a_removed_socket_is_made_anew(home: Path, level: int) -> None:
    with up(home):
        address = read_address(find_paths())
        assert address is not None
        entry = new_client().journal.new_entry("Before.")
        shutil.rmtree(Path(address.socket).parents[level - 1])
        until(lambda: read_address(find_paths()) not in (None, address))
        assert [line["id"] for line in charlie(home, "journal", "list", "--json").json] == [entry.id]
        assert len(databases_on(home)) == 1


@pytest.mark.slow
def test_the_snapshot_shows_no_warm_model_before_a_worker_is_up(home: Path) -> None:
    with up(home) as owner:
        charlie(home, "warm", "instruct")
        owner.kill()
        owner.wait(20)
        assert_all_gone(home)
    client = new_client()
    with Runtime(client):
        snapshot = client.snapshot()
        assert (snapshot.phase, snapshot.role) == ("empty", None)
        assert snapshot.seq == 2


@pytest.mark.slow
def test_many_commands_started_at_once_all_get_answers(home: Path) -> None:
    commands = [["ask", "hello", "--json"]] * 3 + [
        ["ps", "--json"],
        ["journal", "add", "A thought."],
        ["warm", "embedding"],
    ]
    processes = [
        subprocess.Popen(
            [CHARLIE, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home),
        )
        for command in commands
    ]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, said
    assert all(json.loads(out)["text"] for out, _ in said[:3])
    assert_all_gone(home)


def test_a_call_that_finds_no_database_takes_over(home: Path) -> None:
    """The owner ends after another process has attached, before that process calls anything."""
    with started(home, "up") as owner:
        read_until(owner.stderr, "up")
        client = new_client()
        with Runtime(client) as runtime:
            assert not runtime.owner
            owner.terminate()
            assert owner.wait(20) == 0
            assert client.warm(Role.EMBEDDING).id
            assert runtime.owner
    assert_all_gone(home)


@pytest.mark.slow
def test_two_runtimes_started_at_once_share_database_and_worker(home: Path) -> None:
    with started(home, "up") as first, started(home, "up") as second:
        for process in (first, second):
            read_until(process.stderr, "up")
        assert charlie(home, "ask", "hello", "--json").json["text"]
        assert (len(databases_on(home)), len(workers_on(home))) == (1, 1)
        for process in (first, second):
            process.terminate()
        assert [process.wait(20) for process in (first, second)] == [0, 0]


def test_a_killed_worker_is_restarted(home: Path) -> None:
    with runtime() as (client, running):
        (worker,) = workers_on(home)
        worker.kill()
        until(lambda: client.snapshot().worker_pid not in (worker.pid, None), 3, running.tick)
        _, lost, again = worker_events(client)
        assert isinstance(lost, WorkerLost)
        assert (lost.pid, lost.reason, lost.attempt) == (worker.pid, "signal SIGKILL", 1)
        assert isinstance(again, WorkerUp)
        assert finish(client, running, client.warm(Role.INSTRUCT)) is JobState.DONE


@pytest.mark.slow
def test_a_worker_killed_while_decoding_is_restarted(
    home: Path, monkeypatch: pytest.MonkeyPatch, talkative: dict[str, str]
) -> None:
    for name, value in talkative.items():
        monkeypatch.setenv(name, value)
    with runtime() as (client, running):
        job = decoding(client, running)
        workers_on(home)[0].kill()
        queued = client.warm(Role.EMBEDDING)
        assert finish(client, running, job) is JobState.INTERRUPTED
        reply = client.reply(job)
        assert reply is not None
        assert reply.text
        assert reply.state is MessageState.INTERRUPTED
        assert finish(client, running, queued) is JobState.DONE


def test_a_killed_database_is_restarted_with_all_data(home: Path) -> None:
    with runtime() as (client, running):
        entry = client.journal.new_entry("Kept.")
        (database,) = databases_on(home)
        database.kill()
        until(lambda: databases_on(home) not in ([], [database]), 3, running.tick)
        assert client.journal.entry(entry.id).text == "Kept."
        assert finish(client, running, client.ingest(entry)) is JobState.DONE
        assert (len(databases_on(home)), len(workers_on(home))) == (1, 1)
    assert not list((home / "run").iterdir())


def test_a_damaged_database_is_restarted_once_repaired(home: Path) -> None:
    with runtime() as (client, running):
        entry = client.journal.new_entry("Kept.")
        file = home / "data" / "database" / "appendonly.aof"
        sound = file.read_bytes()
        (database,) = databases_on(home)
        database.kill()
        database.wait(20)
        file.write_bytes(b"*1\r\nthis is no command\r\n" + sound)
        with pytest.raises(DatabaseError, match="is damaged"):
            running.tick()
        file.write_bytes(sound)
        until(lambda: bool(databases_on(home)), 3, running.tick)
        assert client.journal.entry(entry.id).text == "Kept."


@pytest.mark.slow
def test_a_worker_that_always_crashes_is_given_up(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import os, sys\nif 'tasks.worker' in sys.orig_argv:\n    os._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with started(home, "ask", "hello") as ask:
        client = new_client()
        out, err = ask.communicate(timeout=60)
        client.close()
    first, hint = err.splitlines()
    assert (ask.returncode, out) == (1, "")
    assert first == f"charlie: The worker ended {RESTARTS + 1} times in a row (exit status 3) and is not started again."
    assert "worker.log" in hint


def test_leftovers_of_an_earlier_run_are_removed(home: Path) -> None:
    paths = find_paths()
    paths.make()
    folder = paths.run / "db-stale"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "db.sock"))
    address = {"socket": str(folder / "db.sock"), "pid": os.getpid(), "owner": os.getpid()}
    (paths.database / "address.json").write_text(json.dumps(address))
    with runtime(worker=False) as (client, running):
        assert running.owner
        assert client.redis.ping()
        assert not folder.exists()
    assert not list(paths.run.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"socket": 5}'])
def test_an_unreadable_address_file_is_ignored(home: Path, content: bytes) -> None:
    paths = find_paths()
    paths.make()
    (paths.database / "address.json").write_bytes(content)
    with runtime(worker=False) as (client, _):
        assert client.redis.ping()


def test_a_home_too_deep_for_a_socket(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    monkeypatch.setenv("CHARLIE_HOME", str(deep))
    with runtime(worker=False) as (client, _):
        address = read_address(find_paths())
        assert address is not None
        folder = Path(address.socket).parent
        assert not folder.is_relative_to(home)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert client.redis.ping()
    assert not folder.exists()


def test_a_socket_folder_far_from_home_is_cleared_away_after_a_kill(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = home / ("d" * 60) / ("e" * 60)
    monkeypatch.setenv("CHARLIE_HOME", str(deep))
    with up(deep) as owner:
        address = read_address(find_paths())
        assert address is not None
        owner.kill()
        owner.wait(20)
        assert_all_gone(deep)
    assert Path(address.socket).parent.exists()
    with runtime(worker=False):
        assert not Path(address.socket).parent.exists()


def test_modules_in_the_working_directory_are_not_imported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "tasks.py").write_text("raise SystemExit('not ours')\n")
    (home / "core.py").write_text("raise SystemExit('not ours')\n")
    monkeypatch.chdir(home)
    with runtime() as (client, running):
        assert finish(client, running, client.unload()) is JobState.DONE


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A redis-server started outside Charlie, on a unix socket; yields its URL."""
    path = folder / "r.sock"
    command = [find_executable(), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    kept = {key: value for key, value in os.environ.items() if key != "CHARLIE_HOME"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=kept) as server:
        try:
            until(path.exists)
            yield f"unix://{path}"
        finally:
            server.kill()


@pytest.mark.slow
def test_a_running_redis_server_is_used(home: Path) -> None:
    with redis_server(home) as url, started(home, "worker", CHARLIE_DATABASE__URL=url) as worker:
        reply = charlie(home, "ask", "hello", "--json", CHARLIE_DATABASE__URL=url)
        assert reply.json["text"]
        report = charlie(home, "ps", "--json", CHARLIE_DATABASE__URL=url).json
        assert report["worker"] == {"pid": worker.pid}
        assert report["phase"] == "warm"
        assert not databases_on(home)
        worker.send_signal(signal.SIGHUP)
        assert worker.wait(20) == 0
        report = charlie(home, "ps", "--json", CHARLIE_DATABASE__URL=url).json
        assert (report["phase"], report["worker"]) == ("empty", None)


def test_charlie_worker_needs_a_database_url(home: Path) -> None:
    assert refused(charlie(home, "worker")) == "database.url is not set."


def test_a_database_url_that_does_not_answer_is_refused(home: Path) -> None:
    url = f"unix://{home / 'nothing.sock'}"
    ended = charlie(home, "ask", "hello", CHARLIE_DATABASE__URL=url)
    assert ended.code == 1
    assert ended.err.startswith(f"charlie: No database answers at {url}")
