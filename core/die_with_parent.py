"""Runs a command that ends with its parent, however this ends: `die_with_parent.py PARENT_PID SIGNAL COMMAND...`.

It runs as a script without site packages, because it must start in milliseconds. On Linux the kernel sends the signal
(PR_SET_PDEATHSIG), and this process becomes the command. Elsewhere this process stays, and sends the signal when its
standard input, a pipe from the parent, closes.
"""

import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def bound_to_parent(number: signal.Signals, command: list[str]) -> list[str]:
    """The command line for a child that gets the signal `number` when this process, or its main thread, ends."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), number.name, *command]


def _become(parent: int, number: signal.Signals, command: list[str]) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before the call of prctl
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


def guard(number: signal.Signals, command: list[str]) -> None:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())

    def wait_for_parent() -> None:
        sys.stdin.buffer.read()
        child.send_signal(number)

    threading.Thread(target=wait_for_parent, daemon=True).start()
    sys.exit(child.wait())


if __name__ == "__main__":
    death_signal = signal.Signals[sys.argv[2]]
    if sys.platform == "linux":
        _become(int(sys.argv[1]), death_signal, sys.argv[3:])
    guard(death_signal, sys.argv[3:])
