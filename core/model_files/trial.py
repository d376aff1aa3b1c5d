"""Tries a model file in a process of its own, which llama.cpp may end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from core.errors import LoadFailedError
from core.roles import Role

ASSERTION = re.compile(r"^\S+\.\w+:\d+: (.+)$", re.MULTILINE)
"""What llama.cpp says before it ends the process; ggml.c, ggml_abort."""
SECONDS = 60.0


def try_out(role: Role, file: Path) -> None:
    """Simulate the load of a file. Raises LoadFailedError where llama.cpp refuses it; takes half a second."""
    done = subprocess.run(
        [sys.executable, "-m", "core.llama.simulate", role, str(file)],
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return
    if done.stdout:
        raise LoadFailedError(*json.loads(done.stdout))
    found = ASSERTION.search(done.stderr)
    reason = found[1] if found else f"llama.cpp ended with the status {done.returncode}"
    raise LoadFailedError(f"The model {file.name} could not be loaded: {reason}.", "Choose another file.")
