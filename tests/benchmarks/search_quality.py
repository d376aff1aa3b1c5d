"""How often a search finds the right entry: `python -m tests.benchmarks.search_quality [--write]`.

The labelled diary of optimizers/data is searched by its own questions, among all its entries, and once more among 1,000
passages of "The Diary of a Nobody" (George and Weedon Grossmith, 1892, public domain; prose.txt.gz, from GITenberg).
The weights of the search were fitted on the training and validation writers. `--write` updates README.md here.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import optimizers
from core.library.chunking import passages
from core.library.records import Entry
from core.library.vectors import Nearest, Quantized, Rows
from core.library.word_index import WordIndex, content_words
from core.llama.engine import EmbeddingModel, load_as
from core.roles import Role
from tasks.handlers.dates import find_span
from tasks.handlers.relevance import covered_share, is_nothing_near, rank, refine, weights_of, with_texts
from tests.core.conftest import spec_of
from tests.minilm import write_minilm

HERE = Path(__file__).parent
DATA = Path(optimizers.__path__[0]) / "data"
SECTION = re.compile(r"(<!-- search -->\n).*(<!-- /search -->)", re.DOTALL)
NOW = datetime(2026, 11, 1, 12).timestamp()  # noqa: DTZ001  # the person's own calendar
COUNT = 40
"""Candidates of a search for ten hits."""
FOUND = ("words", "name", "date", "keyword")
HEAD = (
    "| searched | writers | right among first three | keyword first | name | date | far: told | near miss: told "
    "| refused wrongly |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|"
)
Mode = Literal["words alone", "meaning alone", "both"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The entries that a question found, best first, and whether it was told that none is near."""

    question: dict[str, Any]
    entries: list[str]
    nothing_near: bool

    def right_among(self, first: int) -> bool:
        return any(entry in self.entries[:first] for entry in self.question["entries"])


class Corpus:
    """Entries, their words and their vectors."""

    def __init__(self, model: EmbeddingModel, entries: Iterable[Entry]) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.index, self.rows, self._model = WordIndex(), Rows(model.dimension), model
        for entry in self.entries.values():
            self.index.put(entry.id, entry.text)
            vectors = model.embed([entry.text[start:end] for start, end in passages(entry.text)])
            self.rows.put(entry.id, Quantized.of(vectors))

    def search(self, question: dict[str, Any], mode: Mode) -> Outcome:
        """The steps of tasks/handlers/search."""
        text, among = question["question"], None
        if span := find_span(text, NOW):
            among = (
                frozenset(id_ for id_, each in self.entries.items() if span.start <= each.created < span.end) or None
            )
            text = span.rest if among else text
        words = content_words(text)
        weights = weights_of(self.index, words)
        with_words = {} if mode == "meaning alone" else self.index.find(words, COUNT, among)
        vector, nearest = self._model.embed([text], query=True)[0], Nearest({}, 0.0, 1.0)
        if mode != "words alone":
            nearest = self.rows.nearest(vector, COUNT, among, with_words)

        def covers(text: str) -> float:
            return covered_share(self.index, text, weights)

        ranked = rank(with_words, nearest, weights)[:COUNT]
        scored = with_texts(ranked, lambda ids: [self.entries[id_] for id_ in ids], covers)
        if mode == "both":
            scored = refine(scored, self._model.embed, vector, nearest.deviation, covers)
        hits = [hit for _, hit in scored]
        return Outcome(question, [hit.entry for hit in hits], is_nothing_near(hits, self.index, weights))


def diary() -> list[Entry]:
    days = [(each, datetime.fromisoformat(each["date"]).timestamp() + 43_200) for each in _read("diary.json")]
    return [Entry(each["id"], each["text"], noon, noon) for each, noon in days]


def prose(start: float, end: float) -> list[Entry]:
    """1,000 entries of one passage, written between two times."""
    lines = gzip.decompress((HERE / "prose.txt.gz").read_bytes()).decode().splitlines()
    texts = [line[first:last] for line in lines for first, last in passages(line)]
    times = [start + (end - start) * number / len(texts) for number in range(len(texts))]
    return [Entry(f"prose-{number}", text, at, at) for number, (text, at) in enumerate(zip(texts, times, strict=True))]


def row(name: str, writers: str, outcomes: list[Outcome]) -> str:
    def of(*kinds: str) -> list[Outcome]:
        return [each for each in outcomes if each.question["kind"] in kinds]

    cells = (
        share(each.right_among(3) for each in of(*FOUND)),
        share(each.right_among(1) for each in of("keyword")),
        *(share(each.right_among(3) for each in of(kind)) for kind in ("name", "date")),
        *(share(each.nothing_near for each in of(kind)) for kind in ("none", "near_miss")),
        share(each.nothing_near for each in of(*FOUND)),
    )
    return f"| {name} | {writers} | {' | '.join(cells)} |"


def share(of: Iterable[bool]) -> str:
    """In percent, with Wilson's 95% interval."""
    each = list(of)
    if not each:
        return ""
    n, p, z = len(each), sum(each) / len(each), 1.96
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{100 * p:.0f} [{100 * abs(low):.0f}, {100 * high:.0f}]"


def table(model: EmbeddingModel, show: Callable[[str], None]) -> None:
    entries, questions = diary(), _read("questions.json")
    times = [entry.created for entry in entries]
    for among, more in (("132 entries", []), ("… and 1,000 passages", prose(min(times), max(times)))):
        corpus = Corpus(model, [*entries, *more])
        modes: tuple[Mode, ...] = ("words alone", "meaning alone", "both")
        found = {"starter embedder and reranker": old} if (old := _old_default(questions, among)) else {}
        found |= {mode: [corpus.search(question, mode) for question in questions] for mode in modes}
        for mode, outcomes in found.items():
            show(row(f"{among}: {mode}", "all", outcomes))
            show(row(f"{among}: {mode}", "test", [each for each in outcomes if each.question["split"] == "test"]))


def _old_default(questions: list[dict[str, Any]], among: str) -> list[Outcome]:
    """The first three entries of each question as of commit 1ac9cef, which still had the starter models."""
    found = _read("search_before.json", HERE).get(among, {})
    return [Outcome(each, found[each["id"]], nothing_near=False) for each in questions if each["id"] in found]


def _read(name: str, folder: Path = DATA) -> Any:
    return json.loads((folder / name).read_text())


def main() -> int:
    lines = [HEAD]

    def show(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    print(HEAD)
    with TemporaryDirectory() as folder:
        spec = spec_of(write_minilm(Path(folder) / "minilm.gguf"), Role.EMBEDDING)
        table(load_as(EmbeddingModel, spec), show)
    if "--write" in sys.argv:
        text = "\n".join(lines)
        path = HERE / "README.md"
        path.write_text(SECTION.sub(lambda found: f"{found[1]}{text}\n{found[2]}", path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
