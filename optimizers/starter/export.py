"""The trained networks as GGUF files, with names and headers as llama.cpp reads them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from optimizers.starter.nets import Llama, Shape

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>'"
    " + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
DESCRIPTION = (
    "A starter model of Charlie: very small, trained on sentences made by a program of its own. It shows what the app "
    "does, in a world of a few hundred words; it knows nothing else."
)


@contextmanager
def writer(path: Path, architecture: str, name: str, shape: Shape) -> Iterator[Any]:
    """A GGUFWriter with what all starters say of themselves; what was added is written at the end of the block."""
    gguf_writer = gguf.GGUFWriter(path, architecture)
    gguf_writer.add_name(name)
    gguf_writer.add_description(DESCRIPTION)
    gguf_writer.add_license("MIT")
    gguf_writer.add_bool("charlie.starter", True)
    gguf_writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    gguf_writer.add_context_length(shape.context)
    gguf_writer.add_embedding_length(shape.width)
    gguf_writer.add_block_count(shape.layers)
    gguf_writer.add_feed_forward_length(shape.feed_forward)
    gguf_writer.add_head_count(shape.heads)
    gguf_writer.add_vocab_size(shape.vocabulary)
    try:
        yield gguf_writer
        gguf_writer.write_header_to_file()
        gguf_writer.write_kv_data_to_file()
        gguf_writer.write_tensors_to_file()
    finally:
        gguf_writer.close()


def _add_tensor(gguf_writer: Any, name: str, tensor: Any) -> None:
    """Matrices in half precision; vectors, which norms and biases are, in single."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    gguf_writer.add_tensor(name, array.astype(np.float16) if array.ndim == 2 else array)


def write_instruct(path: Path, net: Llama, tokenizer: Tokenizer) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    controls = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    with writer(path, "llama", "starter-instruct", net.shape) as gguf_writer:
        gguf_writer.add_head_count_kv(net.shape.heads)
        gguf_writer.add_rope_dimension_count(net.shape.head)
        gguf_writer.add_layer_norm_rms_eps(net.shape.epsilon)
        gguf_writer.add_tokenizer_model("gpt2")
        gguf_writer.add_tokenizer_pre("gpt-2")
        gguf_writer.add_token_list(tokens)
        gguf_writer.add_token_types(
            [gguf.TokenType.CONTROL if token in controls else gguf.TokenType.NORMAL for token in tokens]
        )
        gguf_writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
        gguf_writer.add_bos_token_id(tokens.index("<|endoftext|>"))
        gguf_writer.add_eos_token_id(tokens.index("<|im_end|>"))
        gguf_writer.add_add_bos_token(False)
        gguf_writer.add_chat_template(CHATML)
        for name, tensor in net.state_dict().items():
            _add_tensor(gguf_writer, name, tensor)
