from __future__ import annotations

import json
import subprocess
import sys

COUNT, SETTLED = 90, 50


def test_swaps_leave_nothing_behind() -> None:
    """The benchmark goes on to 300; here a part of it, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.swaps", "--json", str(COUNT)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == COUNT
    settled, last = found[SETTLED - 1], found[-1]
    assert last["rss"] < 1.02 * settled["rss"]
    assert (last["threads"], last["descriptors"]) == (settled["threads"], settled["descriptors"])
    assert last["mappings"] <= settled["mappings"] + 4  # the heap's own pieces come and go
