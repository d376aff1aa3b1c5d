"""The figures below a reply: tokens, speed, turns outside the context."""

from __future__ import annotations

from typing import Any

from core.figures import counted, rate
from core.text import printable


def numbers(stats: dict[str, Any]) -> str:
    """Such as `48 tokens · 41 tok/s · first 38 ms · 212 reused`, without the parts that were not measured."""
    parts = []
    if "completion_tokens" in stats:
        parts.append(counted(stats["completion_tokens"], "token"))
    if stats.get("tokens_per_second"):
        parts.append(rate(stats["tokens_per_second"]))
    if stats.get("ttft_ms") is not None:
        first = stats["ttft_ms"]
        parts.append(f"first {first:,.0f} ms" if first < 10_000 else f"first {first / 1000:,.1f} s")
    if stats.get("reused_tokens"):
        parts.append(f"{stats['reused_tokens']:,} reused")
    if stats.get("finish_reason") == "length":
        parts.append("cut at the token limit")
    return " · ".join(parts)


def prompt_notes(stats: dict[str, Any]) -> str:
    """What the model did not get as it was written, in one line: what is outside the context, a template not used."""
    parts = []
    if left_out := stats.get("left_out"):
        turns = "turn is" if left_out == 1 else "turns are"
        parts.append(f"{left_out:,} earlier {turns} outside the context")
    if stats.get("truncated"):
        parts.append("the message was longer than the context: only its end was read")
    if note := stats.get("note"):
        parts.append(printable(note))
    return " · ".join(parts)
