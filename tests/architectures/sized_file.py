"""Writes a GGUF file of random weights, whatever its architecture: small, or of a real size over holes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import gguf
import numpy as np

from tests.architectures.smollm2 import add_vocabulary
from tests.model_files import BYTE_TOKENS, EOS, add_bytes

ALIGNMENT = 32
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: ^{% endif %}"
)
"""As of a model that thinks: the prompt ends with a mark that the history does not contain."""
BLOCKS = 4096
"""Different ones in each matrix of a `quick` file."""
Q4_K = gguf.GGMLQuantizationType.Q4_K
SCALES = {
    gguf.GGMLQuantizationType.Q8_0: {0: 4e-4},
    Q4_K: {0: 2e-4, 2: 15e-4},
    gguf.GGMLQuantizationType.Q6_K: {208: 4e-5},
}
"""Where a block has its scales, and numbers that keep the activations near 1."""


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a model. An architecture uses what it needs of it."""

    layers: int
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    head: int = 16
    feed_forward: int = 96
    window: int = 32
    experts: int = 4
    used: int = 4
    """All of them: a choice among experts would turn a rounding error into other experts."""
    inner: int = 128
    """This and the next four: of a recurrent state."""
    state: int = 16
    rank: int = 4
    groups: int = 1
    convolution: int = 4
    context: int = 8192
    vocabulary: Literal["bytes", "smollm2"] | int = "bytes"
    """A number of tokens for a file over holes, which is never loaded, or for a `quick` one."""
    tied: bool = False
    """Whether the embedding is the output, too."""
    weights: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F16

    quick: bool = False
    """Whether the same random blocks fill all matrices: for the speed of large files in any type, not for text."""

    @property
    def hollow(self) -> bool:
        return isinstance(self.vocabulary, int) and not self.quick


@dataclass(frozen=True, slots=True)
class Words:
    """What a vocabulary of bytes has besides, and the chat template."""

    template: str = TEMPLATE
    marks: Sequence[str] = ()
    """Control tokens."""
    chain: Sequence[str] = ()
    """Pieces, all different, of which each reply consists: the layers add nothing then."""


class RandomFile:
    """A GGUF file in the making. Matrices are random, so that the next token depends on the whole context."""

    def __init__(
        self,
        path: Path,
        architecture: str,
        size: Size,
        words: Words = Words(),  # frozen
        **keys: float | list[int] | list[bool],
    ) -> None:
        """`keys` are the architecture's own, with `__` for a point."""
        self.size, self.layers, self.path, self.words = size, size.layers, path, words
        self._random = np.random.default_rng(7)
        self._architecture, self._bytes = architecture, 0
        self.writer: Any = gguf.GGUFWriter(path, architecture)
        self.writer.add_name(path.stem)
        self.keys(
            context_length=size.context, embedding_length=size.width, block_count=size.layers,
            feed_forward_length=size.feed_forward, attention__layer_norm_rms_epsilon=1e-6,
        )  # fmt: skip
        self.keys(**keys)
        self.tokens, self._letters = self._add_vocabulary()

    def _add_vocabulary(self) -> tuple[int, list[int]]:
        """Returns the number of tokens, and those of a reply."""
        vocabulary = self.size.vocabulary
        if isinstance(vocabulary, int) and self.size.quick:
            pieces = [f"word{number}" for number in range(vocabulary - BYTE_TOKENS)]
            add_bytes(self.writer, self.words.template, pieces=pieces)
            return vocabulary, []
        if isinstance(vocabulary, int):
            self.keys(vocab_size=vocabulary)
            self.writer.add_tokenizer_model("gpt2")
            return vocabulary, []
        if vocabulary == "smollm2":
            return add_vocabulary(self.writer)
        words = self.words
        add_bytes(self.writer, words.template, words.marks, words.chain)
        tokens = BYTE_TOKENS + len(words.marks) + len(words.chain)
        return tokens, [BYTE_TOKENS - 256 + ord(letter) for letter in ascii_lowercase]

    def keys(self, **keys: float | list[int] | list[bool]) -> None:
        """Fields of the header; a later value replaces an earlier one."""
        kinds = {bool: gguf.GGUFValueType.BOOL, int: gguf.GGUFValueType.UINT32, float: gguf.GGUFValueType.FLOAT32}
        for name, value in keys.items():
            key = f"{self._architecture}.{name.replace('__', '.')}"
            self.writer.kv_data[0].pop(key, None)
            if isinstance(value, list):
                self.writer.add_array(key, value)
            else:
                self.writer.add_key_value(key, value, kinds[type(value)])

    def heads(self, kv_heads: int | list[int] | None = None) -> None:
        size = self.size
        self.keys(
            attention__head_count=size.heads, attention__head_count_kv=size.kv_heads if kv_heads is None else kv_heads,
            attention__key_length=size.head, attention__value_length=size.head, rope__dimension_count=size.head,
        )  # fmt: skip

    def vector(self, name: str, length: int | None = None, value: float = 1) -> None:
        self.array(name, value, length or self.size.width)

    def array(self, name: str, value: float, *shape: int) -> None:
        """The same 32-bit number everywhere."""
        data = None if self.size.hollow else np.full(shape, value, np.float32)
        self._add(name, shape, np.dtype(np.float32), data)

    def matrix(self, name: str, *shape: int) -> None:
        """`shape` is [out, in], or [experts, out, in]."""
        if self.size.quick:
            self._add_blocks(name, shape)
            return
        self._matrix(name, shape, None if self.size.hollow else self._numbers(shape))

    def router(self, name: str, *shape: int) -> None:
        """A small matrix that is never quantized."""
        self._add(name, shape, np.dtype(np.float32), None if self.size.hollow else self._numbers(shape))

    def _numbers(self, shape: tuple[int, ...]) -> Any:
        return self._random.standard_normal(shape, np.float32) * np.float32(2 / shape[-1] ** 0.5)

    def _matrix(self, name: str, shape: tuple[int, ...], data: Any) -> None:
        kind = self.size.weights
        if self.words.chain and name.endswith(("_output.weight", "ffn_down.weight", "ffn_down_exps.weight")):
            data = data * 0
        if kind is gguf.GGMLQuantizationType.F16:
            self._add(name, shape, np.dtype(np.float16), None if data is None else data.astype(np.float16))
            return
        stored = gguf.quant_shape_to_byte_shape(shape, kind)
        self._add(name, stored, np.dtype(np.uint8), None if data is None else gguf.quants.quantize(data, kind), kind)

    def _add_blocks(self, name: str, shape: tuple[int, ...]) -> None:
        """As in llama.cpp's medium mixes, Q4_K comes with Q6_K, and rows that no block divides with Q8_0."""
        kind = self.size.weights
        layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
        if kind is Q4_K and (
            "embd" in name or "attn_v" in name or name == "output.weight" or ("down" in name and layer % 2)
        ):
            kind = gguf.GGMLQuantizationType.Q6_K
        if shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
            kind = gguf.GGMLQuantizationType.Q8_0 if shape[-1] % 32 == 0 else gguf.GGMLQuantizationType.F16
        block, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = self._random.integers(0, 256, (BLOCKS, size), np.uint8)
        for start, number in SCALES.get(kind, {}).items():
            blocks[:, start : start + 2] = np.frombuffer(np.float16(number).tobytes(), np.uint8)
        if kind is gguf.GGMLQuantizationType.MXFP4:
            blocks[:, 0] = 120
        count = math.prod(shape) // block
        if kind is gguf.GGMLQuantizationType.F16:
            data: Any = np.resize(self._random.standard_normal(BLOCKS).astype(np.float16) / 32, shape)
            self._add(name, shape, np.dtype(np.float16), data)
            return
        data = np.resize(blocks, (count, size)).reshape(gguf.quant_shape_to_byte_shape(shape, kind))
        self._add(name, data.shape, np.dtype(np.uint8), data, kind)

    def _add(self, name: str, shape: Any, dtype: Any, data: Any, kind: Any = None) -> None:
        size = math.prod(shape) * dtype.itemsize
        self._bytes += self.writer.ggml_pad(size, ALIGNMENT)
        if data is None:
            self.writer.add_tensor_info(name, shape, dtype, size, kind)
        else:
            self.writer.add_tensor(name, data, raw_dtype=kind)

    def attention(
        self, layer: int, *, query_parts: int = 1, norms: bool = True, head: int = 0, kv_heads: int = 0
    ) -> None:
        """Query, key, value and output; `query_parts` is 2 where the query carries a gate."""
        size, name = self.size, f"blk.{layer}.attn"
        head, kv_heads = head or size.head, kv_heads or size.kv_heads
        self.matrix(f"{name}_q.weight", size.heads * head * query_parts, size.width)
        self.matrix(f"{name}_k.weight", kv_heads * head, size.width)
        self.matrix(f"{name}_v.weight", kv_heads * head, size.width)
        self.matrix(f"{name}_output.weight", size.width, size.heads * head)
        if norms:
            self.vector(f"{name}_q_norm.weight", head, 3)  # so that few tokens get most of the attention
            self.vector(f"{name}_k_norm.weight", head)

    def norms(self, layer: int, *names: str) -> None:
        for name in names:
            self.vector(f"blk.{layer}.{name}.weight")

    def feed_forward(self, layer: int, suffix: str = "", *, gate: bool = True, length: int = 0) -> None:
        size, name = self.size, f"blk.{layer}.ffn"
        length = length or size.feed_forward
        if gate:
            self.matrix(f"{name}_gate{suffix}.weight", length, size.width)
        self.matrix(f"{name}_up{suffix}.weight", length, size.width)
        self.matrix(f"{name}_down{suffix}.weight", size.width, length)

    def expert_keys(self, *, shared: bool = False) -> None:
        size = self.size
        self.keys(
            expert_count=size.experts, expert_used_count=size.used, expert_feed_forward_length=size.feed_forward
        )  # fmt: skip
        if shared:
            self.keys(expert_shared_feed_forward_length=size.feed_forward)

    def expert_layer(self, layer: int, *, shared: bool = False, gate: bool = True) -> None:
        """A router and its experts; some have one more, which all tokens use."""
        size, name = self.size, f"blk.{layer}.ffn"
        self.router(f"{name}_gate_inp.weight", size.experts, size.width)
        for part in ("gate", "up") if gate else ("up",):
            self.matrix(f"{name}_{part}_exps.weight", size.experts, size.feed_forward, size.width)
        self.matrix(f"{name}_down_exps.weight", size.experts, size.width, size.feed_forward)
        if shared:
            self.feed_forward(layer, "_shexp", gate=gate)

    def state_keys(self) -> None:
        size = self.size
        self.keys(
            ssm__conv_kernel=size.convolution, ssm__inner_size=size.inner, ssm__state_size=size.state,
            ssm__time_step_rank=size.rank, ssm__group_count=size.groups,
        )  # fmt: skip

    def mamba2_state(self, layer: int) -> None:
        """It takes small steps, so that it keeps earlier tokens for long."""
        size, name = self.size, f"blk.{layer}.ssm"
        convolved = size.inner + 2 * size.groups * size.state
        self.matrix(f"{name}_in.weight", size.inner + convolved + size.rank, size.width)
        self.array(f"{name}_conv1d.weight", 1 / size.convolution, convolved, size.convolution)
        self.vector(f"{name}_conv1d.bias", convolved, 0)
        self.vector(f"{name}_dt.bias", size.rank, -3)
        self.array(f"{name}_a", -0.1, size.rank, 1)
        self.array(f"{name}_d", 0.1, size.rank, 1)
        self.array(f"{name}_norm.weight", 1, size.groups, size.inner // size.groups)
        self.matrix(f"{name}_out.weight", size.width, size.inner)

    def delta_net(self, layer: int, *, joined: bool = False) -> None:
        """Qwen's linear attention; `joined`: one matrix for both of its gates."""
        size, name = self.size, f"blk.{layer}"
        keys, values = size.state * size.groups, size.state * size.rank
        self.matrix(f"{name}.attn_qkv.weight", 2 * keys + values, size.width)
        self.matrix(f"{name}.attn_gate.weight", values, size.width)
        self.array(f"{name}.ssm_conv1d.weight", 1 / size.convolution, 2 * keys + values, size.convolution)
        self.vector(f"{name}.ssm_dt.bias", size.rank, -3)
        self.vector(f"{name}.ssm_a", size.rank, -0.1)
        for part, rows in (("ba", 2 * size.rank),) if joined else (("beta", size.rank), ("alpha", size.rank)):
            self.matrix(f"{name}.ssm_{part}.weight", rows, size.width)
        self.vector(f"{name}.ssm_norm.weight", size.state)
        self.matrix(f"{name}.ssm_out.weight", size.width, values)

    def close(self, norm: str = "output_norm.weight", *, output: bool = True) -> Path:
        """Add the embedding and the output; a reply has only small letters or digits, and never ends by itself."""
        size, tokens, letters = self.size, self.tokens, self._letters
        if self.words.chain:
            self._add_chain()
            output = False
        else:
            self.matrix("token_embd.weight", tokens, size.width)
        if output and not size.tied and size.quick:
            self.matrix("output.weight", tokens, size.width)
        elif output and not size.tied:
            weights = None
            if not size.hollow:
                weights = np.zeros((tokens, size.width), np.float32)
                weights[letters] = self._random.standard_normal((len(letters), size.width), np.float32) / 4
            self._matrix("output.weight", (tokens, size.width), weights)
        if norm:
            self.vector(norm)
        self._write()
        return self.path

    def _add_chain(self) -> None:
        """Each piece leads to the next one, the last to the end, and all other tokens to the first piece."""
        pieces, width = len(self.words.chain), self.size.width
        assert pieces < width
        first = self.tokens - pieces
        embedding, output = np.zeros((2, self.tokens, width), np.float16)
        embedding[:first, 0] = 1
        for place, token in enumerate(range(first, self.tokens), start=1):
            embedding[token, place] = output[token, place - 1] = 1
        output[EOS, pieces] = 1
        self._matrix("token_embd.weight", embedding.shape, embedding)
        self._matrix("output.weight", output.shape, output)

    def _write(self) -> None:
        writer = self.writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        if not self.size.hollow:
            writer.write_tensors_to_file()
            writer.close()
            return
        writer.write_ti_data_to_file()
        writer.close()
        os.truncate(self.path, writer.ggml_pad(self.path.stat().st_size, ALIGNMENT) + self._bytes)
