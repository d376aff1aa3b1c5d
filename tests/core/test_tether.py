"""What is tethered ends with its parent, on every platform's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import core.tether
from tests.waiting import ends_within

SCRIPT = str(Path(core.tether.__file__))
KERNEL = """
import signal, subprocess, sys
from core.tether import tethered
subprocess.run(tethered(signal.SIGKILL, sys.argv[1:]))
"""
PIPE = """
import subprocess, sys
guard = "import signal, sys; from core.tether import guard; guard(signal.SIGKILL, sys.argv[1:])"
subprocess.Popen([sys.executable, "-c", guard, *sys.argv[1:]], stdin=subprocess.PIPE).wait()
"""
CHILD = "import os, signal; print(os.getpid(), flush=True); signal.pause()"


@pytest.mark.parametrize("way", [KERNEL, PIPE], ids=["by the kernel", "by a pipe"])
def test_it_ends_with_its_parent(way: str) -> None:
    command = [sys.executable, "-c", way, sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        with ends_within(int(parent.stdout.readline()), 2):
            parent.kill()
            parent.wait()


def test_its_status_is_the_commands() -> None:
    """Run by another process than the one it names as its parent, it does not start at all."""
    run = [sys.executable, SCRIPT, str(os.getpid()), "SIGTERM", sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(run, stdin=subprocess.DEVNULL, check=False).returncode == 7
    run[2] = "1"
    assert subprocess.run(run, stdin=subprocess.DEVNULL, check=False).returncode == 1
