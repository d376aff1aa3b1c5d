"""Tries the reranker on the user's own entries, with a worker."""

from __future__ import annotations

from typing import Final

from app.commands.session import session
from tasks.jobs.records import Hits

SEARCHES: Final = 8
NEAREST: Final = 10


def try_reranker() -> tuple[int, int]:
    """Search for the titles of the latest entries.

    Returns how many searches the reranker puts into another order, and how many there were. Raises CharlieError.
    """
    orders: list[list[str]] = []

    def read(output: object) -> None:
        if isinstance(output, Hits):
            orders.append([hit.entry for hit in output.hits])

    changed = 0
    with session(worker=True) as running:
        titles = [entry.title for entry in running.client.journal.entries()[:SEARCHES]]
        for title in titles:
            orders.clear()
            running.follow(lambda title=title: running.client.search(title, NEAREST), read)  # type: ignore[misc]
            changed += orders[-2:] != orders[-1:] * 2  # the order before the reranker, and its own
    return changed, len(titles)
