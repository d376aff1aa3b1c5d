"""Runs a command that ends when its parent does, however the parent ends: `tether.py PARENT_PID COMMAND...`.

A script of its own, run without site packages, because it must start in milliseconds. On Linux the kernel
signals the command (PR_SET_PDEATHSIG) and this process becomes it. Elsewhere this process stays, and ends the
command when its standard input, a pipe from the parent, closes.
"""

import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def become(parent: int, command: list[str]) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the kernel knew of our wish
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


def guard(command: list[str]) -> None:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())

    def wait_for_parent() -> None:
        sys.stdin.buffer.read()
        child.terminate()

    threading.Thread(target=wait_for_parent, daemon=True).start()
    sys.exit(child.wait())


if __name__ == "__main__":
    if sys.platform == "linux":
        become(int(sys.argv[1]), sys.argv[2:])
    guard(sys.argv[2:])
