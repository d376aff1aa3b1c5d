"""Reads the new lines of the processes' log files."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal, get_args

from core.text import printable

Source = Literal["worker", "database", "app"]
SOURCES: tuple[Source, ...] = get_args(Source)
READ_AT_ONCE = 256 * 1024
"""Bytes; only the end of a longer or faster growing file is read."""
LONGEST_LINE = 2000


class Level(IntEnum):
    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file. A line without a time has the time `at` (seconds) of the line before.

    `message` is `text` without the time.
    """

    source: Source
    level: Level
    at: float
    text: str
    message: str


_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_TIME = re.compile(r"^\D?(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")
_REDIS = re.compile(r"^\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)\.(\d{3}) ([.\-*#]) ")
_REDIS_LEVELS = {".": Level.DEBUG, "-": Level.DEBUG, "*": Level.INFO, "#": Level.INFO}
"""Redis marks errors with #, but also harmless lines such as "ready to exit"."""
_PROBLEM = re.compile(r"warning|error|fail|can't|unable|bad |corrupt|out of memory", re.IGNORECASE)
_LEVELS = {**Level.__members__, "CRITICAL": Level.ERROR}


def parse(source: Source, text: str, before: Line | None) -> Line:
    """Parse level and time; a line without both (of a traceback) takes them from the line before."""
    text = text[:LONGEST_LINE]
    level, at, start = (before.level, before.at, 0) if before else (Level.INFO, 0.0, 0)
    if match := _REDIS.match(text):
        at = time.mktime(time.strptime(match[1], "%d %b %Y %H:%M:%S")) + int(match[2]) / 1000
        level, start = _REDIS_LEVELS[match[3]], match.end()
        if match[3] == "#" and _PROBLEM.search(text, start):
            level = Level.WARNING
    elif match := _TIME.match(text):
        parts = (*(int(part) for part in match.groups()[:6]), 0, 0, -1)
        at = time.mktime(time.struct_time(parts)) + float(f"0.{match[7] or 0}")
        word = _LEVEL.search(text, match.end(), match.end() + 60)
        level, start = _LEVELS[word[1]] if word else Level.INFO, match.end()
    elif match := _LEVEL.match(text):
        level = _LEVELS[match[1]]
    return Line(source, level, at, printable(text), printable(text[start:]).strip() or printable(text))


@dataclass(slots=True)
class Tail:
    """The end of one file. A file that got shorter was replaced, and is read from its beginning."""

    source: Source
    path: Path
    position: int | None = None
    rest: bytes = b""
    last: Line | None = None

    def read(self) -> list[Line]:
        """The complete lines added since the last call; none while there is no file."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, 2)
                if self.position is None or self.position > end or end - self.position > READ_AT_ONCE:
                    self.rest = b""
                    start = max(0, end - READ_AT_ONCE)
                    file.seek(start)
                    if start:
                        file.readline()
                else:
                    file.seek(self.position)
                data = file.read(READ_AT_ONCE)
                self.position = file.tell()
        except FileNotFoundError:
            self.position = None
            return []
        *whole, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > READ_AT_ONCE:  # an endless line must not fill the memory
            self.rest = self.rest[:LONGEST_LINE]
        lines = []
        for each in filter(bytes.strip, whole):
            self.last = parse(self.source, each.decode("utf-8", "replace"), self.last)
            lines.append(self.last)
        return lines


class Tails:
    """All log files as one stream."""

    def __init__(self, folder: Path) -> None:
        self.tails = [Tail(source, folder / f"{source}.log") for source in SOURCES]

    def read(self) -> list[Line]:
        """The lines added since the last call, ordered by time."""
        return sorted((line for tail in self.tails for line in tail.read()), key=lambda line: line.at)
