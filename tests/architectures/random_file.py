"""Writes a small GGUF file of random weights over a vocabulary of bytes, whatever its architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import gguf
import numpy as np

from tests.model_files import BYTE_TOKENS, EOS, add_bytes

WIDTH, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD = 64, 4, 2, 16, 96
CONTEXT = 8192
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: ^{% endif %}"
)
"""As of a model that thinks: the prompt ends with a mark that the history does not contain."""


class RandomFile:
    """A GGUF file in the making. Matrices are random, so that the next token depends on the whole context.

    With a `chain` of pieces, all different, the layers add nothing, and each reply consists of these.
    """

    def __init__(self, path: Path, architecture: str, layers: int, chain: Sequence[str] = ()) -> None:
        self.layers = layers
        self.chain = chain
        self._random = np.random.default_rng(7)
        self.writer: Any = gguf.GGUFWriter(path, architecture)
        self.writer.add_name(path.stem)
        self.writer.add_context_length(CONTEXT)
        self.writer.add_embedding_length(WIDTH)
        self.writer.add_block_count(layers)
        self.writer.add_feed_forward_length(FEED_FORWARD)
        self.writer.add_layer_norm_rms_eps(1e-6)

    def vector(self, name: str, length: int = WIDTH, value: float = 1) -> None:
        self.writer.add_tensor(name, np.full(length, value, np.float32))

    def matrix(self, name: str, *shape: int) -> None:
        """`shape` is [out, in], or [experts, out, in]."""
        values = self.random(shape).astype(np.float16)
        silent = self.chain and name.endswith(("_output.weight", "ffn_down.weight", "ffn_down_exps.weight"))
        self.writer.add_tensor(name, values * np.float16(0) if silent else values)

    def random(self, shape: tuple[int, ...]) -> Any:
        return self._random.standard_normal(shape, np.float32) * np.float32(2 / shape[-1] ** 0.5)

    def array(self, name: str, values: Any) -> None:
        self.writer.add_tensor(name, np.asarray(values, np.float32))

    def attention(self, layer: int, *, query_parts: int = 1, norms: bool = True) -> None:
        """Query, key, value and output; `query_parts` is 2 where the query carries a gate."""
        name = f"blk.{layer}.attn"
        self.matrix(f"{name}_q.weight", HEADS * HEAD_DIM * query_parts, WIDTH)
        self.matrix(f"{name}_k.weight", KV_HEADS * HEAD_DIM, WIDTH)
        self.matrix(f"{name}_v.weight", KV_HEADS * HEAD_DIM, WIDTH)
        self.matrix(f"{name}_output.weight", WIDTH, HEADS * HEAD_DIM)
        if norms:
            self.vector(f"{name}_q_norm.weight", HEAD_DIM, 3)  # so that few tokens get most of the attention
            self.vector(f"{name}_k_norm.weight", HEAD_DIM)

    def feed_forward(self, layer: int) -> None:
        self.matrix(f"blk.{layer}.ffn_gate.weight", FEED_FORWARD, WIDTH)
        self.matrix(f"blk.{layer}.ffn_up.weight", FEED_FORWARD, WIDTH)
        self.matrix(f"blk.{layer}.ffn_down.weight", WIDTH, FEED_FORWARD)

    def heads(self, kv_heads: int | list[int] = KV_HEADS) -> None:
        self.writer.add_head_count(HEADS)
        self.writer.add_head_count_kv(kv_heads)
        self.writer.add_key_length(HEAD_DIM)
        self.writer.add_value_length(HEAD_DIM)
        self.writer.add_rope_dimension_count(HEAD_DIM)

    def close(self, norm: str = "output_norm.weight", template: str = TEMPLATE, marks: Sequence[str] = ()) -> None:
        """Add the vocabulary and the output; a reply has only small letters, and never ends by itself."""
        writer, tokens = self.writer, BYTE_TOKENS + len(marks)
        add_bytes(writer, template, marks, self.chain)
        if self.chain:
            self._add_chain(tokens)
        else:
            self.matrix("token_embd.weight", tokens, WIDTH)
            output = np.zeros((tokens, WIDTH), np.float16)
            letters = [BYTE_TOKENS - 256 + ord(letter) for letter in ascii_lowercase]
            output[letters] = self._random.standard_normal((len(letters), WIDTH), np.float32) / 4
            writer.add_tensor("output.weight", output)
        self.vector(norm)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def _add_chain(self, first: int) -> None:
        """Each piece leads to the next one, the last to the end, and all other tokens to the first piece."""
        assert len(self.chain) < WIDTH
        embedding, output = np.zeros((2, first + len(self.chain), WIDTH), np.float16)
        embedding[:first, 0] = 1
        for place, token in enumerate(range(first, len(embedding)), start=1):
            embedding[token, place] = output[token, place - 1] = 1
        output[EOS, len(self.chain)] = 1
        self.writer.add_tensor("token_embd.weight", embedding)
        self.writer.add_tensor("output.weight", output)
