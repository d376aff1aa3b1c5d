"""A failed measurement becomes a row of the table, and the other rows are kept."""

from __future__ import annotations

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
from tests.benchmarks.table import Row, attempted, limited
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
    monkeypatch.setattr(bench, "MEASUREMENTS", (module("x.broken", broken), module("x.sound", sound)))
    assert bench.main() == 1
    printed = capsys.readouterr()
    assert "| first half | a | 1.00 s |" in printed.out
    assert r"| broken |  | | | | | **failed: ValueError: no \| room at all** |" in printed.out
    assert "| sound | b | 1.00 s |" in printed.out
    assert "2 of 3 measures are met, 1 failed." in printed.out
    assert "Traceback" in printed.err
    monkeypatch.setattr(bench, "MEASUREMENTS", (module("x.sound", sound),))
    assert bench.main() == 0


def test_a_failed_row_has_no_bar(tmp_path: Path) -> None:
    models = Models(tmp_path, {}, tmp_path, tmp_path, tmp_path, short=True)
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
