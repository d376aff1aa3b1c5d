"""A command ends with its parent, by the kernel on Linux and by a pipe elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import core.die_with_parent
from tests.waiting import ends_within

SCRIPT = str(Path(core.die_with_parent.__file__))
KERNEL = """
import signal, subprocess, sys
from core.die_with_parent import bound_to_parent
subprocess.run(bound_to_parent(signal.SIGKILL, sys.argv[1:]))
"""
PIPE = """
import subprocess, sys
guard = "import signal, sys; from core.die_with_parent import guard; guard(signal.SIGKILL, sys.argv[1:])"
subprocess.Popen([sys.executable, "-c", guard, *sys.argv[1:]], stdin=subprocess.PIPE).wait()
"""
CHILD = "import os, signal; print(os.getpid(), flush=True); signal.pause()"


@pytest.mark.parametrize("way", [KERNEL, PIPE], ids=["by the kernel", "by a pipe"])
def test_the_command_ends_with_its_parent(way: str) -> None:
    command = [sys.executable, "-c", way, sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            with ends_within(int(parent.stdout.readline()), 2):
                parent.kill()
                parent.wait(20)
        finally:
            parent.kill()


def test_the_exit_status_is_that_of_the_command() -> None:
    """With another parent than the named one the command is not started."""
    run = [sys.executable, SCRIPT, str(os.getpid()), "SIGTERM", sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(run, stdin=subprocess.DEVNULL, check=False, timeout=60).returncode == 7
    run[2] = "1"
    assert subprocess.run(run, stdin=subprocess.DEVNULL, check=False, timeout=60).returncode == 1
