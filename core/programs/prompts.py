"""The prompts of Charlie, except the chat's, which is a setting."""

from __future__ import annotations

from collections.abc import Iterable

from core.figures import local_time

ASK_PROMPT = (
    "Answer the question from the journal entries, briefly. Put the number of the entry you took it from "
    "in brackets, like [1]. If they do not tell, say: I don't find that in your entries."
)


def journal_question(entries: Iterable[str], question: str) -> str:
    """The prompt with numbered entries and a question about them."""
    return f"{number_entries(entries)}\n\nQuestion: {question}"


def day_of(written: float, zone: str) -> str:
    """The day of an entry, which precedes its text: `Monday, 04 May 2026`."""
    return local_time(written, "%A, %d %B %Y", zone)


def number_entries(entries: Iterable[str]) -> str:
    """The entries as text, each after its number, from 1."""
    return "\n\n".join(f"[{number}] {entry}" for number, entry in enumerate(entries, start=1))
