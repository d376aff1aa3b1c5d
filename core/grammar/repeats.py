"""Repetition in GBNF."""

from __future__ import annotations

MOST = 1000
"""In one repetition; llama.cpp refuses a grammar with more than twice as many."""


def repeated(part: str, fewest: int, most: int) -> str:
    """`part`, which is one symbol, from `fewest` to `most` times."""
    rows = [f"{part}{{{MOST}}}"] * (fewest // MOST)
    rest = most - fewest + fewest % MOST
    rows.append(f"{part}{{{fewest % MOST},{min(rest, MOST)}}}")
    while (rest := rest - MOST) > 0:
        rows.append(f"{part}{{0,{min(rest, MOST)}}}")
    return " ".join(rows)
