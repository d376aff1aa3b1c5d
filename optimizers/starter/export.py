"""The trained networks as GGUF files, with names and headers as llama.cpp reads them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from optimizers.starter.encoders import CLS, PAD, SEP
from optimizers.starter.vocabulary import CONTINUES, MASK, SPECIAL, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from optimizers.starter.nets import Bert, Llama, Reranker, Shape

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>'"
    " + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
DESCRIPTION = (
    "A starter model of Charlie: very small, trained on sentences made by a program of its own. It shows what the app "
    "does, in a world of a few hundred words; it knows nothing else."
)
WORD = "▁"
"""llama.cpp marks the pieces that words begin with, WordPiece those that they go on with."""


def write_instruct(path: Path, net: Llama, tokenizer: Tokenizer) -> None:
    tokens = _tokens(tokenizer)
    model = json.loads(tokenizer.to_str())["model"]
    controls = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    with _writer(path, "llama", "starter-instruct", net.shape) as writer:
        writer.add_head_count_kv(net.shape.heads)
        writer.add_rope_dimension_count(net.shape.head)
        writer.add_layer_norm_rms_eps(net.shape.epsilon)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types(_types(tokens, controls))
        writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
        writer.add_bos_token_id(tokens.index("<|endoftext|>"))
        writer.add_eos_token_id(tokens.index("<|im_end|>"))
        writer.add_add_bos_token(False)
        writer.add_chat_template(CHATML)
        for name, tensor in net.state_dict().items():
            _add_tensor(writer, name, tensor)


def write_embedding(path: Path, net: Bert, tokenizer: Tokenizer) -> None:
    with _writer(path, "bert", "starter-embedding", net.shape) as writer:
        _add_bert(writer, net, tokenizer, gguf.PoolingType.MEAN)


def write_reranker(path: Path, net: Reranker, tokenizer: Tokenizer) -> None:
    with _writer(path, "bert", "starter-reranker", net.bert.shape) as writer:
        _add_bert(writer, net.bert, tokenizer, gguf.PoolingType.RANK)
        for name, tensor in net.cls_output.state_dict().items():
            _add_tensor(writer, f"cls.output.{name}", tensor)


def _add_bert(writer: Any, net: Bert, tokenizer: Tokenizer, pooling: gguf.PoolingType) -> None:
    tokens = _tokens(tokenizer)
    writer.add_layer_norm_eps(net.shape.epsilon)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_marked(token) for token in tokens])
    writer.add_token_types(_types(tokens, set(SPECIAL)))
    writer.add_token_type_count(1)
    writer.add_bos_token_id(CLS)
    writer.add_eos_token_id(SEP)
    writer.add_sep_token_id(SEP)
    writer.add_pad_token_id(PAD)
    writer.add_unk_token_id(tokens.index(UNKNOWN))
    writer.add_mask_token_id(tokens.index(MASK))
    for name, tensor in net.state_dict().items():
        _add_tensor(writer, name, tensor)


def _tokens(tokenizer: Tokenizer) -> list[str]:
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _marked(token: str) -> str:
    if token in SPECIAL:
        return token
    return token.removeprefix(CONTINUES) if token.startswith(CONTINUES) else WORD + token


def _types(tokens: list[str], controls: set[str]) -> list[gguf.TokenType]:
    return [gguf.TokenType.CONTROL if token in controls else gguf.TokenType.NORMAL for token in tokens]


@contextmanager
def _writer(path: Path, architecture: str, name: str, shape: Shape) -> Iterator[Any]:
    """A GGUFWriter with what all starters say of themselves; what was added is written at the end of the block."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_description(DESCRIPTION)
    writer.add_license("MIT")
    writer.add_bool("charlie.starter", True)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    try:
        yield writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _add_tensor(writer: Any, name: str, tensor: Any) -> None:
    """Matrices in half precision; vectors, which norms and biases are, in single."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    writer.add_tensor(name, array.astype(np.float16) if array.ndim == 2 else array)
