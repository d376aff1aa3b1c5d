"""Lists what another user of the machine can reach: `stranger.py UID`, paths on standard input, one a line.

Prints each path that this user can list, read, write or connect to. Starts as root and becomes that user for good.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path


def reach(path: Path) -> str:
    """How a path can be accessed; empty when it cannot."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            next(path.iterdir(), None)
            return "listed"
        if stat.S_ISSOCK(mode):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
            return "connected to"
    except OSError:
        return ""
    for flag, can in ((os.O_RDONLY, "read"), (os.O_WRONLY, "written")):
        try:
            os.close(os.open(path, flag))
        except OSError:
            continue
        return can
    return ""


def main() -> None:
    paths = sys.stdin.buffer.read().splitlines()
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
    for path in (Path(os.fsdecode(line)) for line in paths):
        if can := reach(path):
            print(f"{path} can be {can}")


if __name__ == "__main__":
    main()
