"""The generated architectures, by what they remember."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tests.architectures.attention import deepseek2, olmo2, phi4, qwen3, qwen3moe
from tests.architectures.encoders import (
    bge_reranker,
    gemma_embedding,
    jina_bert_v2,
    nomic_bert_moe,
    qwen3_embedding,
    qwen3_reranker,
)
from tests.architectures.recurrent import (
    falcon_h1,
    granite_hybrid,
    lfm2,
    mamba2,
    nemotron_h,
    qwen3next,
    qwen35,
    qwen35moe,
)
from tests.architectures.sized_file import Size
from tests.architectures.windowed import gemma3, gemma3n, gemma4, gpt_oss, llama4, olmo3


class Architecture(Protocol):
    """One of the modules: a small size, the size of a model that people run, and its file."""

    SMALL: Size
    REAL: Size

    def write(self, path: Path, size: Size = ..., /) -> Path: ...


ATTENTIVE: dict[str, Architecture] = {
    "qwen3": qwen3,
    "qwen3moe": qwen3moe,
    "deepseek2": deepseek2,
    "phi4": phi4,
    "olmo2": olmo2,
}
WITH_WINDOW: dict[str, Architecture] = {
    "gemma3": gemma3,
    "gemma3n": gemma3n,
    "gemma4": gemma4,
    "gpt-oss": gpt_oss,
    "llama4": llama4,
    "olmo3": olmo3,
}
WITH_STATE: dict[str, Architecture] = {
    "mamba2": mamba2,
    "qwen3next": qwen3next,
    "qwen35": qwen35,
    "qwen35moe": qwen35moe,
    "lfm2": lfm2,
    "granitehybrid": granite_hybrid,
    "nemotron_h": nemotron_h,
    "falcon-h1": falcon_h1,
}
EMBEDDING: dict[str, Architecture] = {
    "qwen3-embedding": qwen3_embedding,
    "nomic-bert-moe": nomic_bert_moe,
    "jina-bert-v2": jina_bert_v2,
    "gemma-embedding": gemma_embedding,
}
RERANKING: dict[str, Architecture] = {"bge-reranker": bge_reranker, "qwen3-reranker": qwen3_reranker}
GENERATING = ATTENTIVE | WITH_WINDOW | WITH_STATE
ARCHITECTURES = GENERATING | EMBEDDING | RERANKING
"""All of them."""

# For the tests of sessions, which take long: some of each kind.
ATTENTION = {name: ATTENTIVE[name].write for name in ("qwen3",)}
WINDOWED = {name: WITH_WINDOW[name].write for name in ("gemma3", "gpt-oss")}
RECURRENT = {"mamba2": mamba2.write}
HYBRID = {name: WITH_STATE[name].write for name in ("qwen35", "lfm2", "granitehybrid")}
FAMILIES = ATTENTION | WINDOWED | RECURRENT | HYBRID
