"""Counts an untrained model's answers that parse at the first try: `python -m tests.benchmarks.formats [--count 300]`.

For random signatures (tests/core/dspy_lm/signatures.py), in JSON, with and without the grammar.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dspy
from hypothesis import HealthCheck, Phase, given, settings
from tqdm import tqdm

from core.dspy_lm.adapters import JSONAdapter
from core.dspy_lm.engine import make_lm
from core.llama.engine import load_as
from core.llama.instruct import InstructModel
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.settings import Sampling
from tests.core.dspy_lm.signatures import signatures
from tests.model_files import Size, write_random

CONTEXT, TOKENS = 8192, 600


class PlainJSONAdapter(dspy.JSONAdapter):  # type: ignore[misc]  # dspy is untyped
    """DSPy's adapter without a response format: only the prompt describes it."""

    def _prepare_response_format(self, *_: Any) -> None:
        return


ADAPTERS: dict[str, Any] = {
    "JSONAdapter, grammar from the signature": JSONAdapter(),
    "JSONAdapter, without a grammar": PlainJSONAdapter(),
}


def drawn(count: int) -> list[Any]:
    """Random signatures, the same in each run."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(signature=signatures)
    def take(signature: Any) -> None:
        found.append(signature)

    take()
    return found[:count]


@contextmanager
def untrained() -> Iterator[InstructModel]:
    """A model with random weights whose tokens are bytes."""
    with TemporaryDirectory() as folder:
        file = write_random(Path(folder) / "untrained.gguf", size=Size(context=CONTEXT))
        spec = replace(default_spec(read_header(file)), context_length=CONTEXT, threads=1, prefill_threads=1)
        model = load_as(InstructModel, spec)
        try:
            yield model
        finally:
            model.close()


def parsed(model: InstructModel, adapter: Any, asked: list[Any], name: str) -> int:
    """Number of signatures whose first answer DSPy could parse."""
    right = 0
    for signature in tqdm(asked, desc=name, file=sys.stderr):
        lm = make_lm(model, sampling=Sampling(temperature=1.5, max_tokens=TOKENS, seed=3), cache=False)
        with dspy.context(lm=lm, adapter=adapter):
            try:
                dspy.Predict(signature)(question="What?")
            except dspy.AdapterParseError:
                continue
        right += len(lm.history) == 1
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="number of signatures")
    asked = drawn(parser.parse_args().count)
    print("| format | parsed at the first try |\n|---|---:|", flush=True)
    with untrained() as model:
        for name, adapter in ADAPTERS.items():
            print(f"| {name} | {parsed(model, adapter, asked, name)} of {len(asked)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
