"""Repetition in GBNF."""

from __future__ import annotations

MOST = 1000
"""In one repetition; llama.cpp refuses a grammar with more than twice as many."""


def repeated(part: str, fewest: int, most: int) -> str:
    """`part`, which is one symbol, from `fewest` to `most` times, of which there is one way for each number."""
    if most <= MOST:
        return f"{part}{{{fewest},{most}}}"
    full, rest = f"{part}{{{MOST}}}", repeated(part, max(0, fewest - MOST), most - MOST)
    return f"{full} {rest}" if fewest >= MOST else f"({part}{{{fewest},{MOST - 1}}} | {full} {rest})"
