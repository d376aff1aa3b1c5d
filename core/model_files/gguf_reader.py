"""Reads the metadata and tensor table of a GGUF file over mmap, without its weights.

A parser of our own: the files are not trusted, and the interface must not load gguf or numpy. The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from core.model_files.gguf_types import BLOCKS

Scalar = int | float | bool | str
Value = Scalar | list[int]
"""A long list of numbers, and any list of strings, is only its length."""

MAGIC: Final = b"GGUF"
STRING: Final = 8
ARRAY: Final = 9
SCALARS: Final = {kind: struct.Struct("<" + code) for kind, code in enumerate("BbHhIif?  Qqd") if code != " "}
U32: Final = SCALARS[4]
U64: Final = SCALARS[10]
# At these limits a header is refused or read within a second; real headers are far below them.
MAX_BYTES: Final = 1 << 26
MAX_ENTRIES: Final = 1 << 12
MAX_TENSORS: Final = 1 << 16
MAX_STRING: Final = 1 << 24
MAX_STRINGS_LISTED: Final = 1 << 21
"""In all lists: a vocabulary and its merges. Gemma's, the largest, has 262,144 and twice as many merges."""
MAX_LISTED: Final = 512
"""Length of the longest list whose numbers are read: one for each layer."""
LAYER: Final = re.compile(r"blk\.(\d{1,5})\.")


class FormatError(Exception):
    """The message says what is wrong with the bytes, as the end of a sentence."""


class CutOffError(FormatError):
    """Bytes are missing at the end, as in a file that is still being downloaded."""


def read_gguf(data: mmap.mmap | bytes, size: float) -> tuple[Metadata, list[Tensor]]:
    """The metadata and tensors of a whole file of `size` bytes that begins with `data`; some have no tensors.

    Raises FormatError.
    """
    if data[:4] != MAGIC:
        raise FormatError("it is not a GGUF file")
    reader = _Reader(data)
    reader.at = 4
    version = int(reader.unpack(U32))
    if version not in (2, 3):
        raise FormatError(f"its GGUF version is {version}, and 2 and 3 are known")
    count = reader.count("tensors", MAX_TENSORS)
    entries = reader.count("entries", MAX_ENTRIES)
    values: dict[str, Value] = {}
    for _ in range(entries):
        key = reader.string()
        values[key] = reader.value()
    metadata = Metadata(values)
    return metadata, _tensors(reader, count, metadata.integer("general.alignment", 32), size)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The entries of the header. A value of another type than the one asked for counts as missing."""

    values: dict[str, Value]

    def text(self, key: str) -> str:
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def integer(self, key: str, default: int = 0) -> int:
        value = self.values.get(key)
        if isinstance(value, list):
            value = max(value, default=default)
        return int(value) if isinstance(value, int) and value >= 0 else default

    def numbers(self, key: str, count: int) -> list[int] | None:
        """A list of `count` numbers, filled up with zeros; None where the value is no list."""
        value = self.values.get(key)
        return [max(0, each) for each in [*value, *[0] * count][:count]] if isinstance(value, list) else None


class Tensor(NamedTuple):
    """One tensor; `layer` is its number, -1 outside the layers."""

    name: str
    layer: int
    kind: int
    dimensions: int
    weights: int
    bytes: int


class _Reader:
    """A cursor that never moves past the end of the bytes."""

    __slots__ = ("at", "data", "strings_left")

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self.data = data
        self.at = 0
        self.strings_left = MAX_STRINGS_LISTED

    def unpack(self, kind: struct.Struct) -> int | float | bool:
        try:
            (value,) = kind.unpack_from(self.data, self.at)
        except struct.error:
            raise CutOffError("its header is cut off") from None
        self.at += kind.size
        return cast("int | float | bool", value)

    def count(self, what: str, limit: int) -> int:
        value = int(self.unpack(U64))
        if value > limit:
            raise FormatError(f"its header claims {value:,} {what}")
        return value

    def go_to(self, at: int) -> None:
        if at > len(self.data):
            raise CutOffError("its header is cut off")
        if at > MAX_BYTES:
            raise FormatError(f"its header claims more than {MAX_BYTES:,} bytes")
        self.at = at

    def string(self) -> str:
        length = self.count("bytes for one text", MAX_STRING)
        start = self.at
        self.go_to(self.at + length)
        return self.data[start : self.at].decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        self.strings_left -= count
        if self.strings_left < 0:
            raise FormatError(f"its header claims more than {MAX_STRINGS_LISTED:,} texts in lists")
        data, at, read = self.data, self.at, U64.unpack_from
        try:
            for _ in range(count):
                at += 8 + read(data, at)[0]
        except (struct.error, OverflowError):
            raise CutOffError("its header is cut off") from None
        self.go_to(at)

    def value(self) -> Value:
        kind = int(self.unpack(U32))
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array()
        return self.unpack(_scalar(kind))

    def array(self) -> list[int] | int:
        """The numbers of a short list; else the length."""
        kind = int(self.unpack(U32))
        count = self.count("values in one list", len(self.data))
        if kind == STRING:
            self.skip_strings(count)
            return count
        scalar = _scalar(kind)
        start = self.at
        self.go_to(self.at + count * scalar.size)
        if count > MAX_LISTED or kind in (6, 12):
            return count
        return [int(value) for (value,) in scalar.iter_unpack(self.data[start : self.at])]


def _scalar(kind: int) -> struct.Struct:
    scalar = SCALARS.get(kind)
    if scalar is None:
        raise FormatError(f"its header has a value of the unknown kind {kind}")
    return scalar


def _tensors(reader: _Reader, count: int, alignment: int, size: float) -> list[Tensor]:
    if alignment <= 0 or alignment > 1 << 20:
        raise FormatError(f"its alignment of {alignment:,} bytes makes no sense")
    tensors, last = [], 0
    for _ in range(count):
        name = reader.string()
        dimensions = int(reader.unpack(U32))
        if not 1 <= dimensions <= 4:
            raise FormatError(f"a tensor has {dimensions:,} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= int(reader.unpack(U64))
        kind = int(reader.unpack(U32))
        offset = int(reader.unpack(U64))
        block, block_bytes = BLOCKS.get(kind, (1, 0))
        layer = LAYER.match(name)
        length = elements // block * block_bytes
        tensors.append(Tensor(name, int(layer[1]) if layer else -1, kind, dimensions, elements, length))
        last = max(last, offset + length)
    end = -(-reader.at // alignment) * alignment + last if count else 0
    if end > size:
        raise CutOffError(f"it is cut off: {len(reader.data):,} of {end:,} bytes are there")
    return tensors
