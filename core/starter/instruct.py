"""The instruct starter: a llama-architecture file that strings phrases into sentences by chance, and then stops.

Every phrase is one token. Its vector names the phrase's slot, and the output rows of the next slot's phrases answer
to that name, so the text goes from slot to slot; random parts of the vectors, mixed by one attention layer, choose
among the alternatives by what was said before. All other text is read by words, pieces and bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING

import gguf
import numpy as np

from core.starter.words import COMMON, FUNCTION, LOOP_TO, SENTENCES
from core.starter.writing import signs, writer

if TYPE_CHECKING:
    from pathlib import Path

    from core.starter.writing import Matrix

CONTEXT = 4096
WIDTH = 128
HEADS = 4
FEED_FORWARD = 64
BOS, IM_END = 1, 4
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>'"
    " + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

SLOTS = tuple(tuple(slot.split("|")) for sentence in SENTENCES for slot in sentence)
NAMES = len(SLOTS) + 2
"""Dimensions that name the slot that comes next; one more is the end. Even, as the random rest must be."""
LENGTH = float(np.sqrt(WIDTH) / np.sqrt(1.1))
"""What the last norm makes of a name's 1."""
LOOP_SLOT = sum(len(sentence) for sentence in SENTENCES[:LOOP_TO])
LIKELY = 18.0
"""How far the logits of the next slot's phrases stand above all others: no other token is ever drawn."""
END = 0.9
"""How far the end stands above each phrase that would begin another round: every third time,
and always at temperature 0."""
CHOICE = 1.0
"""The spread of the logits among a slot's phrases."""


@dataclass(frozen=True, slots=True)
class Token:
    text: bytes
    kind: gguf.TokenType
    score: float = -1e4
    slot: int | None = None


def vocabulary() -> list[Token]:
    """The tokens in order of their ids. Words come with all their beginnings, or SentencePiece could not merge them."""
    tokens = [Token(b"<unk>", gguf.TokenType.UNKNOWN)]
    tokens += [Token(text, gguf.TokenType.CONTROL) for text in (b"<s>", b"</s>", b"<|im_start|>", b"<|im_end|>")]
    tokens += [Token(f"<0x{byte:02X}>".encode(), gguf.TokenType.BYTE) for byte in range(256)]
    seen: set[str] = set()
    pieces: dict[str, float] = {"▁": -1000.0, "\n": -1000.0}
    pieces.update((chr(code), -1000.0) for code in range(33, 127))
    pieces.update((first + second, -2000.0) for first in ascii_lowercase for second in ascii_lowercase)
    for marked in (*("▁" + word for word in (*COMMON, *FUNCTION)), "assistant", "system", "user"):
        pieces.update((marked[:end], -float(end)) for end in range(2, len(marked) + 1))
    for slot, phrases in enumerate(SLOTS):
        for phrase in phrases:
            text = phrase.replace(" ", "▁")
            seen.add(text)
            tokens.append(Token(text.encode(), gguf.TokenType.NORMAL, -3000.0, slot))
    tokens += [Token(text.encode(), gguf.TokenType.NORMAL, score) for text, score in pieces.items() if text not in seen]
    return tokens


def _vectors(tokens: list[Token]) -> tuple[Matrix, Matrix]:
    """The embedding and the output rows [tokens, WIDTH]: a dimension for every slot that comes next, the rest random.

    Text that is no phrase announces slot 0; the last slot announces both the end and another round.
    """
    embedding = signs(1, len(tokens), WIDTH) * np.float32(0.04)
    embedding[:, :NAMES] = 0
    output = signs(2, len(tokens), WIDTH) * np.float32(CHOICE * 0.18)
    output[:, :NAMES] = 0
    name = np.float32(LIKELY / LENGTH)
    for token_id, token in enumerate(tokens):
        if token.slot is None:
            embedding[token_id, 0] = 1
            output[token_id] = 0
            continue
        embedding[token_id, token.slot + 1] = 1
        output[token_id, token.slot] = name
        if token.slot == LOOP_SLOT:
            output[token_id] = 0
            output[token_id, [LOOP_SLOT, len(SLOTS)]] = name
    output[IM_END, len(SLOTS)] = (LIKELY + END) / LENGTH
    return embedding, output


def build(path: Path) -> None:
    tokens = vocabulary()
    embedding, output = _vectors(tokens)
    ones, square = np.ones(WIDTH, np.float32), np.zeros((WIDTH, WIDTH), np.float32)
    value = np.diag(np.r_[np.zeros(NAMES), np.ones(WIDTH - NAMES)]).astype(np.float32)
    with writer(path, "llama", "starter-instruct") as gguf_writer:
        gguf_writer.add_context_length(CONTEXT)
        gguf_writer.add_embedding_length(WIDTH)
        gguf_writer.add_block_count(1)
        gguf_writer.add_feed_forward_length(FEED_FORWARD)
        gguf_writer.add_head_count(HEADS)
        gguf_writer.add_head_count_kv(HEADS)
        gguf_writer.add_rope_dimension_count(WIDTH // HEADS)
        gguf_writer.add_layer_norm_rms_eps(1e-6)
        gguf_writer.add_vocab_size(len(tokens))
        gguf_writer.add_tokenizer_model("llama")
        gguf_writer.add_token_list([token.text for token in tokens])
        gguf_writer.add_token_scores([token.score for token in tokens])
        gguf_writer.add_token_types([token.kind for token in tokens])
        gguf_writer.add_bos_token_id(BOS)
        gguf_writer.add_eos_token_id(IM_END)
        gguf_writer.add_unk_token_id(0)
        gguf_writer.add_add_bos_token(False)
        gguf_writer.add_add_space_prefix(False)
        gguf_writer.add_chat_template(CHATML)
        gguf_writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
        gguf_writer.add_tensor("output.weight", output.astype(np.float16))
        gguf_writer.add_tensor("output_norm.weight", ones)
        gguf_writer.add_tensor("blk.0.attn_norm.weight", ones)
        gguf_writer.add_tensor("blk.0.ffn_norm.weight", ones)
        # Queries and keys of nothing: attention is the mean of what was said, and shifts what is said next.
        gguf_writer.add_tensor("blk.0.attn_q.weight", square)
        gguf_writer.add_tensor("blk.0.attn_k.weight", square)
        gguf_writer.add_tensor("blk.0.attn_v.weight", value)
        gguf_writer.add_tensor("blk.0.attn_output.weight", np.roll(value, 1, axis=1) @ value)
        for part, shape in (
            ("gate", (FEED_FORWARD, WIDTH)),
            ("up", (FEED_FORWARD, WIDTH)),
            ("down", (WIDTH, FEED_FORWARD)),
        ):
            gguf_writer.add_tensor(f"blk.0.ffn_{part}.weight", np.zeros(shape, np.float32))
