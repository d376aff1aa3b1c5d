"""Formats sizes, counts, times and bars: one spelling for the whole program."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

UNDATED = "undated"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
FULL_CELL, EMPTY_CELL = "▇", "▁"


def size(count: float, digits: int = 2) -> str:
    """Bytes in the largest unit below them, with at least `digits` digits: 610 MiB, 1.5 GiB."""
    step = 0
    while count >= 999.5 and step < len(UNITS) - 1:
        count, step = count / 1024, step + 1
    decimals = max(0, digits - len(str(int(count)))) if step else 0
    return f"{count:,.{decimals}f} {UNITS[step]}"


def exact_size(count: float) -> str:
    """Three digits, to compare two sizes: 8.13 GiB, 8.08 GiB."""
    return size(count, 3)


def gib(count: int) -> str:
    """Bytes as a number of GiB without the unit, for a gauge; one decimal below ten."""
    value = count / 1024**3
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def counted(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:,.0f} tok/s" if tokens_per_second >= 10 else f"{tokens_per_second:.1f} tok/s"


def duration(milliseconds: float) -> str:
    """Milliseconds below a second, seconds below a minute, then minutes."""
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"


def zone_name() -> str:
    """The name of the person's time zone, such as Europe/Berlin; empty if it has none."""
    file = os.environ.get("TZ") or os.path.realpath("/etc/localtime")
    name = file.removeprefix(":").rpartition("zoneinfo/")[2]
    return name if _zone(name) else ""


@lru_cache
def _zone(name: str) -> ZoneInfo | None:
    """None is the local zone."""
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None


def _moment(at: float, zone: str = "") -> datetime:
    """Raises ValueError for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone(_zone(zone))
    except (OverflowError, OSError) as error:
        raise ValueError(f"no date: {at}") from error


def local_time(at: float, form: str = "%Y-%m-%d %H:%M", zone: str = "") -> str:
    """The time in a named zone, or the local one if that is unknown; `undated` before the year 1 and after 9999."""
    try:
        then = _moment(at, zone)
    except ValueError:
        return UNDATED
    return then.strftime(form.replace("%Y", f"{then.year:04}"))


def day(at: float, zone: str = "") -> str:
    """`Today`, `Yesterday` or the date, by the calendar: the day in its zone beside the present one here."""
    date, today = local_time(at, "%a %d %b %Y", zone), _moment(time.time())
    for name, days in (("Today", 0), ("Yesterday", 1)):
        if date == (today.date() - timedelta(days)).strftime("%a %d %b %Y"):
            return name
    return date


def clock(at: float) -> str:
    """The local time of day with seconds."""
    return local_time(at, "%H:%M:%S")


def moment(at: float, zone: str = "") -> str:
    """The time of day, with the date unless it is today."""
    return local_time(at, "%H:%M" if day(at, zone) == "Today" else "%Y-%m-%d %H:%M", zone)


def days_before(at: float, days: int) -> float:
    """The same time of day, this many days of the calendar earlier."""
    return (_moment(at).replace(tzinfo=None) - timedelta(days)).timestamp()


def file_stamp() -> str:
    """The local date and time, for a file name."""
    return local_time(time.time(), "%Y%m%d-%H%M%S")


def bar(fraction: float, width: int) -> tuple[str, str]:
    """The full and the empty part of a bar; any fraction above 0 fills at least one cell."""
    fraction = min(max(fraction, 0.0), 1.0)
    full = min(width, max(round(fraction * width), 1 if fraction > 0 else 0))
    return FULL_CELL * full, EMPTY_CELL * (width - full)
