"""Copies of a model file with another header, and models that always say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

from tests.model_files import EOS

TEMPLATE_KEY = gguf.Keys.Tokenizer.CHAT_TEMPLATE
NEWLINE = 3 + ord("\n")
"""A chain's token."""
TYPES_KEY = gguf.Keys.Tokenizer.TOKEN_TYPE


def variant(
    file: Path, made: Path, *, template: str | None = "", add_eos: bool = False, user_defined: tuple[str, ...] = ()
) -> Path:
    """A copy of a model file: with another chat template, or without one; with user-defined tokens."""
    reader = gguf.GGUFReader(file)
    changes: dict[str, Any] = {}
    if template:
        changes[TEMPLATE_KEY] = MetadataDetails(gguf.GGUFValueType.STRING, template)
    if add_eos:
        changes[gguf.Keys.Tokenizer.ADD_EOS] = MetadataDetails(gguf.GGUFValueType.BOOL, True)
    if user_defined:
        tokens = reader.fields[gguf.Keys.Tokenizer.LIST].contents()
        types = reader.fields[TYPES_KEY].contents()
        for token in user_defined:
            types[tokens.index(token)] = int(gguf.TokenType.USER_DEFINED)
        changes[TYPES_KEY] = MetadataDetails(gguf.GGUFValueType.ARRAY, types, sub_type=gguf.GGUFValueType.INT32)
    architecture = reader.fields[gguf.Keys.General.ARCHITECTURE].contents()
    writer = gguf.GGUFWriter(made, architecture)
    copy_with_new_metadata(reader, writer, changes, [TEMPLATE_KEY] if template is None else [])
    return made


def renamed(file: Path, made: Path, names: dict[str, str]) -> Path:
    """A copy of a model file with other texts in its header."""
    reader = gguf.GGUFReader(file)
    changes = {key: MetadataDetails(gguf.GGUFValueType.STRING, text) for key, text in names.items()}
    writer = gguf.GGUFWriter(made, reader.fields[gguf.Keys.General.ARCHITECTURE].contents())
    copy_with_new_metadata(reader, writer, changes, [])
    return made


def cut(text: str, length: int = 4) -> list[str]:
    """A text in pieces of about so many characters, all different, as `write_chain` needs them."""
    pieces: list[str] = []
    while text:
        size = next((size for size in range(length, len(text)) if text[:size] not in pieces), len(text))
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def write_chain(
    path: Path,
    pieces: list[str],
    template: str | None = None,
    *,
    ends: bool = False,
    control: tuple[str, ...] = (),
    after_newline: str = "",
    tires: bool = False,
) -> Path:
    """An instruct model that replies with these pieces, all different, to any prompt, and goes on without an end.

    Each token leads to one other: a piece to the next, the last one to itself or to the end, all others to the first
    piece, but a line feed to the piece `after_newline`. The pieces in `control` are control tokens. A model that
    `tires` ends as soon as a repeat penalty makes its last piece less likely.
    """
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    first = len(tokens)
    tokens += [piece.replace(" ", "\u2581").encode() for piece in pieces]
    kinds += [gguf.TokenType.CONTROL if piece in control else gguf.TokenType.NORMAL for piece in pieces]
    width = -(-len(tokens) // 32) * 32
    embedding, output = np.zeros((2, len(tokens), width), np.float32)
    for token in range(len(tokens)):
        following = min(token + 1, len(tokens) - 1) if token >= first else first
        if ends and token == len(tokens) - 1:
            following = EOS
        if after_newline and token == NEWLINE:
            following = first + pieces.index(after_newline)
        embedding[token, token] = output[following, token] = 1
    if tires:
        output[EOS, len(tokens) - 1] = 0.95
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    # So unlikely that the tokenizer makes none of them from a prompt.
    writer.add_token_scores([0.0] * first + [-1e9] * len(pieces))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if template:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((width, width), np.float32))
    for name, shape in (("gate", (32, width)), ("up", (32, width)), ("down", (width, 32))):
        writer.add_tensor(f"blk.0.ffn_{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
