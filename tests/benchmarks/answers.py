"""Thirty questions of the labelled set to a journal: `python -m tests.benchmarks.answers [INSTRUCT [EMBEDDING]]`.

Prints how much of each prompt the KV cache had already, how many answers ran to the token limit with the repeat penalty
and without, and how many have the expected words. Without files, the bundled models answer; it takes some minutes.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from app.client import Client
from app.runtime.owner import Runtime
from core.roles import Role
from optimizers.scoring import words
from tasks.jobs.records import Ended
from tests.benchmarks.charlie import PATIENCE
from tests.benchmarks.home import home
from tests.waiting import deadline

DATA = Path(__file__).parents[2] / "optimizers" / "data"
COUNT = 30
ANSWERED = {"words", "name", "date"}
"""The kinds of questions that an entry answers."""


def main() -> int:
    diary, labelled = (json.loads((DATA / f"{name}.json").read_text()) for name in ("diary", "questions"))
    rows = [row for row in labelled if row["kind"] in ANSWERED]
    rows = rows[:: len(rows) // COUNT][:COUNT]
    files = dict(zip((Role.INSTRUCT, Role.EMBEDDING), map(Path, sys.argv[1:]), strict=False))
    with home(files) as client, Runtime(client):
        for entry in sorted(diary, key=lambda entry: str(entry["date"])):
            written = datetime.fromisoformat(entry["date"]).timestamp() + 20 * 3600
            stored = client.journal.new_entry(entry["text"])
            client.journal._put_entry(replace(stored, created=written), client.redis)
        print("| | without penalty | with |\n|---|---:|---:|")
        plain = [asked(client, row, repeat_penalty=1.0) for row in rows]
        steady = [asked(client, row) for row in rows]
    for name, of in FIGURES.items():
        print(f"| {name} | {of(plain)} | {of(steady)} |")
    return 0


def asked(client: Client, row: dict[str, Any], **options: Any) -> dict[str, Any]:
    *_, last = deadline(client.jobs.follow(client.ask(row["question"], **options).id), PATIENCE)
    assert isinstance(last, Ended), last
    assert last.result is not None, last
    print(row["question"], "→", last.result["text"].strip().replace("\n", " "), file=sys.stderr, flush=True)
    return {**last.result, "expected": row["answer"], "sources": row["entries"]}


def _count(results: list[dict[str, Any]], key: str, wanted: Any) -> str:
    return f"{sum(each.get(key) == wanted for each in results)} of {len(results)}"


def _median(results: list[dict[str, Any]], key: str) -> str:
    figures = [each[key] for each in results if key in each]
    return f"{statistics.median(figures):,.0f} ({min(figures):,} to {max(figures):,})"


def _right(results: list[dict[str, Any]]) -> str:
    return f"{sum(set(words(each['expected'])) <= set(words(each['text'])) for each in results)} of {len(results)}"


FIGURES: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "not asked: nothing is near": lambda results: _count(results, "nothing_near", True),
    "answers cut at the token limit": lambda results: _count(results, "finish_reason", "length"),
    "answers with all expected words": _right,
    "prompts that reuse nothing": lambda results: _count(results, "reused_tokens", 0),
    "prompt tokens: median (least to most)": lambda results: _median(results, "prompt_tokens"),
    "of these in the KV cache": lambda results: _median(results, "reused_tokens"),
}

if __name__ == "__main__":
    sys.exit(main())
