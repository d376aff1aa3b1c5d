"""The cost of answers under a schema: `python -m tests.benchmarks.masks`.

Preparing a vocabulary of 151,936 tokens, a token's mask under it, and decoding with and without a schema.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import gguf
import llama_cpp
import numpy as np
from dspy import lm15

from core.dspy_lm.adapters import output_schema
from core.dspy_lm.answer_mask import AnswerMask
from core.dspy_lm.engine import make_lm
from core.llama.engine import InstructModel, load_as
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.programs.signatures import reflection_program
from core.settings import Sampling
from tests.benchmarks.models import TENTH
from tests.model_files import write_random

TOKENS = 151_936
"""As many as Qwen3 has."""
ANSWERS, ROUNDS, LENGTH = 20, 5, 300


def write_vocabulary(path: Path, size: int) -> Path:
    """A file with no weights: all bytes, and words of one to four syllables, half of them behind a space."""
    syllables = ["".join(pair) for pair in product("bcdfghjklmnprstvwz", "aeiou")]
    spelled = ("".join(parts) for count in (1, 2, 3, 4) for parts in product(syllables, repeat=count))
    words = [space + word for word in islice(spelled, size // 2) for space in ("", "\u2581")]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    tokens += words[: size - len(tokens)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(len(token)) for token in tokens])
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * (size - len(kinds))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for add in (writer.add_context_length, writer.add_embedding_length, writer.add_block_count):
        add(64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def masks(file: Path) -> list[str]:
    """Seconds to prepare the vocabulary, and microseconds of each random token's mask."""
    llama = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    schema, chance = output_schema(reflection_program().predict.signature), np.random.default_rng(1)
    began = perf_counter()
    AnswerMask(llama, schema, 512, 4.0)
    prepared = perf_counter() - began
    took: list[float] = []
    compiled: list[float] = []
    for _ in range(ANSWERS):
        began = perf_counter()
        mask = AnswerMask(llama, schema, 512, 4.0)
        compiled.append(perf_counter() - began)
        while not mask.done:
            logits = chance.normal(size=llama.n_vocab()).astype(np.float32)
            began = perf_counter()
            token = int(np.argmax(mask(None, logits)))
            mask.accept(token)
            took.append(perf_counter() - began)
    llama.close()
    return [
        f"| a vocabulary of {TOKENS:,} tokens is prepared, once per load | {prepared:.2f} s |",
        f"| a schema is compiled, median | {median(compiled) * 1e3:.1f} ms |",
        f"| a token is masked, median of {len(took):,} | {np.quantile(took, 0.5) * 1e3:.2f} ms |",
        f"| the same, 99th percentile | {np.quantile(took, 0.99) * 1e3:.2f} ms |",
    ]


def decoding(file: Path) -> list[str]:
    """Tokens per second with a schema and without, in turns on one model."""
    model = load_as(InstructModel, replace(default_spec(read_header(file)), context_length=2048, threads=1))
    schema = {"type": "json_schema", "schema": output_schema(reflection_program().predict.signature)}
    free: list[float] = []
    under: list[float] = []
    for seed in range(ROUNDS):
        lm = make_lm(model, sampling=Sampling(max_tokens=LENGTH, seed=seed), cache=False)
        free.append(_rate(lm, None))
        under.append(_rate(lm, schema))
    model.close()
    ratio = median(one / other for one, other in zip(under, free, strict=True))
    return [
        f"| decoding without a schema, 0.1 B, median of {ROUNDS} | {median(free):.0f} tok/s |",
        f"| decoding under one | {median(under):.0f} tok/s |",
        f"| ratio of the two, median | {ratio:.2f} |",
    ]


def _rate(lm: Any, response_format: dict[str, Any] | None) -> float:
    """After the first token."""
    config = lm15.Config(max_tokens=LENGTH, response_format=response_format)
    request = lm15.Request(model=lm.model, messages=(lm15.Message.user("Tell me of the week."),), config=config)
    began = 0.0
    for event in lm.engine.stream(request):
        if isinstance(event, lm15.StreamDeltaEvent):
            began = began or perf_counter()
        if isinstance(event, lm15.StreamEndEvent):
            rate: float = (event.usage.output_tokens - 1) / (perf_counter() - began)
            return rate
    raise AssertionError("a stream has an end")


def main() -> int:
    print("| measure | figure |\n|---|---:|", flush=True)
    with TemporaryDirectory() as folder:
        print("\n".join(masks(write_vocabulary(Path(folder) / "vocabulary.gguf", TOKENS))), flush=True)
        print("\n".join(decoding(write_random(Path(folder) / "tenth.gguf", 1, TENTH))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
