"""Qwen3's reranker: a decoder that says yes or no."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.encoders.qwen3_embedding import REAL, SMALL, begun
from tests.architectures.sized_file import Size

__all__ = ["REAL", "RERANK", "SMALL", "write"]
RERANK = (
    "<|im_start|>system\nJudge it.<|im_end|>\n<|im_start|>user\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""The published template in few words."""


def write(path: Path, size: Size = SMALL) -> Path:
    file = begun(path, size)
    file.writer.add_pooling_type(gguf.PoolingType.RANK)
    file.writer.add_classifier_output_labels(["yes", "no"])
    file.writer.add_string("tokenizer.chat_template.rerank", RERANK)
    file.matrix("cls.output.weight", 2, size.width)
    return file.close(output=False)
