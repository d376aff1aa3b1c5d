"""What earlier runs left behind, and a clock that is set back: the next start recovers by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.database import FAR, NEAR
from core.paths import find_paths
from tests.e2e.processes import kill_all
from tests.faults import phases
from tests.faults.outcome import Fault, Outcome
from tests.faults.stage import left_on, stage

START_SECONDS = 3.0


@contextmanager
def _another_program() -> Iterator[tuple[int, Path]]:
    """The pid of one, and a socket in the temporary folder that it listens on; its folder is named as ours are."""
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(); input()"
    with tempfile.TemporaryDirectory(prefix=FAR) as folder:
        path = Path(folder) / "db.sock"
        command = [sys.executable, "-c", script, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline()
                yield process.pid, path
                assert process.poll() is None, "the other program was ended"
                assert path.exists(), "the other program's socket was deleted"
            finally:
                process.kill()


def stale_files(home: Path) -> Outcome:
    """All is killed at once; the address that is left names the process and the socket of another program by now."""
    with stage(home) as on:
        phases.decoding(on)
        kill_all(home)
    paths = find_paths()
    address = paths.database / "address.json"
    left = json.loads(address.read_text())
    other = paths.run / f"{NEAR}notes"
    other.mkdir()
    (other / "kept").write_text("not ours")
    with _another_program() as (pid, socket):
        address.write_text(json.dumps({"pid": pid, "owner": pid, "socket": str(socket)}))
        began = time.monotonic()
        with stage(home) as again:
            usable = time.monotonic() - began
            again.jobs, again.entries = on.jobs, on.entries | again.entries
            missed = [*again.finish(), *again.broken_promises()]
            jobs, entries = again.jobs_lost(), again.entries_lost()
            again.stop()
    if not (other / "kept").exists():
        missed.append("a folder of somebody else was deleted")
    if Path(left["socket"]).parent.exists():
        missed.append("the old run folder was left")
    if usable > START_SECONDS:
        missed.append(f"the next start took {usable:.1f} s")
    return Outcome("it starts as ever", usable, jobs, entries, left_on(home), tuple(missed))


FAULTS = [
    Fault("stale address and run folder, its pid and socket another program's", stale_files, quick=True),
]
