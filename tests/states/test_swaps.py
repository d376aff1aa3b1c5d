from __future__ import annotations

import json
import subprocess
import sys

import pytest

COUNT, SETTLED = 90, 50


@pytest.mark.slow
def test_swaps_leave_nothing_behind() -> None:
    """A part of the benchmark (which makes 300), in its own process."""
    command = [sys.executable, "-m", "tests.benchmarks.swaps", "--json", str(COUNT)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == COUNT
    settled, last = found[SETTLED - 1], found[-1]
    assert last["rss"] < 1.02 * settled["rss"]
    assert (last["threads"], last["descriptors"]) == (settled["threads"], settled["descriptors"])
    assert last["mappings"] <= settled["mappings"] + 4  # the heap's own pieces come and go
