"""The header of a model file: architecture, sizes, vocabulary, chat template. Read without loading weights."""

from __future__ import annotations

import mmap
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from core.errors import ModelFileError
from core.files import stamp
from core.model_files.families import PLAIN, Pooling, TextForm, published_sampling, text_form
from core.model_files.gguf_reader import CutOffError, FormatError, Metadata, Tensor, read_gguf
from core.model_files.gguf_types import FILE_TYPES, REPACKED
from core.model_files.layers import Layer, family_of, layers_of
from core.model_files.parts import download_of, parts_of
from core.settings import Sampling
from core.text import one_line

MAX_SHOWN: Final = 100
"""Characters of a name, which is shown on one line, without control characters."""
MAX_LAYERS: Final = 512
"""llama.cpp aborts the process at more; llama-hparams.h, LLAMA_MAX_LAYERS."""
POOLING: Final[dict[int, Pooling]] = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
ENCODERS: Final = frozenset({
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert",
    "jina-bert-v2", "jina-bert-v3", "eurobert", "t5encoder", "gemma-embedding",
})  # fmt: skip
SAMPLING: Final = {
    "temp": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "penalty_repeat": "repeat_penalty",
}  # fmt: skip
"""Keys after `general.sampling.`, and the settings of the same meaning."""
EXPERTS, OUTPUT = "experts", "output"
"""What a matrix is, if not a usual one of a layer."""
NAMES: Final = ("architecture", "name", "basename", "finetune", "base_model.0.name", "base_model.0.repo_url")
"""Keys after `general.` that tell the family of a model."""


class FileKind(StrEnum):
    """What a GGUF file holds."""

    MODEL = "model"
    PROJECTOR = "mmproj"
    ADAPTER = "adapter"
    IMATRIX = "imatrix"
    VOCABULARY = "vocabulary"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was read; `modified` in nanoseconds since the epoch."""

    path: Path
    bytes: int
    modified: int


@dataclass(frozen=True, slots=True)
class Header:
    """Facts about a model from its file. Lengths and counts that the file does not contain are 0."""

    path: Path
    """Of the first part, where a model is in several files."""
    file_bytes: int
    """Of all parts together."""
    files: tuple[File, ...]
    """Every file that is loaded: all parts, the first one first, then a LoRA."""
    kind: FileKind
    architecture: str
    name: str
    """The family and the size."""
    layers: int
    memory: tuple[Layer, ...]
    """What each layer remembers, without those that only draft tokens: they are not loaded."""
    window: int
    """Tokens of the sliding window."""
    context_length: int
    embedding_length: int
    heads: int
    kv_heads: int
    """Per layer; the largest where layers differ."""
    per_layer_embedding: int
    """Of all layers together, besides the embedding."""
    feed_forward: int
    experts_used: int
    """Per token, in a mixture of experts; with one that is for all tokens."""
    head_dim_key: int
    head_dim_value: int
    vocab_size: int
    tokenizer: str
    pooling: Pooling | None
    quantization: str
    chat_template: str | None
    tensor_bytes: int
    layer_bytes: tuple[int, ...]
    """Of each layer's tensors."""
    output_bytes: int
    """Of the tensors after the last layer, which are offloaded as one more layer."""
    embedding_bytes: int
    """Of the token embeddings, which stay in RAM."""
    repacked: bool
    """Whether a CPU keeps the token embeddings in another order, too, if they are also the output."""
    draft_bytes: int
    """Of the layers that are not loaded."""
    parameters: int
    is_reranker: bool
    is_encoder: bool
    sampling: tuple[tuple[str, float], ...] = ()
    """The maker's values of settings: the header's where they are valid, else those of the family."""
    text_form: TextForm = PLAIN
    """Of an embedding model."""
    matrices: tuple[tuple[int, str, int], ...] = ()
    """Tensor types, what the matrices are (experts, the output, or neither), and their weights."""
    expert_share: float = 1.0
    """Of the experts that compute one token."""

    def with_adapter(self, adapter: Header) -> Header:
        """This model with a LoRA: the files and bytes of both."""
        return replace(
            self,
            files=self.files + adapter.files,
            file_bytes=self.file_bytes + adapter.file_bytes,
            tensor_bytes=self.tensor_bytes + adapter.tensor_bytes,
            layer_bytes=tuple(map(sum, zip_longest(self.layer_bytes, adapter.layer_bytes, fillvalue=0))),
        )

    def is_of(self, path: Path) -> bool:
        """Whether `path` is the file of this header, and every part is unchanged since."""
        return path == self.path and all(
            (found := stamp(each.path)) is not None and found[:2] == (each.modified, each.bytes) for each in self.files
        )

    def copied_bytes(self, *, offloaded: bool) -> int:
        """Of the token embeddings, if they are also the output matrix and it exists twice: offloaded or repacked."""
        tied = self.output_bytes < self.embedding_bytes // 8
        return self.embedding_bytes if tied and not self.is_encoder and (offloaded or self.repacked) else 0


Part = tuple[File, Metadata, list[Tensor]]


def read_header(path: Path, read: Callable[[Path], Part] | None = None) -> Header:
    """Read a GGUF header, of all parts where `path` is one of several; the weights stay on disk, or wherever `read` is.

    Raises ModelFileError, with one sentence, for a file that is not a whole GGUF file, and for a missing part.
    """
    first, *others = parts_of(path)
    read = read or (lambda part: _read(part, of=path))
    try:
        file, metadata, tensors = read(first)
        files, count = [file], metadata.integer("split.count", 1)
        if count > 1 and count != len(others) + 1:
            raise ModelFileError(
                f"The file {path} is part {metadata.integer('split.no') + 1} of {count} of a model, and its name is "
                "not that of a part.",
                f"Give each part its own name again: NAME-00001-of-{count:05}.gguf and so on.",
            )
        for each in others if count > 1 else ():
            file, _, more = read(each)
            files.append(file)
            tensors += more
        return _compose(files, metadata, tensors)
    except FormatError as error:
        raise _damaged(first, str(error)) from error


def _read(path: Path, of: Path) -> Part:
    """One file of the model `of`."""
    later = "Wait for its download, or download it again."
    if download := download_of(path):
        raise _damaged(path, f"it is still being downloaded, as {download}", later)
    try:
        # Opening a pipe would block until another process writes to it.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise _damaged(path, "it is not a file but a pipe or a device")
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_size == 0:
                raise _damaged(path, "it is empty", later)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return File(path, stat.st_size, stat.st_mtime_ns), *read_gguf(view, stat.st_size)
    except FileNotFoundError as error:
        raise _missing(path, of) from error
    except IsADirectoryError as error:
        raise ModelFileError(f"The model file {path} is a folder.", "Name the .gguf file in it.") from error
    except CutOffError as error:
        raise _damaged(path, str(error), later) from error
    except FormatError as error:
        raise _damaged(path, str(error)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelFileError(f"The model file {path} cannot be read: {reason}.", "Check its permissions.") from error


def _missing(path: Path, of: Path) -> ModelFileError:
    parts = parts_of(of)
    if any(each.exists() for each in parts):
        return ModelFileError(
            f"The model is in {len(parts)} parts, and {path} is missing.", "Put all its parts into one folder."
        )
    return ModelFileError(
        f"There is no model file {of}.", "Check the path, or get a model with `charlie models pull ROLE`."
    )


def _damaged(path: Path, reason: str, hint: str = "Download it again; Charlie reads GGUF files.") -> ModelFileError:
    return ModelFileError(f"The file {path} cannot be used as a model: {reason}.", hint)


def _compose(files: list[File], metadata: Metadata, tensors: list[Tensor]) -> Header:
    architecture = metadata.text("general.architecture")
    kind = _kind(metadata, tensors)
    if not tensors and kind is not FileKind.VOCABULARY:
        raise FormatError("it holds no tensors")
    if not architecture and kind is not FileKind.IMATRIX:
        raise FormatError("it does not say its architecture")
    own: Callable[..., int] = lambda key, default=0: metadata.integer(f"{architecture}.{key}", default)  # noqa: E731
    if own("block_count") > MAX_LAYERS:
        raise FormatError(f"its header claims {own('block_count'):,} layers")
    heads = own("attention.head_count")
    embedding = own("embedding_length")
    head_dim = embedding // heads if heads else 0
    tokens = metadata.values.get("tokenizer.ggml.tokens")
    family = family_of(architecture)
    shared = family.shared_expert or own("expert_shared_count") or own("expert_shared_feed_forward_length")
    loaded = max(0, own("block_count") - own("nextn_predict_layers"))
    names = [metadata.text(f"general.{key}") for key in NAMES]
    known = " ".join([*names, files[0].path.stem])
    layers: Counter[int] = Counter()
    for each in tensors:
        layers[each.layer] += each.bytes
    parameters = sum(each.weights for each in tensors)
    output = sum(each.bytes for each in tensors if each.name.startswith(("output", "cls")))
    table = [each for each in tensors if each.name == "token_embd.weight"]
    embedding_bytes = sum(each.bytes for each in table)
    tied = output < embedding_bytes // 8 and architecture not in ENCODERS
    form = text_form(known)
    pooling = POOLING.get(own("pooling_type")) or form.pooling or ("mean" if architecture in ENCODERS else None)
    return Header(
        path=files[0].path,
        file_bytes=sum(each.bytes for each in files),
        files=tuple(files),
        kind=kind,
        architecture=one_line(architecture, MAX_SHOWN),
        name=one_line(_name(metadata, parameters, files[0].path.stem), MAX_SHOWN) or files[0].path.stem,
        layers=own("block_count"),
        memory=layers_of(architecture, metadata, loaded),
        window=own("attention.sliding_window", family.window),
        context_length=own("context_length"),
        embedding_length=embedding,
        heads=heads,
        kv_heads=own("attention.head_count_kv", heads),
        per_layer_embedding=loaded * own("embedding_length_per_layer_input"),
        feed_forward=own("expert_feed_forward_length") or own("feed_forward_length"),
        experts_used=own("expert_used_count") + (1 if shared else 0),
        head_dim_key=own("attention.key_length", head_dim),
        head_dim_value=own("attention.value_length", head_dim),
        vocab_size=tokens if isinstance(tokens, int) else own("vocab_size"),
        tokenizer=metadata.text("tokenizer.ggml.model"),
        pooling=pooling,
        quantization=FILE_TYPES.get(metadata.integer("general.file_type", -1), "mixed"),
        chat_template=metadata.text("tokenizer.chat_template") or None,
        tensor_bytes=layers.total(),
        layer_bytes=tuple(layers[layer] for layer in range(max(layers, default=-1) + 1)),
        output_bytes=output,
        embedding_bytes=embedding_bytes,
        repacked=any(each.kind in REPACKED for each in table),
        draft_bytes=sum(size for layer, size in layers.items() if layer >= loaded),
        parameters=parameters,
        is_reranker=pooling == "rank" or any(each.name.startswith("cls.") for each in tensors),
        is_encoder=architecture in ENCODERS,
        sampling=tuple(_sampling(metadata)) or published_sampling(known),
        text_form=form,
        matrices=_matrices([each for each in tensors if each.layer < loaded], tied=tied),
        expert_share=own("expert_used_count") / max(1, own("expert_count")) if own("expert_used_count") else 1.0,
    )


def _matrices(tensors: list[Tensor], *, tied: bool) -> tuple[tuple[int, str, int], ...]:
    """All but those that are only looked up, as the embedding, unless it is the output, too."""
    sums: Counter[tuple[int, str]] = Counter()
    for each in tensors:
        if each.dimensions > 1 and ("_embd" not in each.name or (tied and each.name == "token_embd.weight")):
            output = each.name.startswith(("output", "token_embd"))
            sums[each.kind, EXPERTS if "_exps" in each.name else OUTPUT if output else ""] += each.weights
    return tuple((kind, what, weights) for (kind, what), weights in sums.items())


def _name(metadata: Metadata, parameters: int, stem: str) -> str:
    """Family, size and finetune, such as `Qwen3 8B Instruct`; the whole name where the header has only that."""
    family, name = metadata.text("general.basename"), metadata.text("general.name")
    if name and not family:
        return name
    family = family or metadata.text("general.architecture") or stem
    # A finetune with digits is the label of a training run: `8k-lc100k-mix1-ep2`.
    finetune = [each for each in metadata.text("general.finetune").split("-") if not re.search(r"\d", each)]
    words = [metadata.text("general.size_label") or f"{parameters / 1e6:,.0f}M", *finetune]
    known = f"-{re.sub('[ _]', '-', family)}-".casefold()
    return " ".join([family, *(word for word in words if f"-{word}-".casefold() not in known)])


def _sampling(metadata: Metadata) -> Iterator[tuple[str, float]]:
    for key, setting in SAMPLING.items():
        value = metadata.values.get(f"general.sampling.{key}")
        if isinstance(value, int | float):
            with suppress(ValidationError):
                # Without the digits that a 32-bit 0.6 has too many.
                yield setting, getattr(Sampling.model_validate({setting: round(value, 6)}), setting)


def _kind(metadata: Metadata, tensors: list[Tensor]) -> FileKind:
    """By `general.type`, which older projectors and vocabularies do not have."""
    if (kind := metadata.text("general.type")) in (FileKind.ADAPTER, FileKind.IMATRIX, FileKind.PROJECTOR):
        return FileKind(kind)
    if metadata.text("general.architecture") == "clip":
        return FileKind.PROJECTOR
    vocabulary = not tensors and "tokenizer.ggml.tokens" in metadata.values
    return FileKind.VOCABULARY if vocabulary else FileKind.MODEL
