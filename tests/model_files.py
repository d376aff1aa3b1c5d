"""Model files that the starters do not stand for: one that is slow, one that llama.cpp refuses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import gguf
import numpy as np

WIDTH, LAYERS, FEED_FORWARD, CONTEXT = 512, 6, 1536, 16_384
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
WORDS_TEMPLATE = TEMPLATE + "{% if add_generation_prompt %}assistant:{% endif %}"


def write_slow(path: Path, *, experts_used: int = 0) -> Path:
    """An instruct model of 40 MB whose completion never ends by itself: every letter is as likely.

    Its layers are full of zeros, which take as long as any other numbers.
    """
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    output = np.full((len(tokens), WIDTH), -1, np.float16)
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
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    writer.add_tensor("token_embd.weight", np.ones((len(tokens), WIDTH), np.float16))
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
    """A file whose header is whole, but on which an assertion of llama.cpp fails: it uses experts and has none."""
    return write_slow(path, experts_used=5)


def write_refused(path: Path, good: Path) -> Path:
    """A copy of a good file whose header is whole, but which llama.cpp refuses: a tensor has another name."""
    data = good.read_bytes()
    assert data.count(b"output_norm.weight") == 1
    path.write_bytes(data.replace(b"output_norm.weight", b"output_n0rm.weight"))
    return path


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model of random numbers is. With `words`, it speaks in words of one token each, else in bytes."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    feed_forward: int = 128
    context: int = 2048
    words: bool = False
    weights: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F16


def syllables() -> list[str]:
    """Words of up to four letters, each with its beginnings before it, so that SentencePiece finds it whole."""
    consonants, vowels = "bcdfghjklmnprstvwz", "aeiou"
    short = ["".join(letters) for count in (1, 2, 3) for letters in product(*(consonants, vowels, consonants)[:count])]
    return short + ["".join(letters) for letters in product(consonants, vowels, consonants, vowels)][:6000]


def write_random(path: Path, seed: int = 0, size: Size = Size()) -> Path:
    """An instruct model of random numbers: each token that it says depends on all that were read. It never ends."""
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

    writer = gguf.GGUFWriter(path, "llama", use_temp_file=True)

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
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(WORDS_TEMPLATE if size.words else TEMPLATE)
    matrix("token_embd.weight", len(tokens), size.width)
    # Of tokens that are never the likeliest: the end, and with words all that is no word.
    matrix("output.weight", len(tokens), size.width, silent=first if size.words else 3)
    writer.add_tensor("output_norm.weight", np.ones(size.width, np.float32))
    for layer in range(size.layers):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(size.width, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{layer}.{name}.weight", size.width, size.width)
        for name, rows, columns in (
            ("gate", size.feed_forward, size.width),
            ("up", size.feed_forward, size.width),
            ("down", size.width, size.feed_forward),
        ):
            matrix(f"blk.{layer}.ffn_{name}.weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
