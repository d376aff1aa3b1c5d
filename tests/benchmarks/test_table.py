"""A failed measurement becomes a row of the table, the other rows are kept, and rows in doubt are measured again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest

import tests.benchmarks.__main__ as bench
from tests.benchmarks.charlie import CONTEXT, must_fit
from tests.benchmarks.chart import draw
from tests.benchmarks.models import Models
from tests.benchmarks.table import Row, attempted, limited, median_rows
from tests.model_files import Size, write_random


def broken(models: Models) -> Iterator[Row]:
    yield limited("first half", "a", 1, 2, "s")
    raise ValueError("no | room\nat all")


def sound(models: Models) -> Iterator[Row]:
    yield limited("sound", "b", 1, 2, "s")


def module(name: str, rows: object) -> ModuleType:
    made = ModuleType(name)
    made.rows = rows  # type: ignore[attr-defined]
    return made


def test_a_failed_measurement_is_a_row_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--short"])
    monkeypatch.setattr(bench, "built", lambda **_: nullcontext())
    monkeypatch.setattr(bench, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(bench, "MEASUREMENTS", (module("x.broken", broken), module("x.sound", sound)))
    assert bench.main() == 1
    printed = capsys.readouterr()
    assert "| first half | a | 1.00 s |" in printed.out
    assert r"| broken |  | | | | | | **failed: ValueError: no \| room at all** |" in printed.out
    assert "| sound | b | 1.00 s |" in printed.out
    assert "2 of 3 measures are met, 1 failed." in printed.out
    assert "Traceback" in printed.err
    monkeypatch.setattr(bench, "MEASUREMENTS", (module("x.sound", sound),))
    assert bench.main() == 0


class Scripted:
    """A measurement whose rounds have these figures, each of a limit of 100."""

    def __init__(self, *figures: float) -> None:
        self.left = list(figures)

    def rows(self, _: Models) -> list[Row]:
        figure = self.left.pop(0)
        return [limited("scripted", f"a, worst {figure}", figure, 100, "ms")]


def rounds_of(
    monkeypatch: pytest.MonkeyPatch, *scripts: Scripted, rounds: int = 5, seconds: float = 60
) -> list[bench.Measurement]:
    modules = tuple(module(f"x.m{number}", each.rows) for number, each in enumerate(scripts))
    monkeypatch.setattr(bench, "MEASUREMENTS", modules)
    monkeypatch.setattr(bench, "LOOK_SECONDS", 0.01)
    models = Models(Path(), {}, Path(), Path(), Path(), Path(), {}, short=True)
    return bench.measure(models, rounds, seconds)


def test_a_row_is_repeated_until_its_spread_is_small_and_its_median_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    far, steady, unsteady, noisy = (
        Scripted(40),
        Scripted(90, 92),
        Scripted(90, 150, 91, 92),
        Scripted(60, 90, 70, 99, 80),
    )
    every = rounds_of(monkeypatch, far, steady, unsteady, noisy)
    assert [len(each.rounds) for each in every] == [1, 2, 4, 5]
    shown = [str(row) for each in every for row in each.rows]
    assert "| one round |" in shown[0]
    assert "| 2.2%, 2 rounds |" in shown[1]
    assert "| 92.0 ms |" in shown[1]  # of two, the worse one
    assert "| 1.1%, 4 rounds |" in shown[2]  # without the lowest and the highest
    assert "| 92.0 ms |" in shown[2]
    assert "| 25.0%, 5 rounds, **machine too noisy** |" in shown[3]
    assert "| 80.0 ms |" in shown[3]
    assert all(len(each.loads) == len(each.rounds) for each in every)


def test_the_row_nearest_to_its_limit_is_repeated_first(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Named(Scripted):
        def __init__(self, name: str, *figures: float) -> None:
            super().__init__(*figures)
            self.name = name

        def rows(self, models: Models) -> list[Row]:
            order.append(self.name)
            return super().rows(models)

    rounds_of(monkeypatch, Named("far", 300, 300), Named("near", 98, 98), Named("between", 70, 70))
    assert order == ["far", "near", "between", "near", "between", "far"]


def test_no_round_begins_after_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    (each,) = rounds_of(monkeypatch, Scripted(90), seconds=0)
    assert len(each.rounds) == 1
    (each,) = rounds_of(monkeypatch, Scripted(90), rounds=1)
    assert len(each.rounds) == 1


def test_rows_are_told_apart_and_one_failure_among_their_rounds_stays(tmp_path: Path) -> None:
    def phase(name: str, figure: float) -> Row:
        return limited("cancel", f"{name}, worst {figure}", figure, 100, "ms")

    rows = median_rows([[phase("queued", 1), phase("loading", 50)], [phase("queued", 2), phase("loading", 60)]])
    assert [(row.case, row.rounds) for row in rows] == [("queued, worst 2", 2), ("loading, worst 60", 2)]
    models = Models(tmp_path, {}, tmp_path, tmp_path, tmp_path, tmp_path, {}, short=True)
    broke = attempted("sound", "b", broken, models)[-1:]
    assert [row.failed for row in median_rows([list(sound(models)), broke])] == ["ValueError: no \\| room at all"]


def test_help_measures_nothing() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Measures speed, in one table" in done.stdout
    assert "| measure |" not in done.stdout


def test_a_failed_row_has_no_bar(tmp_path: Path) -> None:
    models = Models(tmp_path, {}, tmp_path, tmp_path, tmp_path, tmp_path, {}, short=True)
    rows = attempted("broken", "case", broken, models)
    draw(rows, tmp_path / "chart.svg")
    chart = (tmp_path / "chart.svg").read_text()
    assert "first half" in chart
    assert "broken" not in chart


def test_parameters_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    short = write_random(tmp_path / "short.gguf", size=Size(context=2048, words=True))
    must_fit(short, 1900, 100)
    with pytest.raises(ValueError, match=r"short\.gguf has 2,048 of context"):
        must_fit(short, 1900, 200)
    long = write_random(tmp_path / "long.gguf", size=Size(context=8192, words=True))
    with pytest.raises(ValueError, match="4,096 of context"):
        must_fit(long, CONTEXT, 1)
    must_fit(long, CONTEXT, 1, context=8192)
