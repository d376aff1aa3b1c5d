"""How sizes are written: the same everywhere, in binary units."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from core.figures import UNDATED, counted, day, days_before, exact_size, local_time, moment, size, zone_name


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1500, "1.5 KiB"), (640 * 1000**2, "610 MiB"),
        (512 * 1024**2, "512 MiB"), (1023 * 1024**2, "1.0 GiB"), (int(12.34 * 1024**3), "12 GiB"),
        (1024**4, "1.0 TiB"), (5000 * 1024**4, "5,000 TiB"),
    ],
)  # fmt: skip
def test_sizes(count: int, written: str) -> None:
    assert size(count) == written


def test_exact_sizes() -> None:
    sizes = [exact_size(count * 1024**2) for count in (1, 12, 640, 1200, 8325, 65536)]
    assert sizes == ["1.00 MiB", "12.0 MiB", "640 MiB", "1.17 GiB", "8.13 GiB", "64.0 GiB"]


def test_counts() -> None:
    assert [counted(count, "job") for count in (0, 1, 1200)] == ["0 jobs", "1 job", "1,200 jobs"]


Here = Callable[[str, float], None]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """Sets the person's time zone and the present time."""

    def be(zone: str, now: float) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        monkeypatch.setattr("core.figures.time.time", lambda: now)

    yield be
    monkeypatch.undo()
    time.tzset()


def at(zone: str, text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_days_are_those_of_the_calendar_over_a_change_of_clocks(here: Here) -> None:
    """The Sunday had 23 hours, so that 24 hours before Monday 00:30 it was Saturday."""
    berlin = "Europe/Berlin"
    here(berlin, at(berlin, "2025-03-31T00:30"))
    assert day(at(berlin, "2025-03-29T23:45")) == "Sat 29 Mar 2025"
    assert day(at(berlin, "2025-03-30T12:00")) == "Yesterday"
    assert day(at(berlin, "2025-03-31T00:01")) == "Today"
    here(berlin, at(berlin, "2025-10-26T23:30"))  # a day of 25 hours
    assert day(at(berlin, "2025-10-25T00:10")) == "Yesterday"
    assert days_before(at(berlin, "2025-03-31T00:30"), 7) == at(berlin, "2025-03-24T00:30")


def test_an_entry_keeps_its_zone(here: Here) -> None:
    tokyo, berlin = "Asia/Tokyo", "Europe/Berlin"
    here(berlin, at(berlin, "2025-06-10T12:00"))
    written = at(tokyo, "2025-06-10T01:00")  # 18:00 of the day before in Berlin
    assert (day(written), day(written, tokyo)) == ("Yesterday", "Today")
    assert (moment(written), moment(written, tokyo)) == ("2025-06-09 18:00", "01:00")
    for unknown in ("", "Nowhere/City", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b"):
        assert local_time(written, zone=unknown) == "2025-06-09 18:00"


@pytest.mark.parametrize(
    ("setting", "name"),
    [("Asia/Tokyo", "Asia/Tokyo"), (":Asia/Tokyo", "Asia/Tokyo"), ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
     ("CET-1CEST,M3.5.0,M10.5.0/3", "")],
)  # fmt: skip
def test_the_zone_has_a_name(here: Here, setting: str, name: str) -> None:
    here(setting, 0.0)
    assert zone_name() == name


def test_dates_of_other_centuries(here: Here) -> None:
    here("UTC", 1767600000.0)
    assert local_time(-1.0) == "1969-12-31 23:59"
    assert day(-2_000_000_000.0) == "Thu 16 Aug 1906"
    assert moment(-62_135_596_800.0) == "0001-01-01 00:00"
    assert local_time(253_402_300_799.0) == "9999-12-31 23:59"
    for none in (1e12, -1e12, 1e300, float("inf"), float("nan")):
        assert [day(none), moment(none), local_time(none, "%Y-%m-%d", "Asia/Tokyo")] == [UNDATED] * 3
