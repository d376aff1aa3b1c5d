"""The database's append-only file: what of it is whole, and a repaired copy when it is damaged.

The file is a list of commands in the protocol of Redis (RESP): `*2`, then `$3`, `GET`, `$1`, `a`, each ended by CR LF.
"""

from __future__ import annotations

import mmap
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import DatabaseError

COUNT = re.compile(rb"\*(\d{1,6})\r\n")
LENGTH = re.compile(rb"\$(\d{1,10})\r\n")
NAME = re.compile(rb"[A-Za-z]{2,20}")
WRITES = frozenset(
    b"SET SETEX PSETEX DEL UNLINK EXPIRE PEXPIRE PEXPIREAT PERSIST INCR INCRBY MULTI EXEC "
    b"HSET HMSET HDEL SADD SREM ZADD ZREM RPUSH LPUSH LPOP RPOP LREM LMOVE RPOPLPUSH XADD XDEL XTRIM".split()
)
BLOCK = frozenset({b"MULTI", b"EXEC"})


@dataclass(frozen=True, slots=True)
class Span:
    """One whole command: where it stands, and its name in capitals."""

    start: int
    end: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair kept and where the damaged file is now. Bytes."""

    commands: int
    damaged: int
    size: int
    aside: Path


def whole_commands(data: bytes | mmap.mmap) -> Iterator[Span]:
    """Every command that can be read, also behind damage: there the next beginning of one is looked for."""
    at, lost = 0, False
    while 0 <= at < len(data):
        span = _command(data, at)
        # Half a text may look like a command: behind damage only those count that write one thing.
        if span is None or (lost and span.name not in WRITES):
            at, lost = data.find(b"*", at + 1), True
            continue
        yield span
        at, lost = span.end, False


def _command(data: bytes | mmap.mmap, start: int) -> Span | None:
    head = COUNT.match(data, start)
    if head is None or head[1] == b"0":
        return None
    at, name = head.end(), b""
    for place in range(int(head[1])):
        length = LENGTH.match(data, at)
        if length is None:
            return None
        at = length.end() + int(length[1])
        if data[at : at + 2] != b"\r\n":
            return None
        if place == 0:
            name = data[length.end() : at].upper()
        at += 2
    return Span(start, at, name) if NAME.fullmatch(name) else None


def damage(file: Path) -> tuple[int, int]:
    """How many bytes of the file belong to no whole command, and how many it has."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return len(data) - sum(span.end - span.start for span in whole_commands(data)), len(data)


def repair(file: Path) -> Repair | None:
    """Replace a damaged file by a copy of its whole commands, and set it aside under another name; None when whole.

    What was written as one is not held together any more, so that a block with damage in it does not take the rest
    along. Whoever calls holds the lock on the data folder. Raises DatabaseError for a file that is no list of commands.
    """
    if not file.exists() or not file.stat().st_size:
        return None
    copy = file.with_name(f"{file.name}.repaired")
    kept = written = 0
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:5] == b"REDIS":
            raise DatabaseError(f"{file} begins with a snapshot, which cannot be repaired.", "Restore a backup.")
        with copy.open("wb") as out:
            copy.chmod(0o600)
            for span in whole_commands(data):
                written += span.end - span.start
                if span.name not in BLOCK:
                    out.write(data[span.start : span.end])
                    kept += 1
            out.flush()
            os.fsync(out.fileno())
        size = len(data)
    if written == size:
        copy.unlink()
        return None
    if not kept:
        copy.unlink()
        raise DatabaseError(f"Nothing in {file} can be read.", "Restore a backup, or move it away to begin anew.")
    aside = file.with_name(f"{file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    if aside.exists():
        aside = aside.with_name(f"{aside.name}-{os.getpid()}")
    file.rename(aside)
    copy.rename(file)
    return Repair(kept, size - written, size, aside)
