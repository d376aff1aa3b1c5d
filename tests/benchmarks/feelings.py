"""How often a mood is right, and distress is seen: `python -m tests.benchmarks.feelings [--write] [--vectors]`."""

from __future__ import annotations

import argparse
import json
import math
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from core.library.chunking import passages
from core.llama.embedding import EmbeddingModel
from core.llama.engine import load_as
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.programs.feelings import FILE, Feelings, certain, examples, has_words, personal, vectors_file
from tests.minilm import write_minilm

FOLDER = Path(__file__).parent
DIARY = FOLDER.parents[1] / "optimizers/data/diary.json"
BEGIN, END = "<!-- feelings -->", "<!-- /feelings -->"


def interval(right: int, of: int) -> str:
    """A share in percent with its 95% interval (Wilson)."""
    share, z = right / of, 1.96
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return f"{right} of {of}, {share:.1%} [{middle - half:.1%}, {middle + half:.1%}]"


def moods(model: EmbeddingModel, feelings: Feelings, split: str) -> tuple[str, str]:
    entries = [entry for entry in json.loads(DIARY.read_text("utf-8")) if entry["split"] == split]
    texts = [[entry["text"][start:end] for start, end in passages(entry["text"])] for entry in entries]
    found = feelings.moods(np.stack([model.embed(each).mean(axis=0) for each in texts]))
    pairs = list(zip(found, entries, strict=True))
    right = sum(mood == entry["mood"] for mood, entry in pairs)
    accepted = sum(mood in (entry["mood"], *entry.get("acceptable", ())) for mood, entry in pairs)
    return interval(right, len(pairs)), interval(accepted, len(pairs))


def distress(model: EmbeddingModel, feelings: Feelings) -> Callable[[str], bool]:
    def seen(text: str) -> bool:
        said = personal(text)
        return feelings.distress(said, model.embed(said))

    return seen


def report(model: EmbeddingModel) -> str:
    feelings = Feelings(np.load(vectors_file(model.id, Path())))
    rows = [("mood", split, *moods(model, feelings, split)) for split in ("validation", "test")]
    held: dict[str, Sequence[str]] = json.loads((FOLDER / "data/distress.json").read_text("utf-8"))
    seen = distress(model, feelings)
    table = ["| moods of diary entries | right | acceptable |", "|---|---|---|"]
    table += [f"| {split} | {right} | {accepted} |" for _, split, right, accepted in rows]
    table += ["", "| distress | seen | by its words alone | sent to the embedding model soon |", "|---|---|---|---|"]
    for name, label in (("distress", "phrasings of distress"), ("sad", "ordinary sad entries")):
        texts = held[name]
        soon = sum(any(map(has_words, personal(text))) for text in texts)
        shown = interval(sum(map(seen, texts)), len(texts))
        table.append(f"| {label} | {shown} | {sum(map(certain, texts))} | {soon} |")
    return "\n".join(table)


def save_vectors(model: EmbeddingModel) -> Path:
    """Write the vectors of the examples that the package ships."""
    for old in FILE.parent.glob("feelings-*.npy"):
        old.unlink()
    file = FILE.parent / vectors_file(model.id, Path()).name
    np.save(file, model.embed(examples().texts).astype(np.float16))
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into the README")
    parser.add_argument("--vectors", action="store_true", help="embed the examples again, for the package")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = load_as(EmbeddingModel, default_spec(read_header(write_minilm(Path(folder) / "all-MiniLM-L6-v2.gguf"))))
        if options.vectors:
            print(save_vectors(model))
        tables = report(model)
        model.close()
    print(tables)
    if options.write:
        page = FOLDER / "README.md"
        text = page.read_text("utf-8")
        page.write_text(re.sub(f"{BEGIN}.*{END}", f"{BEGIN}\n{tables}\n{END}", text, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main()
