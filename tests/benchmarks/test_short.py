"""The short form of the table has all rows; its figures mean nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURES = (
    "tokens per second ÷ raw generate()",
    "tokens per second ÷ llama-cpp-python's chat streaming",
    "cost of a token",
    "tokens per second beside busy processes",
    "cost of a token after 8,000",
    "time to the first token",
    "swap, request to first token",
    "return to a chat",
    "journal question to first token",
    "prompt lookup",
    "cancel until the model is free",
    "indexing",
    "nearest 50",
    "memory of vectors",
    "recall@10",
    "search to first hits",
    "enqueueing a job",
    "memory of a queued job",
    "key press to changed screen",
    "`charlie` to a ready prompt",
    "`charlie --help`",
    "anonymous memory",
)


@pytest.mark.slow
def test_every_measure_has_its_rows() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--short"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for measure in MEASURES:
        assert f"| {measure}" in done.stdout, measure
