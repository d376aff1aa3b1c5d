"""How bytes are shared out among values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def share(sizes: Sequence[tuple[int, int]], budget: int) -> list[int]:
    """Split `budget` bytes: each value has its least, then all grow alike until each has its most.

    `sizes` are the least and the most of each.
    """
    shares = [least for least, _ in sizes]
    left = budget - sum(shares)
    while growing := [i for i, (_, most) in enumerate(sizes) if shares[i] < most]:
        step = left // len(growing)
        if step == 0:
            break
        for i in growing:
            grown = min(step, sizes[i][1] - shares[i])
            shares[i] += grown
            left -= grown
    return shares
