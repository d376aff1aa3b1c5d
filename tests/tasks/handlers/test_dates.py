"""All asked on Monday, 30 November 2026."""

from __future__ import annotations

from datetime import date, datetime
from math import inf

import pytest

from tasks.handlers.dates import find_span

NOW = datetime(2026, 11, 30, 11).timestamp()  # noqa: DTZ001  # local


@pytest.mark.parametrize(
    ("question", "first", "after", "rest"),
    [
        ("What did I do last week?", "2026-11-23", "2026-11-30", "What did I do ?"),
        ("yesterday", "2026-11-29", "2026-11-30", ""),
        ("What did I eat on 3 June", "2026-06-03", "2026-06-04", "What did I eat"),
        ("on June 3rd, 2025", "2025-06-03", "2025-06-04", ""),
        ("walks in March", "2026-03-01", "2026-04-01", "walks"),
        ("since Christmas", "2025-12-25", "", ""),
        ("before 2026-05-04", "", "2026-05-04", ""),
        ("between 3 May and 10 May", "2026-05-03", "2026-05-11", ""),
        ("in the last three days", "2026-11-27", "2026-12-01", ""),
        ("What happened on Monday?", "2026-11-23", "2026-11-24", "What happened ?"),
        ("at the weekend", "2026-11-28", "2026-11-30", ""),
        ("in 2024", "2024-01-01", "2025-01-01", ""),
        ("the day before yesterday", "2026-11-28", "2026-11-29", ""),
    ],
)
def test_a_period(question: str, first: str, after: str, rest: str) -> None:
    span = find_span(question, NOW)
    assert span is not None
    assert _day(span.start) == first
    assert _day(span.end) == after
    assert span.rest == rest


@pytest.mark.parametrize(
    "question", ["What may I cook", "How long did I march", "at 5 pm", "room 12", "on Mondays", ""]
)
def test_no_period(question: str) -> None:
    assert find_span(question, NOW) is None


def _day(at: float) -> str:
    return "" if at in (inf, -inf) else str(date.fromtimestamp(at))  # noqa: DTZ012  # local
