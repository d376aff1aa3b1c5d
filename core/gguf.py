"""What a GGUF header says, read without loading weights: a parser of its own over mmap, as files are not to be trusted.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from core.errors import ModelFileError
from core.quantization import BLOCKS, FILE_TYPES
from core.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Pooling = Literal["mean", "cls", "last", "rank"]
Scalar = int | float | bool | str

MAGIC: Final = b"GGUF"
STRING: Final = 8
ARRAY: Final = 9
SCALARS: Final[dict[int, struct.Struct]] = {
    number: struct.Struct("<" + code)
    for number, code in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
U32: Final = SCALARS[4]
U64: Final = SCALARS[10]
# A header at all these limits is refused or read within a second; real ones are far below each.
MAX_BYTES: Final = 1 << 26
MAX_ENTRIES: Final = 1 << 12
MAX_TENSORS: Final = 1 << 16
MAX_STRING: Final = 1 << 24
MAX_STRINGS_LISTED: Final = 1 << 21
"""In all lists together: a vocabulary and its merges. The largest in use, of Gemma, has 262,144 and twice as many."""
MAX_LISTED: Final = 512
"""Numbers of a list that are kept: one for each layer."""
MAX_SHOWN: Final = 100
"""Characters of a name; it is shown, so it is one line without controls as well."""
MAX_LAYERS: Final = 512
"""llama.cpp aborts the process at more; llama-hparams.h, LLAMA_MAX_LAYERS."""
LAYER: Final = re.compile(r"blk\.(\d{1,5})\.")
POOLING: Final[dict[int, Pooling]] = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
ENCODERS: Final = frozenset(
    {
        "bert",
        "modern-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "neo-bert",
        "jina-bert-v2",
        "jina-bert-v3",
        "eurobert",
        "t5encoder",
    }
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a model file says of itself. Lengths and counts are 0 where the file does not say."""

    path: Path
    file_bytes: int
    modified: int
    """When the file was written, in nanoseconds since the epoch."""
    architecture: str
    name: str
    layers: int
    context_length: int
    embedding_length: int
    heads: int
    kv_heads: int
    """Per layer; the largest where layers differ."""
    kv_heads_total: int
    """Of all layers together."""
    feed_forward: int
    experts_used: int
    """Per token, in a mixture of experts."""
    head_dim_key: int
    head_dim_value: int
    vocab_size: int
    pooling: Pooling | None
    quantization: str
    chat_template: str | None
    tensor_bytes: int
    layer_bytes: tuple[int, ...]
    """Of each layer's tensors."""
    output_bytes: int
    """Of the tensors behind the last layer, which are offloaded as one more layer."""
    embedding_bytes: int
    """Of the token embeddings, which stay in RAM."""
    parameters: int
    is_reranker: bool
    is_encoder: bool
    starter: bool

    def is_of(self, path: Path) -> bool:
        """Whether a file is the one that was read, and as it was then."""
        try:
            stat = path.stat()
        except OSError:
            return False
        return (path, stat.st_size, stat.st_mtime_ns) == (self.path, self.file_bytes, self.modified)

    @property
    def tied_bytes(self) -> int:
        """Of the token embeddings, where they are the output matrix too: offloaded, that is there a second time."""
        return self.embedding_bytes if self.output_bytes < self.embedding_bytes // 8 else 0

    @property
    def head_dim(self) -> int:
        """Key and value dimensions of one head, for files where they are the same."""
        return self.head_dim_key


class _FormatError(Exception):
    """What is wrong with the bytes, as the end of a sentence."""


def read_header(path: Path) -> Header:
    """Read a GGUF header; the weights stay on disk.

    Raises ModelFileError, in one sentence, for whatever is not a whole GGUF file.
    """
    try:
        # Opening a pipe would wait for somebody to write into it.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise _damaged(path, "it is not a file but a pipe or a device")
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_size == 0:
                raise _damaged(path, "it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _header(path, stat, _Reader(view))
    except FileNotFoundError as error:
        raise ModelFileError(
            f"There is no model file {path}.", "Check the path, or get a model with `charlie models pull ROLE`."
        ) from error
    except IsADirectoryError as error:
        raise ModelFileError(f"The model file {path} is a folder.", "Name the .gguf file inside of it.") from error
    except _FormatError as error:
        raise _damaged(path, str(error)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelFileError(f"The model file {path} cannot be read: {reason}.", "Check its permissions.") from error


def _damaged(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        f"The file {path} cannot be used as a model: {reason}.", "Get the file again; Charlie reads GGUF files."
    )


class _Reader:
    """A cursor over the bytes that never goes past their end."""

    __slots__ = ("at", "data", "strings_left")

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0
        self.strings_left = MAX_STRINGS_LISTED

    def unpack(self, kind: struct.Struct) -> int | float | bool:
        try:
            (value,) = kind.unpack_from(self.data, self.at)
        except struct.error:
            raise _FormatError("its header is cut off") from None
        self.at += kind.size
        return cast("int | float | bool", value)

    def count(self, what: str, limit: int) -> int:
        value = int(self.unpack(U64))
        if value > limit:
            raise _FormatError(f"its header claims {value:,} {what}")
        return value

    def skip(self, length: int) -> None:
        self.go_to(self.at + length)

    def go_to(self, at: int) -> None:
        if at > len(self.data):
            raise _FormatError("its header is cut off")
        if at > MAX_BYTES:
            raise _FormatError(f"its header claims more than {MAX_BYTES:,} bytes")
        self.at = at

    def string(self) -> str:
        length = self.count("bytes for one text", MAX_STRING)
        start = self.at
        self.skip(length)
        return self.data[start : self.at].decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        self.strings_left -= count
        if self.strings_left < 0:
            raise _FormatError(f"its header claims more than {MAX_STRINGS_LISTED:,} texts in lists")
        data, at, read = self.data, self.at, U64.unpack_from
        try:
            for _ in range(count):
                at += 8 + read(data, at)[0]
        except (struct.error, OverflowError):
            raise _FormatError("its header is cut off") from None
        self.go_to(at)

    def value(self) -> Scalar | list[int] | int:
        """One value; a list of numbers only where it is short, else an array's length."""
        kind = int(self.unpack(U32))
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array()
        return self.unpack(_scalar(kind))

    def array(self) -> list[int] | int:
        kind = int(self.unpack(U32))
        count = self.count("values in one list", len(self.data))
        if kind == STRING:
            self.skip_strings(count)
            return count
        scalar = _scalar(kind)
        start = self.at
        self.skip(count * scalar.size)
        if count > MAX_LISTED or kind in (6, 12):
            return count
        return [int(value) for (value,) in scalar.iter_unpack(self.data[start : self.at])]


def _scalar(kind: int) -> struct.Struct:
    scalar = SCALARS.get(kind)
    if scalar is None:
        raise _FormatError(f"its header has a value of the unknown kind {kind}")
    return scalar


def _header(path: Path, stat: os.stat_result, reader: _Reader) -> Header:
    if reader.data[:4] != MAGIC:
        raise _FormatError("it is not a GGUF file")
    reader.at = 4
    version = int(reader.unpack(U32))
    if version not in (2, 3):
        raise _FormatError(f"its GGUF version is {version}, and 2 and 3 are known")
    tensors = reader.count("tensors", MAX_TENSORS)
    entries = reader.count("entries", MAX_ENTRIES)
    values: dict[str, Scalar | list[int] | int] = {}
    for _ in range(entries):
        key = reader.string()
        values[key] = reader.value()
    said = _Said(values)
    found = _tensors(reader, tensors, said.integer("general.alignment", 32))
    if found.end > stat.st_size:
        raise _FormatError(f"it is cut off: {stat.st_size:,} of {found.end:,} bytes are there")
    if tensors == 0:
        raise _FormatError("it holds no tensors")
    architecture = said.text("general.architecture")
    if not architecture:
        raise _FormatError("it does not say its architecture")
    return _compose(path, stat, architecture, said, found)


@dataclass(frozen=True, slots=True)
class _Tensors:
    """All tensors together: their bytes, where the last one ends in the file, and how many weights they hold."""

    bytes: int
    layers: tuple[int, ...]
    output: int
    embedding: int
    end: int
    parameters: int
    classifier: bool
    """Whether there is a head that scores; not every reranker's header names its pooling."""


def _tensors(reader: _Reader, count: int, alignment: int) -> _Tensors:
    if alignment <= 0 or alignment > 1 << 20:
        raise _FormatError(f"its alignment of {alignment:,} bytes makes no sense")
    total = last = parameters = output = embedding = 0
    layers: dict[int, int] = {}
    classifier = False
    for _ in range(count):
        name = reader.string()
        classifier = name.startswith("cls.") or classifier
        dimensions = int(reader.unpack(U32))
        if not 1 <= dimensions <= 4:
            raise _FormatError(f"a tensor has {dimensions:,} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= int(reader.unpack(U64))
        kind = int(reader.unpack(U32))
        offset = int(reader.unpack(U64))
        block, block_bytes = BLOCKS.get(kind, (1, 0))
        length = elements // block * block_bytes
        total += length
        if layer := LAYER.match(name):
            layers[int(layer[1])] = layers.get(int(layer[1]), 0) + length
        elif name.startswith(("output", "cls")):
            output += length
        elif name == "token_embd.weight":
            embedding = length
        parameters += elements
        last = max(last, offset + length)
    start = -(-reader.at // alignment) * alignment
    return _Tensors(
        bytes=total,
        layers=tuple(layers[number] for number in sorted(layers)),
        output=output,
        embedding=embedding,
        end=start + last,
        parameters=parameters,
        classifier=classifier,
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """The entries, each asked for by the type it must have: another type counts as not said."""

    values: dict[str, Scalar | list[int] | int]

    def text(self, key: str) -> str:
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def integer(self, key: str, default: int = 0) -> int:
        value = self.values.get(key)
        if isinstance(value, list):
            value = max(value, default=default)
        return int(value) if isinstance(value, int) and value >= 0 else default

    def total(self, key: str, count: int, default: int) -> int:
        """The sum of a list of `count` numbers, or `count` times the one number."""
        value = self.values.get(key)
        return sum(max(0, each) for each in value) if isinstance(value, list) else count * self.integer(key, default)


def _compose(path: Path, stat: os.stat_result, architecture: str, said: _Said, found: _Tensors) -> Header:
    own: Callable[..., int] = lambda key, default=0: said.integer(f"{architecture}.{key}", default)  # noqa: E731
    if own("block_count") > MAX_LAYERS:
        raise _FormatError(f"its header claims {own('block_count'):,} layers")
    heads = own("attention.head_count")
    embedding = own("embedding_length")
    head_dim = embedding // heads if heads else 0
    tokens = said.values.get("tokenizer.ggml.tokens")
    pooling = POOLING.get(own("pooling_type"))
    return Header(
        path=path,
        file_bytes=stat.st_size,
        modified=stat.st_mtime_ns,
        architecture=one_line(architecture, MAX_SHOWN),
        name=one_line(said.text("general.name"), MAX_SHOWN) or path.stem,
        layers=own("block_count"),
        context_length=own("context_length"),
        embedding_length=embedding,
        heads=heads,
        kv_heads=own("attention.head_count_kv", heads),
        kv_heads_total=said.total(f"{architecture}.attention.head_count_kv", own("block_count"), heads),
        feed_forward=own("expert_feed_forward_length") or own("feed_forward_length"),
        experts_used=own("expert_used_count"),
        head_dim_key=own("attention.key_length", head_dim),
        head_dim_value=own("attention.value_length", head_dim),
        vocab_size=tokens if isinstance(tokens, int) else own("vocab_size"),
        pooling=pooling,
        quantization=FILE_TYPES.get(said.integer("general.file_type", -1), "mixed"),
        chat_template=said.text("tokenizer.chat_template") or None,
        tensor_bytes=found.bytes,
        layer_bytes=found.layers,
        output_bytes=found.output,
        embedding_bytes=found.embedding,
        parameters=found.parameters,
        is_reranker=pooling == "rank" or found.classifier,
        is_encoder=architecture in ENCODERS,
        starter=said.values.get("charlie.starter") is True,
    )
