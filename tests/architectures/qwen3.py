"""Qwen3: attention in every layer. Also as the embedding model and the reranker of that family."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.random_file import WIDTH, RandomFile

MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
RERANK = (
    "<|im_start|>system\nJudge it.<|im_end|>\n<|im_start|>user\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""The published template in few words."""


def write(path: Path) -> Path:
    _begun(path).close()
    return path


def write_embedding(path: Path, *, name: str = "Qwen3 Embedding 0.6B", pooling: bool = True) -> Path:
    """Without the end token in its header, as the first published files."""
    file = _begun(path)
    file.writer.add_string(gguf.Keys.General.BASENAME, name)
    if pooling:
        file.writer.add_pooling_type(gguf.PoolingType.LAST)
    file.close(template="", marks=MARKS)
    return path


def write_reranker(path: Path, template: str = RERANK) -> Path:
    file = _begun(path)
    file.writer.add_pooling_type(gguf.PoolingType.RANK)
    file.writer.add_classifier_output_labels(["yes", "no"])
    file.writer.add_string("tokenizer.chat_template.rerank", template)
    file.matrix("cls.output.weight", 2, WIDTH)
    file.close(template="", marks=MARKS)
    return path


def _begun(path: Path) -> RandomFile:
    file = RandomFile(path, "qwen3", layers=2)
    file.heads()
    for layer in range(file.layers):
        file.vector(f"blk.{layer}.attn_norm.weight")
        file.attention(layer)
        file.vector(f"blk.{layer}.ffn_norm.weight")
        file.feed_forward(layer)
    return file
