"""Model files of any shape with zeros as weights: for measuring memory and speed, not for text."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np

from core.roles import Role
from core.settings import KvType

Weights = Literal["f32", "f16", "q8_0", "q4_0", "mixed"]
TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}
ALIGNMENT = 32
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's shape, and the settings of its load. Lengths are in tokens."""

    architecture: Literal["llama", "gemma3", "bert"] = "llama"
    layers: int = 8
    width: int = 768
    heads: int = 12
    kv_heads: int = 12
    feed_forward: int = 2048
    vocabulary: int = 8_000
    weights: Weights = "f16"
    experts: int = 0
    window: int = 0
    context: int = 2048
    batch: int = 512
    kv: KvType = "f16"
    role: Role = Role.INSTRUCT

    @property
    def label(self) -> str:
        extra = f" {self.experts} experts" if self.experts else f" window {self.window}" if self.window else ""
        return (
            f"{self.architecture} {self.layers} × {self.width}, {self.heads}/{self.kv_heads} heads, "
            f"{self.vocabulary // 1000}k words, {self.weights}{extra}"
        )


class _File:
    """Writes a GGUF file whose matrices have the shape's weight type. In a hollow file the tensors are holes."""

    def __init__(self, path: Path, shape: Shape, *, hollow: bool) -> None:
        self.shape = shape
        self.path = path
        self.hollow = hollow
        self.writer: Any = gguf.GGUFWriter(path, shape.architecture, use_temp_file=not hollow)
        self.bytes = 0

    def put(self, name: str, data: np.ndarray[Any, Any]) -> None:
        self._add(name, data.shape, data.dtype, data)

    def vector(self, name: str, length: int) -> None:
        self.put(name, np.ones(length, np.float32))

    def matrix(self, name: str, *shape: int) -> None:
        """`shape` is [out, in], or [experts, out, in]."""
        kind = self.shape.weights
        if kind == "mixed":  # as in llama.cpp's medium mixes: half of the matrices have more bits
            kind = "q8_0" if "down" in name or "attn_v" in name else "q4_0"
        *rows, columns = shape
        block, size = gguf.GGML_QUANT_SIZES[TYPES[kind]]
        stored = (*rows, columns // block * size)
        data = None if self.hollow else np.zeros(stored, np.uint8)
        self._add(name, stored, np.dtype(np.uint8), data, TYPES[kind])

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        data: np.ndarray[Any, Any] | None,
        raw: gguf.GGMLQuantizationType | None = None,
    ) -> None:
        size = math.prod(shape) * dtype.itemsize
        self.bytes += self.writer.ggml_pad(size, ALIGNMENT)
        if self.hollow or data is None:
            self.writer.add_tensor_info(name, shape, dtype, size, raw)
        else:
            self.writer.add_tensor(name, data, raw_dtype=raw)

    def close(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        if self.hollow:
            self.writer.write_ti_data_to_file()
        else:
            self.writer.write_tensors_to_file()
        self.writer.close()
        if self.hollow:
            start = self.writer.ggml_pad(self.path.stat().st_size, ALIGNMENT)
            os.truncate(self.path, start + self.bytes)


def write(path: Path, shape: Shape, *, hollow: bool = False) -> Path:
    """Writes the file of a shape. A hollow file has the same length and takes no disk space."""
    file = _File(path, shape, hollow=hollow)
    writer = file.writer
    writer.add_name(path.stem)
    writer.add_context_length(max(shape.context, 512))
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    if shape.architecture == "bert":
        _bert(file)
    else:
        _decoder(file)
    file.close()
    return path


def _decoder(file: _File) -> None:
    shape, writer = file.shape, file.writer
    kv_width, head = shape.width // shape.heads * shape.kv_heads, shape.width // shape.heads
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if shape.window:
        writer.add_sliding_window(shape.window)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(2)
    dice = np.random.default_rng(1)
    tokens: list[bytes] = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    more = shape.vocabulary - len(tokens)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*tokens, *(f"▁word{number}".encode() for number in range(more))])
    writer.add_token_scores([0.0] * shape.vocabulary)
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * more])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    if shape.experts:
        # Random embeddings and routers, so that every expert is used.
        file.put("token_embd.weight", dice.normal(size=(shape.vocabulary, shape.width)).astype(np.float16))
    else:
        file.matrix("token_embd.weight", shape.vocabulary, shape.width)
    file.matrix("output.weight", shape.vocabulary, shape.width)
    file.vector("output_norm.weight", shape.width)
    for layer in range(shape.layers):
        name = f"blk.{layer}"
        norms = {"attn_norm": shape.width, "ffn_norm": shape.width}
        if shape.architecture == "gemma3":
            norms |= {"attn_q_norm": head, "attn_k_norm": head}
            norms |= {"post_attention_norm": shape.width, "post_ffw_norm": shape.width}
        for norm, length in norms.items():
            file.vector(f"{name}.{norm}.weight", length)
        for part, rows, columns in (
            ("q", shape.width, shape.width),
            ("k", kv_width, shape.width),
            ("v", kv_width, shape.width),
            ("output", shape.width, shape.width),
        ):
            file.matrix(f"{name}.attn_{part}.weight", rows, columns)
        several = (shape.experts,) if shape.experts else ()
        suffix = "_exps" if shape.experts else ""
        if shape.experts:
            router = dice.normal(size=(shape.experts, shape.width)).astype(np.float32)
            file.put(f"{name}.ffn_gate_inp.weight", router)
        for part, rows, columns in (
            ("gate", shape.feed_forward, shape.width),
            ("up", shape.feed_forward, shape.width),
            ("down", shape.width, shape.feed_forward),
        ):
            file.matrix(f"{name}.ffn_{part}{suffix}.weight", *several, rows, columns)


def _bert(file: _File) -> None:
    shape, writer = file.shape, file.writer
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    rank = shape.role is Role.RERANKER
    writer.add_pooling_type(gguf.PoolingType.RANK if rank else gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    words = [f"▁word{number}" for number in range(shape.vocabulary - len(special))]
    writer.add_token_list([*special, *words])
    writer.add_token_types([gguf.TokenType.CONTROL] * len(special) + [gguf.TokenType.NORMAL] * len(words))
    writer.add_token_type_count(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_unk_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_mask_token_id(4)
    file.matrix("token_embd.weight", shape.vocabulary, shape.width)
    file.put("position_embd.weight", np.zeros((max(shape.context, 512), shape.width), np.float32))
    for part in ("weight", "bias"):
        file.vector(f"token_embd_norm.{part}", shape.width)
    for layer in range(shape.layers):
        for part, rows, columns in (
            ("attn_q", shape.width, shape.width),
            ("attn_k", shape.width, shape.width),
            ("attn_v", shape.width, shape.width),
            ("attn_output", shape.width, shape.width),
            ("ffn_up", shape.feed_forward, shape.width),
            ("ffn_down", shape.width, shape.feed_forward),
        ):
            file.matrix(f"blk.{layer}.{part}.weight", rows, columns)
            file.vector(f"blk.{layer}.{part}.bias", rows)
        for norm in ("attn_output_norm", "layer_output_norm"):
            for part in ("weight", "bias"):
                file.vector(f"blk.{layer}.{norm}.{part}", shape.width)
    if rank:
        file.put("cls.output.weight", np.zeros((1, shape.width), np.float32))
        file.vector("cls.output.bias", 1)
