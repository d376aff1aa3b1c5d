"""Under a real limit a model that is too large is refused and the process lives; without the guard it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.shapes import Shape, write

LARGE = Shape(layers=12, width=1024, heads=16, kv_heads=16, feed_forward=4096, vocabulary=1000, context=2048)
"""400 MB of weights."""
LONG = Shape(layers=12, width=256, heads=4, kv_heads=4, feed_forward=512, vocabulary=1000, context=32_768)
"""384 MB of KV cache with the whole context, 192 MB with half of it."""


@dataclass(frozen=True)
class Run:
    code: int
    said: dict[str, Any]


def run(home: Path, mode: str, file: Path, megabytes: int) -> Run:
    done = subprocess.run(
        [sys.executable, "-m", "tests.states.limited", mode, str(file), str(megabytes)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = {key: value for line in done.stdout.splitlines() for key, value in json.loads(line).items()}
    if "group" in said:
        Path(said["group"]).rmdir()
    return Run(done.returncode, said)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return write(tmp_path / "large.gguf", LARGE, hollow=True)


def test_too_large_a_model_is_refused_and_the_process_lives(home: Path, large: Path) -> None:
    done = run(home, "guarded", large, 250)
    assert done.code == 0
    assert done.said["refused"].startswith("large does not fit: ")
    assert done.said["phase"] == "empty"
    assert done.said["lives"]
    assert done.said["triggers"][:2] == ["load", "loaded"]  # of the other model: the large one did not begin to load


def test_the_same_limit_without_the_guard_ends_the_process(home: Path, large: Path) -> None:
    """The kernel ends it where a cgroup can be made; RLIMIT only fails the load."""
    done = run(home, "unguarded", large, 250)
    assert done.code == (-9 if done.said["kind"] == "cgroup" else 1)
    assert "loaded" not in done.said


@pytest.mark.slow
def test_without_the_limit_it_loads(home: Path, large: Path) -> None:
    """The two tests above rely on it."""
    assert run(home, "unguarded", large, 8000).said["loaded"]


def test_an_allocation_failure_tries_a_smaller_plan(home: Path, tmp_path: Path) -> None:
    done = run(home, "late", write(tmp_path / "long.gguf", LONG), 280)
    assert done.said["context"] == 16_384
    assert done.said["plans"][:2] == [32_768, 16_384]
    assert done.said["triggers"][:4] == ["load", "load_failed", "load", "loaded"]
    assert done.said["lives"]


def test_a_second_allocation_failure_refuses_and_frees_everything(home: Path, tmp_path: Path) -> None:
    done = run(home, "blind", write(tmp_path / "long.gguf", LONG), 120)
    assert "Memory ran out while long.gguf was loaded" in done.said["refused"]
    assert done.said["phase"] == "empty"
    assert done.said["triggers"][:6] == ["load", "load_failed", "load", "load_failed", "load", "loaded"]
    assert done.said["lives"]
