"""Model files that the starters do not stand for: one that is slow, one that llama.cpp refuses."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, LAYERS, FEED_FORWARD, CONTEXT = 512, 6, 1536, 16_384
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"


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


def write_random(path: Path, seed: int = 0) -> Path:
    """A tiny instruct model of random numbers: each token that it says depends on all that were read."""
    width, layers = 64, 2
    rng = np.random.default_rng(seed)
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]

    def numbers(*shape: int) -> NDArray[np.float16]:
        return rng.normal(0, 2 / width**0.5, shape).astype(np.float16)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random {seed}")
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    writer.add_tensor("token_embd.weight", numbers(len(tokens), width))
    output = numbers(len(tokens), width)
    output[2] = 0
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(width, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", numbers(width, width))
        for name, shape in (("gate", (2 * width, width)), ("up", (2 * width, width)), ("down", (width, 2 * width))):
            writer.add_tensor(f"blk.{layer}.ffn_{name}.weight", numbers(*shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
