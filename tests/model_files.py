"""Writes small model files: slow, endless, or random ones, and some that llama.cpp refuses."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import gguf
import numpy as np

WIDTH, LAYERS, FEED_FORWARD, CONTEXT = 512, 6, 1536, 16_384
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
WORDS_TEMPLATE = TEMPLATE + "{% if add_generation_prompt %}assistant:{% endif %}"


BYTE_TOKENS, EOS = 3 + 256, 2


def add_bytes(writer: Any, template: str, marks: Sequence[str] = (), pieces: Sequence[str] = ()) -> None:
    """Add a vocabulary of three special tokens, one token for each byte, control tokens for `marks`, and `pieces`.

    Only a reply has pieces: they are so unlikely that the tokenizer makes none of them from a prompt.
    """
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    tokens += [*(mark.encode() for mark in marks), *(piece.replace(" ", "\u2581").encode() for piece in pieces)]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (BYTE_TOKENS + len(marks)) + [-1e9] * len(pieces))
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    kinds = [gguf.TokenType.UNKNOWN, control, control, *[gguf.TokenType.BYTE] * 256]
    writer.add_token_types(kinds + [control] * len(marks) + [normal] * len(pieces))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if template:
        writer.add_chat_template(template)


def write_slow(path: Path, *, experts_used: int = 0) -> Path:
    """An instruct model of 40 MB whose reply never ends by itself: every letter is equally likely.

    Its layers are full of zeros, which take as long to compute as other numbers.
    """
    output = np.full((BYTE_TOKENS, WIDTH), -1, np.float16)
    output[3 + ord("a") : 3 + ord("z") + 1] = 1
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("slow")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(8)
    writer.add_layer_norm_rms_eps(1e-6)
    if experts_used:
        writer.add_expert_used_count(experts_used)
    add_bytes(writer, TEMPLATE)
    writer.add_tensor("token_embd.weight", np.ones((BYTE_TOKENS, WIDTH), np.float16))
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.zeros((WIDTH, WIDTH), np.float16))
        for name, shape in (
            ("gate", (FEED_FORWARD, WIDTH)),
            ("up", (FEED_FORWARD, WIDTH)),
            ("down", (WIDTH, FEED_FORWARD)),
        ):
            writer.add_tensor(f"blk.{layer}.ffn_{name}.weight", np.zeros(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_aborting(path: Path) -> Path:
    """A file with a valid header that makes an assertion of llama.cpp fail: it uses experts and has none."""
    return write_slow(path, experts_used=5)


def write_refused(path: Path, good: Path) -> Path:
    """A copy of a good file with a valid header that llama.cpp refuses: one tensor has another name."""
    data = good.read_bytes()
    assert data.count(b"output_norm.weight") == 1
    path.write_bytes(data.replace(b"output_norm.weight", b"output_n0rm.weight"))
    return path


def write_refused_late(path: Path, good: Path) -> Path:
    """A copy of a good file that llama.cpp refuses when it loads the vocabulary, which a simulation leaves out."""
    key = b"tokenizer.ggml.model" + struct.pack("<IQ", gguf.GGUFValueType.STRING, 4)
    data = good.read_bytes()
    assert data.count(key) == 1
    path.write_bytes(data.replace(key + b"gpt2", key + b"gpt9"))
    return path


Kind = Literal["llama", "gemma3", "mamba", "lfm2"]
"""Plain attention; a sliding window; no attention; layers with and without attention in turn."""
WINDOW = 32
"""Tokens in the window of gemma3's sliding-window layers."""
STATE, CONVOLUTION = 16, 4
"""Size of mamba's state per channel, and tokens that mamba and lfm2 convolve."""


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a random model. With `words`, each of its tokens is a word, else a byte."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    feed_forward: int = 128
    context: int = 2048
    words: bool = False
    kind: Kind = "llama"
    weights: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F16


def syllables() -> list[str]:
    """Words of up to four letters. Every prefix of a word precedes it, as SentencePiece merges need."""
    consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
    short = ["".join(letters) for count in (1, 2, 3) for letters in product(*(consonants, vowels, consonants)[:count])]
    return short + ["".join(letters) for letters in product(consonants, vowels, consonants, vowels)][:6000]


def write_split(path: Path, tensors: int, seed: int = 0, size: Size = Size()) -> list[Path]:
    """`write_random` in parts of so many tensors, of which the first holds none, as some publish them."""
    write_random(path, seed, size, split=tensors)
    return sorted(path.parent.glob(f"{path.stem}-0*-of-0*.gguf"))


def write_random(
    path: Path, seed: int = 0, size: Size = Size(), split: int = 0, also: Callable[[Any], object] = lambda _: None
) -> Path:
    """An instruct model of random weights, whose next token depends on the whole context. Its replies never end.

    `also` adds to the header.
    """
    rng = np.random.default_rng(seed)
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    scores = [0.0] * len(tokens)
    first = len(tokens)
    if size.words:
        pieces = ["\u2581", *ascii_lowercase, *("\u2581" + word for word in syllables())]
        first += 1 + len(ascii_lowercase)
        tokens += [piece.encode() for piece in pieces]
        kinds += [gguf.TokenType.NORMAL] * len(pieces)
        scores += [-float(len(piece)) for piece in pieces]

    writer = gguf.GGUFWriter(
        path, size.kind, use_temp_file=not split, split_max_tensors=split, small_first_shard=bool(split)
    )

    def matrix(name: str, rows: int, columns: int, silent: int = 0) -> None:
        values = rng.standard_normal((rows, columns), np.float32) * np.float32(2 / columns**0.5)
        values[:silent] = 0
        writer.add_tensor(name, gguf.quantize(values, size.weights), raw_dtype=size.weights)

    writer.add_name(path.stem)
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.width)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.feed_forward)
    writer.add_head_count(size.heads)
    writer.add_layer_norm_rms_eps(1e-6)
    _kind(writer, size)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(WORDS_TEMPLATE if size.words else TEMPLATE)
    also(writer)
    matrix("token_embd.weight", len(tokens), size.width)
    # Zeros for tokens that must never be the likeliest: the end and, with `words`, all except the words.
    matrix("output.weight", len(tokens), size.width, silent=first if size.words else 3)
    norm = "token_embd_norm.weight" if size.kind == "lfm2" else "output_norm.weight"
    writer.add_tensor(norm, np.ones(size.width, np.float32))
    for layer in range(size.layers):
        _layer(writer, f"blk.{layer}", size, matrix, attention=layer % 2 == 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _kind(writer: Any, size: Size) -> None:
    """Header fields that only some architectures have."""
    match size.kind:
        case "llama":
            pass
        case "gemma3":
            writer.add_head_count_kv(size.heads)
            writer.add_key_length(size.width // size.heads)
            writer.add_value_length(size.width // size.heads)
            writer.add_sliding_window(WINDOW)
        case "mamba":
            writer.add_ssm_conv_kernel(CONVOLUTION)
            writer.add_ssm_inner_size(2 * size.width)
            writer.add_ssm_state_size(STATE)
            writer.add_ssm_time_step_rank(size.width // 16)
        case "lfm2":
            writer.add_head_count_kv([size.heads * (layer % 2) for layer in range(size.layers)])
            writer.add_shortconv_l_cache(CONVOLUTION)


def _layer(writer: Any, name: str, size: Size, matrix: Callable[[str, int, int], None], *, attention: bool) -> None:
    def ones(*names: str, length: int = size.width) -> None:
        for each in names:
            writer.add_tensor(f"{name}.{each}", np.ones(length, np.float32))

    width, inner, rank = size.width, 2 * size.width, size.width // 16
    ones("attn_norm.weight")
    if size.kind == "mamba":
        matrix(f"{name}.ssm_in.weight", 2 * inner, width)
        writer.add_tensor(f"{name}.ssm_conv1d.weight", np.full((inner, CONVOLUTION), 0.25, np.float32))
        matrix(f"{name}.ssm_x.weight", rank + 2 * STATE, inner)
        writer.add_tensor(f"{name}.ssm_dt.weight", np.full((inner, rank), 0.1, np.float32))
        # Small steps, so that the state keeps earlier tokens for long.
        writer.add_tensor(f"{name}.ssm_dt.bias", np.full(inner, -3, np.float32))
        writer.add_tensor(f"{name}.ssm_a", np.full((inner, STATE), -0.1, np.float32))
        writer.add_tensor(f"{name}.ssm_d", np.full(inner, 0.1, np.float32))
        ones("ssm_conv1d.bias", length=inner)
        matrix(f"{name}.ssm_out.weight", width, inner)
        return
    if size.kind == "gemma3":
        ones("post_attention_norm.weight", "post_ffw_norm.weight")
    if size.kind == "lfm2" and not attention:
        writer.add_tensor(f"{name}.shortconv.conv.weight", np.full((width, CONVOLUTION), 0.25, np.float32))
        matrix(f"{name}.shortconv.in_proj.weight", 3 * width, width)
        matrix(f"{name}.shortconv.out_proj.weight", width, width)
    else:
        if size.kind != "llama":
            ones("attn_q_norm.weight", "attn_k_norm.weight", length=width // size.heads)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{name}.{part}.weight", width, width)
    ones("ffn_norm.weight")
    for part, rows, columns in (
        ("gate", size.feed_forward, width),
        ("up", size.feed_forward, width),
        ("down", width, size.feed_forward),
    ):
        matrix(f"{name}.ffn_{part}.weight", rows, columns)


def endless(file: Path, made: Path) -> Path:
    """A copy of a model whose replies never end by themselves: the output row of the end token is zero."""
    shutil.copy(file, made)
    reader = gguf.GGUFReader(made, "r+")
    end = int(reader.fields["tokenizer.ggml.eos_token_id"].contents())
    by_name = {tensor.name: tensor for tensor in reader.tensors}
    output = by_name.get("output.weight") or by_name["token_embd.weight"]
    output.data[end] = 0
    reader.data.flush()
    return made


def write_adapter(
    path: Path, *, seed: int = 0, size: Size = Size(), rank: int = 4, strength: float = 0.2, architecture: str = ""
) -> Path:
    """A LoRA of random weights for `write_random`'s model of this size, on the queries of every layer."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture or size.kind)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_name(path.stem)
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))
    for layer in range(size.layers):
        for half, shape in (("a", (rank, size.width)), ("b", (size.width, rank))):
            values = rng.standard_normal(shape, np.float32) * np.float32(strength)
            writer.add_tensor(f"blk.{layer}.attn_q.weight.lora_{half}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def merge(file: Path, adapter: Path, merged: Path) -> Path:
    """A copy of a model of 32-bit weights with an adapter of `write_adapter` added to them."""
    shutil.copy(file, merged)
    halves = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(adapter).tensors}
    reader = gguf.GGUFReader(merged, "r+")
    for tensor in reader.tensors:
        if (half := halves.get(f"{tensor.name}.lora_a")) is not None:
            tensor.data[:] += halves[f"{tensor.name}.lora_b"] @ half
    reader.data.flush()
    return merged
