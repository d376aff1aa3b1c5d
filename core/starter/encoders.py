"""The embedding and reranker starters: bert-architecture files over one vocabulary of random token vectors.

The embedding starter adds up the vectors of a text's pieces, so texts that share words are near. Words that carry
little (the, and, my) get little of their length in the dimensions that are added up, and the rest in a dimension
that the last norm erases: that is the only place where a norm leaves a vector its length.

The reranker's three layers are written by hand: where the query ends; which of its tokens the passage has too;
what share of them that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING

import gguf
import numpy as np

from core.starter.words import COMMON, FUNCTION, SUFFIXES
from core.starter.writing import signs, writer

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from core.starter.writing import Matrix

CONTEXT = 512
WIDTH = 256
FEED_FORWARD = 32
EPSILON = 1e-12
PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

VOWELS = frozenset("aeiou")
CONTENT = 240
"""Dimensions that say which token it is. The others come in pairs of opposite sign, so every vector's mean is 0."""
WASTE, CONST, IS_SEP, IS_CLS, POSITION, POSITION_WASTE, IN_QUERY, FOUND = range(CONTENT, WIDTH, 2)
FULL = float(np.sqrt(CONTENT / 2))
"""What one half of a pair holds when it alone makes up a token's length, sqrt(CONTENT)."""
CONST_VALUE = 40.0
POSITION_VALUE = 8.0
FLAG = 8.0
LENGTH = float(np.sqrt(CONTENT + 2 * CONST_VALUE**2 + 2 * POSITION_VALUE**2))
"""Every input vector's length: the norms are then one fixed scale, which their weights take back."""
NORM = LENGTH / float(np.sqrt(WIDTH))


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    weight: float


def vocabulary() -> list[Piece]:
    """The pieces in order of their ids: words, beginnings of three letters, and what may follow them."""
    pieces = dict.fromkeys(SPECIAL, 0.05)
    pieces.update(("▁" + word, 0.15) for word in FUNCTION)
    pieces.update(("▁" + word, 1.0) for word in COMMON)
    for a in ascii_lowercase:
        for b in ascii_lowercase:
            for c in ascii_lowercase:
                if not VOWELS.isdisjoint((a, b)):
                    pieces.setdefault(f"▁{a}{b}{c}", 0.9)
    for a in ascii_lowercase + digits:
        for b in ascii_lowercase + digits:
            pieces.setdefault(f"▁{a}{b}", 0.8)
            pieces.setdefault(a + b, 0.5)
    pieces.update((suffix, 0.15) for suffix in SUFFIXES)
    # What no word or beginning matches goes letter by letter, in every script below U+0700, and in kana.
    pieces["▁"] = 0.05
    for code in (*range(0x21, 0x7F), *range(0xA1, 0x700), *range(0x3041, 0x3100)):
        letter = chr(code)
        if letter.isprintable() and letter == letter.lower():
            pieces.setdefault(letter, 0.4 if letter.isalnum() else 0.05)
    return [Piece(text, weight) for text, weight in pieces.items()]


def _embedding(pieces: list[Piece], seed: int) -> Matrix:
    """Token vectors [pieces, WIDTH], all of the length sqrt(CONTENT)."""
    weights = np.array([piece.weight for piece in pieces], np.float32)
    table = np.zeros((len(pieces), WIDTH), np.float32)
    table[:, :CONTENT] = signs(seed, len(pieces), CONTENT) * weights[:, None]
    table[:, WASTE] = FULL * np.sqrt(1 - weights**2)
    for token_id, flag in ((CLS, IS_CLS), (SEP, IS_SEP)):
        table[token_id] = 0
        table[token_id, flag] = FULL
    return _mirror(table)


def _mirror(table: Matrix) -> Matrix:
    table[..., CONTENT + 1 :: 2] = -table[..., CONTENT::2]
    return table


def _positions() -> Matrix:
    place = np.arange(CONTEXT, dtype=np.float32) / (CONTEXT - 1)
    table = np.zeros((CONTEXT, WIDTH), np.float32)
    table[:, CONST] = CONST_VALUE
    table[:, POSITION] = POSITION_VALUE * place
    table[:, POSITION_WASTE] = POSITION_VALUE * np.sqrt(1 - place**2)
    return _mirror(table)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's matrices [out, in] and norms; of nothing, until written into."""

    q: Matrix
    k: Matrix
    v: Matrix
    out: Matrix
    up: Matrix
    up_bias: Matrix
    down: Matrix
    norm: Matrix

    @classmethod
    def empty(cls, erased: tuple[int, ...] = ()) -> Layer:
        square = (WIDTH, WIDTH)
        norm = np.full(WIDTH, NORM, np.float32)
        for dimension in erased:
            norm[dimension : dimension + 2] = 0
        return cls(
            q=np.zeros(square, np.float32),
            k=np.zeros(square, np.float32),
            v=np.zeros(square, np.float32),
            out=np.zeros(square, np.float32),
            up=np.zeros((FEED_FORWARD, WIDTH), np.float32),
            up_bias=np.zeros(FEED_FORWARD, np.float32),
            down=np.zeros((WIDTH, FEED_FORWARD), np.float32),
            norm=norm,
        )


def _end_of_query() -> Layer:
    """Marks the tokens before the first [SEP]: all look for it, bring back its position, and compare."""
    layer = Layer.empty(erased=(FOUND, POSITION))
    per_position = (CONTEXT - 1) / POSITION_VALUE
    layer.q[0, CONST] = 1 / CONST_VALUE
    layer.k[0, IS_SEP] = _logit(2 * CONTEXT) / FULL
    layer.k[0, POSITION] = -_logit(1) * per_position
    layer.v[0, POSITION] = 1
    layer.out[FOUND, 0], layer.out[FOUND + 1, 0] = 1, -1
    # gelu(8d - 3) - gelu(8d - 7) is 0 up to d = 0 and 4 from d = 1 on.
    for row, bias in ((0, -3.0), (1, -7.0)):
        layer.up[row, FOUND], layer.up[row, POSITION] = 8 * per_position, -8 * per_position
        layer.up_bias[row] = bias
    for row, sign in ((0, 1), (1, -1)):
        layer.down[IN_QUERY, row], layer.down[IN_QUERY + 1, row] = sign * FLAG / 4, -sign * FLAG / 4
    return layer


def _shared_tokens() -> Layer:
    """Marks the tokens that the passage has: a token finds its like outside the query, else it falls on [CLS]."""
    layer = Layer.empty()
    content = range(CONTENT)
    layer.q[content, content] = layer.k[content, content] = np.sqrt(_logit(16) / CONTENT)
    layer.q[CONTENT, CONST] = 1 / CONST_VALUE
    layer.k[CONTENT, IN_QUERY] = -_logit(40) / FLAG
    layer.k[CONTENT, IS_CLS] = _logit(40 + 9.5) / FULL
    layer.v[0, CONST], layer.v[0, IS_CLS] = 1 / CONST_VALUE, -1 / FULL
    layer.out[FOUND, 0], layer.out[FOUND + 1, 0] = FLAG, -FLAG
    return layer


def _share_found() -> Layer:
    """Gathers the share of the query's tokens that were found; words that carry little hardly count."""
    layer = Layer.empty()
    layer.q[0, CONST] = 1 / CONST_VALUE
    layer.k[0, IN_QUERY] = _logit(30) / FLAG
    layer.k[0, IS_CLS] = -_logit(30) / FULL
    layer.k[0, WASTE] = -_logit(6) / FULL
    layer.v[0, FOUND] = 1
    layer.out[POSITION, 0], layer.out[POSITION + 1, 0] = 1, -1
    return layer


def _logit(value: float) -> float:
    """Attention divides by the root of the head's width."""
    return float(value * np.sqrt(WIDTH))


def _write(path: Path, role: str, layers: list[Layer], pooling: gguf.PoolingType, head: Matrix | None) -> None:
    pieces = vocabulary()
    with writer(path, "bert", f"starter-{role}") as gguf_writer:
        gguf_writer.add_context_length(CONTEXT)
        gguf_writer.add_embedding_length(WIDTH)
        gguf_writer.add_block_count(len(layers))
        gguf_writer.add_feed_forward_length(FEED_FORWARD)
        gguf_writer.add_head_count(1)
        gguf_writer.add_layer_norm_eps(EPSILON)
        gguf_writer.add_causal_attention(False)
        gguf_writer.add_pooling_type(pooling)
        gguf_writer.add_vocab_size(len(pieces))
        gguf_writer.add_tokenizer_model("bert")
        gguf_writer.add_token_list([piece.text for piece in pieces])
        kinds = [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * (len(pieces) - len(SPECIAL))
        gguf_writer.add_token_types(kinds)
        gguf_writer.add_token_type_count(1)
        gguf_writer.add_bos_token_id(CLS)
        gguf_writer.add_eos_token_id(SEP)
        gguf_writer.add_sep_token_id(SEP)
        gguf_writer.add_unk_token_id(UNK)
        gguf_writer.add_pad_token_id(PAD)
        gguf_writer.add_mask_token_id(MASK)
        gguf_writer.add_tensor("token_embd.weight", _embedding(pieces, seed=3).astype(np.float16))
        gguf_writer.add_tensor("position_embd.weight", _positions())
        gguf_writer.add_tensor("token_embd_norm.weight", np.full(WIDTH, NORM, np.float32))
        gguf_writer.add_tensor("token_embd_norm.bias", np.zeros(WIDTH, np.float32))
        for number, layer in enumerate(layers):
            _write_layer(gguf_writer, number, layer)
        if head is not None:
            gguf_writer.add_tensor("cls.output.weight", head[None, :])
            gguf_writer.add_tensor("cls.output.bias", np.array([-4], np.float32))


def _write_layer(gguf_writer: Any, number: int, layer: Layer) -> None:
    tensors = {
        "attn_q": layer.q,
        "attn_k": layer.k,
        "attn_v": layer.v,
        "attn_output": layer.out,
        "ffn_up": layer.up,
        "ffn_down": layer.down,
        "attn_output_norm": np.full(WIDTH, NORM, np.float32),
        "layer_output_norm": layer.norm,
    }
    for name, tensor in tensors.items():
        gguf_writer.add_tensor(f"blk.{number}.{name}.weight", tensor)
        bias = layer.up_bias if name == "ffn_up" else np.zeros(tensor.shape[0], np.float32)
        gguf_writer.add_tensor(f"blk.{number}.{name}.bias", bias)


def build_embedding(path: Path) -> None:
    everything_else = (WASTE, CONST, IS_SEP, IS_CLS, POSITION, POSITION_WASTE, IN_QUERY, FOUND)
    _write(path, "embedding", [Layer.empty(erased=everything_else)], gguf.PoolingType.MEAN, head=None)


def build_reranker(path: Path) -> None:
    head = np.zeros(WIDTH, np.float32)
    head[POSITION] = 1  # holds the share, times FLAG: from -4 to 4 before the sigmoid
    _write(path, "reranker", [_end_of_query(), _shared_tokens(), _share_found()], gguf.PoolingType.RANK, head)
