"""Repairs a damaged append-only file (AOF) by copying its whole commands.

The file is a list of commands in the protocol of Redis (RESP): `*2`, then `$3`, `GET`, `$1`, `a`, each ended by CR LF.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import DatabaseError
from core.figures import file_stamp

COUNT = re.compile(rb"\*(\d{1,6})\r\n")
LENGTH = re.compile(rb"\$(\d{1,10})\r\n")
NAME = re.compile(rb"[A-Za-z]{2,20}")
WRITES = frozenset(
    b"SET SETEX PSETEX DEL UNLINK RENAME EXPIRE PEXPIRE PEXPIREAT PERSIST INCR INCRBY MULTI EXEC "
    b"HSET HSETNX HMSET HDEL SADD SREM ZADD ZREM ZPOPMAX RPUSH LPUSH LPOP RPOP LREM LTRIM LMOVE RPOPLPUSH "
    b"XADD XDEL XTRIM XSETID".split()
)
BLOCK = frozenset({b"MULTI", b"EXEC"})


@dataclass(frozen=True, slots=True)
class Span:
    """One whole command: its first byte, the byte after it, and its name in capitals."""

    start: int
    end: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of a repair: commands kept, bytes damaged of bytes in all, and where the damaged file is now."""

    commands: int
    damaged: int
    size: int
    damaged_file: Path


def whole_commands(data: bytes | mmap.mmap) -> Iterator[Span]:
    """Every readable command. After damage, the search goes on at the next beginning of a command."""
    at, lost = 0, False
    while 0 <= at < len(data):
        span = _command(data, at)
        # Part of a text may look like a command, so after damage only known writing commands count.
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
    """Bytes of the file that belong to no whole command, and bytes in all."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return len(data) - sum(span.end - span.start for span in whole_commands(data)), len(data)


def repair(file: Path) -> Repair | None:
    """Replace a damaged file by a copy of its whole commands, and rename the damaged one; None when it is whole.

    MULTI/EXEC markers are dropped, so one damaged transaction does not discard the others. The caller holds the lock
    on the data folder. Raises DatabaseError for a file that is no list of commands.
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
        raise DatabaseError(f"Nothing in {file} can be read.", "Restore a backup, or move it away and start again.")
    damaged = file.with_name(f"{file.name}.damaged-{file_stamp()}")
    if damaged.exists():
        damaged = damaged.with_name(f"{damaged.name}-{os.getpid()}")
    file.rename(damaged)
    copy.rename(file)
    return Repair(kept, size - written, size, damaged)
