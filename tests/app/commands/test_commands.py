"""Every command with one running `charlie up`: the real database, worker and tiny models."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import get_args

import psutil
import pytest

from app.client import Client
from app.commands.models.manage import RoleName
from core.library.records import EntryState
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from states.lifecycle import TRANSITIONS
from tasks.jobs.records import Job
from tasks.worker.recovery import PARKED
from tests.app.commands.charlie import charlie, read_until, refused, started
from tests.benchmarks.shapes import Shape, write
from tests.model_variants import variant
from tests.parked import park
from tests.tiny_models import tiny_models

STATS = [
    "text", "model", "prompt_tokens", "reused_tokens", "completion_tokens", "finish_reason",
    "queue_ms", "load_ms", "ttft_ms", "tokens_per_second",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running `charlie up`, which must leave neither children nor files in its run folder."""
    folder = tmp_path_factory.mktemp("home")
    with started(folder, "up") as up:
        read_until(up.stderr, "is up")
        read_until(up.stderr, "worker")
        children = psutil.Process(up.pid).children(recursive=True)
        assert len(children) == 2
        yield folder
        up.send_signal(signal.SIGINT)
        assert up.wait(20) == 0
        gone, alive = psutil.wait_procs(children, timeout=2)
        assert not alive
        assert len(gone) == 2
        assert not list((folder / "run").iterdir())


def test_the_second_ask_finds_the_model_warm_in_the_same_worker(home: Path) -> None:
    charlie(home, "unload")
    first = charlie(home, "ask", "hello", "--json").json
    worker = charlie(home, "ps", "--json").json["worker"]
    second = charlie(home, "ask", "hello", "--json").json
    assert list(first)[: len(STATS)] == STATS
    assert first["load_ms"] > 0
    assert second["load_ms"] == 0
    assert second["reused_tokens"] > 0
    assert charlie(home, "ps", "--json").json["worker"] == worker


def test_ask_streams_plain_text_that_a_seed_repeats(home: Path) -> None:
    arguments = ("ask", "-", "--seed", "7", "--max-tokens", "12", "--temperature", "1")
    first, second = charlie(home, *arguments, stdin="hello"), charlie(home, *arguments, stdin="hello")
    assert first.code == 0
    assert first.err.startswith("A small model (135M) answered, and it is weak.")
    assert first.out == second.out
    assert charlie(home, *arguments, "--json", stdin="hello").json["text"] == first.out.removesuffix("\n")


def test_ask_goes_on_with_a_conversation(home: Path) -> None:
    first = charlie(home, "ask", "hello", "--json").json
    second = charlie(home, "ask", "and then?", "--json", "--conversation", first["conversation"]).json
    assert second["conversation"] == first["conversation"]
    assert second["prompt_tokens"] > first["prompt_tokens"] + first["completion_tokens"]
    assert refused(charlie(home, "ask", "x", "--conversation", "nope")) == "There is no conversation 'nope'."


def test_a_prompt_longer_than_the_context_is_no_error(home: Path) -> None:
    story = "I walked by the river with Mira. " * 30_000
    reply = charlie(home, "ask", "--json", "--max-tokens", "4", "--temperature", "0", stdin=story).json
    assert reply["truncated"]
    assert reply["completion_tokens"] == 4


def test_turns_left_out_are_reported(home: Path) -> None:
    text = "word " * 20_000
    assert "only its end was read" in charlie(home, "ask", "--max-tokens", "4", stdin=text).err
    charlie(home, "journal", "add", "A walk")
    assert (
        "longer than 512 tokens: only its beginning was used" in charlie(home, "journal", "search", "-", stdin=text).err
    )


def test_an_attaching_command_sends_its_sampling_and_reports_the_rest(home: Path) -> None:
    """Sampling is sent with the job; settings that only the worker uses are reported."""
    short = charlie(home, "ask", "hello", "--json", CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS="3")
    assert short.json["completion_tokens"] == 3
    assert short.err == ""
    other = charlie(home, "ask", "hello", "--json", CHARLIE_KEEP_ALIVE="77")
    assert other.err.startswith("CHARLIE_KEEP_ALIVE: the running worker was started without this")


def test_hostile_text_is_answered_and_kept(home: Path) -> None:
    text = b"bell \x07 right-to-left \xe2\x80\xae escape \x1b[31m unassigned \xef\xbf\xbf"
    assert charlie(home, "ask", "--max-tokens", "4", stdin=text).code == 0
    id_ = charlie(home, "journal", "add", stdin=text).out.strip()
    entry = next(each for each in charlie(home, "journal", "list", "--json").json if each["id"] == id_)
    assert entry["state"] == "findable"
    assert entry["text"].encode() == text
    assert "\x1b" not in entry["title"]


def test_the_journal_is_searched_by_meaning_and_asked(home: Path) -> None:
    walk = charlie(home, "journal", "add", "I walked along the river with Anna.").out.strip()
    bread = charlie(home, "journal", "add", "-", stdin="Baked bread; the dough was too wet.").out.strip()
    listed = charlie(home, "journal", "list", "--json").json
    assert [each["id"] for each in listed[:2]] == [bread, walk]
    assert {each["state"] for each in listed[:2]} == {"findable"}
    assert bread in charlie(home, "journal", "list").out

    found = charlie(home, "journal", "search", "river", "--json").json
    assert found["query"] == "river"
    assert found["hits"][0]["entry"] == walk
    assert set(found["hits"][0]) == {"entry", "title", "chunk", "similarity", "relevance", "start", "mark"}
    assert walk in charlie(home, "journal", "search", "river", "--limit", "1").out

    answer = charlie(home, "journal", "ask", "Where did I walk?", "--json", "--max-tokens", "9").json
    assert walk in {citation["entry"] for citation in answer["citations"]}
    assert list(answer)[: len(STATS)] == STATS
    assert f"({walk})" in charlie(home, "journal", "ask", "Where did I walk?", "--max-tokens", "9").out


def test_every_transition_is_legal_and_numbered_without_a_gap(home: Path) -> None:
    charlie(home, "unload")
    charlie(home, "warm", "embedding")
    charlie(home, "warm", "instruct")
    charlie(home, "unload")
    changes = [each for each in charlie(home, "events", "--json").lines if each["kind"] == "StateChanged"]
    assert [change["seq"] for change in changes] == list(range(1, len(changes) + 1))
    legal = {(t.trigger, t.source.value, t.dest.value) for t in TRANSITIONS}
    assert {(change["trigger"], change["from"], change["to"]) for change in changes} <= legal
    assert all(one["to"] == other["from"] for one, other in pairwise(changes))
    assert {"role", "model", "reason", "elapsed_ms"} <= set(changes[0])
    assert [(change["trigger"], change["role"], change["to"]) for change in changes[-6:]] == [
        ("load", "instruct", "loading"), ("loaded", "instruct", "warm"),
        ("unload", "embedding", "unloading"), ("unloaded", "embedding", "warm"),
        ("unload", "instruct", "unloading"), ("unloaded", "instruct", "empty"),
    ]  # fmt: skip


def test_warm_says_how_long_it_took_and_unload_empties(home: Path) -> None:
    charlie(home, "unload")
    label, took = charlie(home, "warm", "embedding").out.split()
    assert label == "load_ms"
    assert float(took) > 0
    assert charlie(home, "warm", "embedding").out == "load_ms 0.0\n"
    warm = charlie(home, "ps", "--json").json
    assert (warm["phase"], warm["role"]) == ("warm", "embedding")
    (kept,) = warm["warm"]
    assert (kept["role"], kept["pinned"]) == ("embedding", False)
    assert kept["kept_until"] > warm["since"]
    assert warm["policy"]["policy"] == "fitting"
    assert charlie(home, "unload", "instruct").err.splitlines()[-1] == "Nothing was loaded."
    assert charlie(home, "graph", "--live").out != charlie(home, "graph").out
    assert charlie(home, "unload").err.splitlines()[-1] == "Unloaded embedding."
    empty = charlie(home, "ps", "--json").json
    assert (empty["phase"], empty["role"], empty["model"]) == ("empty", None, None)


def test_ps_and_doctor_show_warm_models_and_the_policy(home: Path) -> None:
    charlie(home, "unload")
    charlie(home, "warm", "instruct")
    charlie(home, "warm", "embedding")
    assert charlie(home, "pin", "embedding").code == 0
    try:
        charlie(home, "warm", "embedding")
        lines = [" ".join(line.split()) for line in charlie(home, "ps").out.splitlines()]
        assert "warm embedding · tiny-embedding · pinned" in lines
        assert any(line.startswith("warm instruct · tiny-instruct · kept until 2") for line in lines)
        reason = charlie(home, "ps", "--json").json["policy"]["reason"]
        assert f"policy fitting: {reason}" in lines
        assert f"fitting: {reason}" in charlie(home, "doctor").out
        assert charlie(home, "pin", "embedding", "--off").code == 0
        assert "pinned = false" in (home / "config" / "config.toml").read_text()
    finally:
        (home / "config" / "config.toml").unlink()


def test_ps_reports_the_state(home: Path) -> None:
    report = charlie(home, "ps", "--json").json
    assert list(report) == [
        "phase", "role", "model", "since", "warm", "policy", "worker", "database", "queue",
        "set_aside", "refused", "memory",
    ]  # fmt: skip
    assert psutil.pid_exists(report["worker"]["pid"])
    assert psutil.pid_exists(report["database"]["pid"])
    assert Path(report["database"]["socket"]).is_socket()
    ram = report["memory"]["ram"]
    assert 0 < ram["process_rss"] < ram["available"] <= ram["total"]
    assert f"pid {report['worker']['pid']}" in charlie(home, "ps").out


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the running Charlie."""
    monkeypatch.setenv("CHARLIE_HOME", str(home))
    client = Client(load_settings(), find_paths())
    yield client
    client.close()


def parked(client: Client, text: str) -> Job:
    """The ingestion of a new entry, parked as if the worker had ended three times in it."""
    entry = client.journal.new_entry(text)
    client.journal.mark_entries({entry.id: entry.revision}, EntryState.FAILED, PARKED)
    return park(client, entry, PARKED)


def test_parked_jobs_are_listed_and_retried_or_skipped(home: Path, client: Client) -> None:
    again, skipped, gone = (parked(client, text) for text in ("Once more.", "Never more.", "No more."))
    listed = charlie(home, "ps", "--json").json["set_aside"]
    assert [each["id"] for each in listed] == [again.id, skipped.id, gone.id]
    assert {(each["kind"], each["error"]) for each in listed} == {("ingest_entry", PARKED)}
    shown = charlie(home, "ps").out
    assert "parked" in shown
    assert f"{skipped.id}  ingest_entry  of {skipped.subject}" in shown
    assert charlie(home, "retry", again.id).err.splitlines()[-1] == f"The entry {again.subject} is indexed."
    assert charlie(home, "drop", skipped.id).code == 0
    client.journal.delete_entry(gone.subject)
    assert refused(charlie(home, "retry", gone.id)) == f"There is no journal entry {gone.subject!r}."
    states = {each["id"]: each["state"] for each in charlie(home, "journal", "list", "--json").json}
    assert (states[again.subject], states[skipped.subject]) == ("findable", "dropped")
    assert charlie(home, "ps", "--json").json["set_aside"] == []
    for command in ("retry", "drop"):
        assert refused(charlie(home, command, skipped.id)) == f"There is no parked job {skipped.id!r}."
        assert refused(charlie(home, command, "\x1b[2J")) == "There is no parked job '␛[2J'."


def test_refused_messages_are_counted_and_shown_as_plain_text(home: Path, client: Client) -> None:
    before = charlie(home, "ps", "--json").json["refused"]["count"]
    storage = client._queue.storage
    for number in range(5):
        storage.conn.lpush(storage.queue_key, f"{number}\x1b]0;gotcha\x07 [red]".encode() + b"\xff\x80\x9b31m")
    charlie(home, "warm", "embedding")
    found = charlie(home, "ps", "--json").json["refused"]
    assert found["count"] == before + 5
    assert found["last"] == [f"{number}␛]0;gotcha␇ [red]\\xff\\x80\\x9b31m" for number in (4, 3, 2)]
    shown = charlie(home, "ps").out
    assert f"{before + 5} messages in the queue" in shown
    assert not set(shown) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.parametrize("broken", ["missing", "empty", "truncated", "foreign", "of the wrong kind"])
def test_an_unusable_model_is_reported_and_the_app_goes_on(home: Path, broken: str) -> None:
    good, other = (tiny_models()[role].read_bytes() for role in (Role.INSTRUCT, Role.RERANKER))
    contents = {"empty": b"", "truncated": good[:9999], "foreign": b"MZ" * 999, "of the wrong kind": other}
    file = home / "broken.gguf"
    file.unlink(missing_ok=True)
    if broken in contents:
        file.write_bytes(contents[broken])
    config = home / "config" / "config.toml"
    config.write_text(f'[instruct]\nfile = "{file}"\n')
    try:
        assert str(file) in refused(charlie(home, "ask", "hello"))
        assert str(file) in charlie(home, "models", "list").out
    finally:
        config.unlink()
    assert charlie(home, "ask", "hello", "--json").json["model"] == "tiny-instruct"


def test_models_use_takes_effect_with_the_next_job(home: Path) -> None:
    file = home / "models" / "mine.gguf"
    file.write_bytes(tiny_models()[Role.INSTRUCT].read_bytes())
    assert str(file) in charlie(home, "models", "list", "--json").json["others"]
    assert charlie(home, "models", "use", "instruct", "mine.gguf").code == 0
    try:
        roles = charlie(home, "models", "list", "--json").json["roles"]
        assert next(each for each in roles if each["role"] == "instruct")["file"] == str(file)
        assert charlie(home, "ask", "hello", "--json").json["load_ms"] > 0
    finally:
        (home / "config" / "config.toml").unlink()


def test_a_plan_says_what_a_load_would_take_and_loads_nothing(home: Path) -> None:
    charlie(home, "unload")
    charlie(home, "warm", "embedding")
    before = charlie(home, "ps", "--json").json
    plan = charlie(home, "models", "plan", "instruct", "--json").json
    assert {"fits", "needed", "available", "unload", "gpu_layers", "context", "reason"} <= set(plan)
    assert plan["fits"]
    assert plan["unload"] == []
    assert 0 < plan["needed"]["RAM"] < plan["available"]["RAM"]
    assert plan["context"] == 2048
    said = charlie(home, "models", "plan", "instruct")
    assert said.code == 0
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert {f"file {plan['file']}", "before unloads nothing", "reason fits with 2,048 tokens"} <= set(lines)
    after = charlie(home, "ps", "--json").json
    assert [after[name] for name in ("phase", "role", "since")] == [before[name] for name in ("phase", "role", "since")]


def test_a_plan_of_another_file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is searched in the current folder, then in the models folder."""
    good = tiny_models()[Role.INSTRUCT].read_bytes()
    for folder in (tmp_path, home / "models"):
        (folder / "other.gguf").write_bytes(good)
    (home / "models" / "kept.gguf").write_bytes(good)
    monkeypatch.chdir(tmp_path)
    for name, file in (("other.gguf", tmp_path / "other.gguf"), ("kept.gguf", home / "models" / "kept.gguf")):
        assert charlie(home, "models", "plan", "instruct", "--file", name, "--json").json["file"] == str(file)
    said = refused(charlie(home, "models", "plan", "reranker", "--file", "other.gguf"))
    assert "the role reranker needs a reranker" in said


def test_a_plan_of_a_file_four_times_the_machines_memory(home: Path, tmp_path: Path) -> None:
    """The file has a whole header, and a hole for the weights."""
    total = psutil.virtual_memory().total
    layer = 3 * 16_384 * 65_536
    layers = 4 * total // layer + 1
    shape = Shape(layers=layers, width=16_384, heads=128, kv_heads=8, feed_forward=65_536, weights="q8_0")
    file = write(tmp_path / "huge.gguf", shape, hollow=True)
    assert file.stat().st_size > 4 * total
    plan = charlie(home, "models", "plan", "instruct", "--file", str(file), "--json").json
    assert not plan["fits"]
    assert plan["needed"]["RAM"] > 4 * total
    assert plan["available"]["RAM"] < total
    assert plan["reason"].startswith("huge does not fit: with 2,048 tokens of context it needs ")
    assert "more RAM in the machine, or with a model file of at most " in plan["hint"]


def test_models_inspect_shows_the_header(home: Path) -> None:
    file = tiny_models()[Role.EMBEDDING]
    header = charlie(home, "models", "inspect", str(file), "--json").json
    assert (header["architecture"], header["kind"]) == ("bert", "an embedding model")
    shown = charlie(home, "models", "inspect", str(file)).out
    assert "bert" in shown
    assert re.search(r"needs +[\d.]+ MiB of RAM at 512 tokens", shown)


def test_models_inspect_shows_what_a_template_supports(home: Path) -> None:
    template = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    file = variant(tiny_models()[Role.INSTRUCT], home / "tools.gguf", template=template)
    inspected = charlie(home, "models", "inspect", str(file), "--json").json
    assert inspected["template"] == {"system": True, "thinking": False, "tools": True, "parts": False}
    shown = charlie(home, "models", "inspect", str(file)).out
    assert "system: yes, thinking: no, tools: yes, parts: no" in shown
    assert charlie(home, "models", "inspect", str(tiny_models()[Role.EMBEDDING]), "--json").json["template"] == {}


def test_a_broken_template_is_noted_when_its_model_is_chosen(home: Path) -> None:
    file = variant(tiny_models()[Role.INSTRUCT], home / "broken.gguf", template="{% frobnicate %}")
    reason = "Encountered unknown tag 'frobnicate'"
    assert charlie(home, "models", "inspect", str(file), "--json").json["template"] == {"error": reason}
    assert f"error: {reason}" in charlie(home, "models", "inspect", str(file)).out
    used = charlie(home, "models", "use", "instruct", str(file))
    try:
        asked = charlie(home, "ask", "hello", "--max-tokens", "5")
    finally:
        (home / "config" / "config.toml").unlink()
    assert (used.code, asked.code) == (0, 0)
    assert f"Its chat template cannot be used, so its prompts will have a plain form: {reason}." in used.err
    assert f"could not be used, so the prompt has a plain form: {reason}." in asked.err


def test_unknown_or_ended_jobs_cannot_be_cancelled(home: Path) -> None:
    assert refused(charlie(home, "cancel", "nope")) == "There is no job 'nope'."
    done = charlie(home, "ask", "hello", "--json").json["message"]
    assert refused(charlie(home, "cancel", done)) == f"The job {done} has ended already: it is done."


def test_paths_are_under_the_home(home: Path) -> None:
    places = charlie(home, "paths", "--json").json
    assert places["config"] == str(home / "config" / "config.toml")
    assert all(Path(place).is_relative_to(home) for place in places.values())
    assert places["data"] in charlie(home, "paths").out


@pytest.mark.parametrize(("form", "part"), [("mermaid", "stateDiagram-v2"), ("dot", "digraph")])
def test_graph_exports_every_state(home: Path, form: str, part: str) -> None:
    file = home / "graph"
    graph = charlie(home, "graph", "--format", form)
    assert part in graph.out
    assert all(name in graph.out for name in ("EMPTY", "LOADING", "WARM", "UNLOADING"))
    assert charlie(home, "graph", "--format", form, "--out", str(file)).out == ""
    assert file.read_text() == graph.out
    assert "cannot be written" in refused(charlie(home, "graph", "--out", str(file / "below")))


def test_the_command_line_knows_every_role() -> None:
    assert get_args(RoleName) == tuple(Role)
