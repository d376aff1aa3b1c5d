"""Finds the days that a question names ("last week", "in March", "since Christmas"), by the person's calendar."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple

FEASTS = {
    "christmas eve": "24 December", "christmas day": "25 December", "christmas": "25 December",
    "new year's eve": "31 December", "new year's day": "1 January", "new year": "1 January",
    "halloween": "31 October", "valentine's day": "14 February", "day before yesterday": "2 days ago",
    "last night": "yesterday", "this morning": "today", "tonight": "today",
}  # fmt: skip
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_NUMBER = r"(?:\d{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten)"
_UNITS = r"(?:day|week|month|year)s?"
_PHRASE = re.compile(
    r"(?:\b(?P<lead>since|after|from|before|until|till|between|during|over|on|in|at|of|and|to) )?"
    r"(?:the )?(?P<past>last |this )?(?:(?:beginning|middle|end) of |early |mid-?|late )?(?:\b(?P<atom>"
    rf"\d{{4}}-\d\d?-\d\d?|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\b"
    r"(?:,? \d{4})?"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?!\d)(?:,? \d{{4}})?|{_MONTH},? \d{{4}}"
    rf"|{_NUMBER} {_UNITS} ago|(?:last |this )?(?:mon|tues|wednes|thurs|fri|satur|sun)day|yesterday|today"
    r"|(?:last|this|past) (?:week|month|year))"
    rf"|\b(?:last|past) (?P<back>{_NUMBER} {_UNITS})|\b(?:last |this )?(?P<weekend>weekend)"
    rf"|\b(?P<bare>{_MONTH}|(?:19|20)\d\d|\d{{1,2}}(?:st|nd|rd|th)))\b",
    re.IGNORECASE,
)
_FEAST = re.compile(rf"\b(?:{'|'.join(FEASTS)})\b", re.IGNORECASE)


class Span(NamedTuple):
    """Times from the first moment of a period to the first one after it, and the question without its words."""

    start: float
    end: float
    rest: str


def find_span(question: str, now: float) -> Span | None:
    """The period that a question names, if it names one."""
    text = _FEAST.sub(lambda match: FEASTS[match[0].lower()], question[:1_000].replace("’", "'"))
    start, end, cuts = math.inf, -math.inf, list[re.Match[str]]()
    for match in _PHRASE.finditer(text):
        lead = (match["lead"] or "").lower()
        if match["bare"] and not (lead or match["past"]):
            continue  # "may" and "march" are verbs too
        try:
            first, after = (day.timestamp() for day in _days(match, datetime.fromtimestamp(now)))  # noqa: DTZ006  # local
        except (ValueError, OverflowError):  # 30 February, the year 10000
            continue
        until = lead in ("before", "until", "till")
        start = min(start, -math.inf if until else first)
        end = max(end, first if until else math.inf if lead in ("since", "after") else after)
        cuts.append(match)
    if not cuts:
        return None
    for match in reversed(cuts):
        text = f"{text[: match.start()]} {text[match.end() :]}"
    return Span(start, end, " ".join(text.split()))


def _days(match: re.Match[str], now: datetime) -> tuple[datetime, datetime]:
    """The first day of a period, and the day after it."""
    from dateparser.date import DateDataParser  # late: it takes 0.1 s

    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if match["weekend"]:
        saturday = today - timedelta(days=(today.weekday() + 2) % 7 or 7)
        return saturday, saturday + timedelta(days=2)
    words = f"{match['back']} ago" if match["back"] else match["atom"] or match["bare"]
    settings: dict[str, Any] = {"PREFER_DATES_FROM": "past", "PREFER_DAY_OF_MONTH": "first", "RELATIVE_BASE": now}
    settings["DATE_ORDER"] = "MDY" if "/" in words else "DMY"
    parsed = DateDataParser(languages=["en"], settings=settings).get_date_data(words)
    if parsed.date_obj is None:
        raise ValueError("no date")
    day = parsed.date_obj.replace(hour=0, minute=0, second=0, microsecond=0)
    if match["back"]:
        return day, today + timedelta(days=1)
    if match["bare"] and day > today and parsed.period == "day":  # "on the 14th", before this month's
        day -= timedelta(days=(day.replace(day=1) - timedelta(days=1)).day)
    first, days = {
        "week": (day - timedelta(days=day.weekday()), 7),
        "month": (day.replace(day=1), 32),
        "year": (day.replace(month=1, day=1), 366),
    }.get(parsed.period, (day, 1))
    after = first + timedelta(days=days)
    return first, after.replace(day=1) if days > 7 else after
