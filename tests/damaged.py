"""Model files with headers damaged in thousands of ways, and the outcome of reading each."""

from __future__ import annotations

import os
import random
import re
import resource
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import psutil

from core.errors import ModelFileError
from core.memory.footprint import estimate
from core.memory.types import Device
from core.model_files.gguf import read_header
from core.model_files.spec import check_role, default_spec
from core.roles import Role
from tests.benchmarks.shapes import Shape, write

KINDS = ("instruct", "embedding", "reranker", "llama", "experts", "bert")
MAX_BYTES = 512 * 1024**2
"""Bytes that may be allocated in a `memory_limit` block."""
KEY = re.compile(rb"(?:general|tokenizer|llama|bert|gemma3)\.[a-z0-9_.]+")
EXTREMES = (0, 1, 2**15, 2**20, 2**24 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)

Change = tuple[int, bytes]


@contextmanager
def memory_limit(mapped: int = 0) -> Iterator[None]:
    """Allocating more than MAX_BYTES raises MemoryError in this block; files of `mapped` bytes may be mapped."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + mapped + MAX_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def outcome(path: Path) -> str:
    """Reads one file and estimates its memory; returns "a header", or the sentence of its error."""
    began = perf_counter()
    try:
        header = read_header(path)
        footprint = estimate(default_spec(header), [Device("", 10**9, 10**9, "GPU0")])
        assert min(footprint.weights, footprint.kv_cache, footprint.compute, footprint.overhead) >= 0
        for role in Role:
            check_role(header, role)
        said = "a header"
    except ModelFileError as error:
        said = error.message if error.hint else ""
    assert said.endswith(("a header", "."))
    assert said.isprintable()
    assert perf_counter() - began < 1
    return said


def write_whole(path: Path, kind: str, tiny: Mapping[Role, Path]) -> Path:
    """A copy of a tiny model, or a file of another architecture."""
    small = {"layers": 2, "width": 256, "heads": 4, "kv_heads": 4, "feed_forward": 512, "vocabulary": 2000}
    match kind:
        case "llama":
            return write(path, Shape(**small, weights="q8_0"), hollow=True)  # type: ignore[arg-type]
        case "experts":
            return write(path, Shape(**small, experts=4), hollow=True)  # type: ignore[arg-type]
        case "bert":
            return write(path, Shape("bert", **small, role=Role.RERANKER), hollow=True)  # type: ignore[arg-type]
        case role:
            path.write_bytes(tiny[Role(role)].read_bytes())
            return path


def flip(dice: random.Random, header: bytes) -> list[Change]:
    """Flips some bits, anywhere or among the counts and first keys."""
    places = [dice.randrange(dice.choice((len(header), min(len(header), 2000)))) for _ in range(dice.randint(1, 8))]
    return [(at, bytes([header[at] ^ (1 << dice.randrange(8))])) for at in places]


def noise(dice: random.Random, header: bytes) -> list[Change]:
    at = dice.randrange(len(header) - 64)
    return [(at, dice.randbytes(dice.randint(1, 64)))]


def inflate(dice: random.Random, header: bytes) -> list[Change]:
    """Replaces a count, or the length of a key, by another number."""
    ends = [found.start() - 8 for found in KEY.finditer(header)]
    return [(dice.choice([8, 16, *ends]), struct.pack("<Q", dice.choice(EXTREMES)))]


def mistype(dice: random.Random, header: bytes) -> list[Change]:
    """Replaces the type or the number of a value, or makes it a list of any type and length."""
    at = dice.choice([found.end() for found in KEY.finditer(header)])
    changes = [
        (at, struct.pack("<I", dice.randrange(14))),
        (at + 4, struct.pack("<I", dice.choice(EXTREMES) % 2**32)),
        (at + 8, struct.pack("<Q", dice.choice(EXTREMES))),
        (at, struct.pack("<IIQ", 9, dice.randrange(14), dice.choice(EXTREMES))),
    ]
    return [dice.choice(changes)]


def swap(dice: random.Random, header: bytes) -> list[Change]:
    """Overwrites one stretch with another, which duplicates keys or puts tensors among the entries."""
    length = dice.randint(1, 200)
    start, at = (dice.randrange(len(header) - length) for _ in range(2))
    return [(at, header[start : start + length])]


MUTATIONS: tuple[Callable[[random.Random, bytes], list[Change]], ...] = (flip, noise, inflate, mistype, swap)


def damaged_headers(whole: Path, rounds: int) -> Iterator[str]:
    """The outcomes of `rounds` mutations of a file, with little memory."""
    header = whole.read_bytes()[: whole.stat().st_size - read_header(whole).tensor_bytes]
    dice = random.Random(whole.stat().st_size)
    with memory_limit(), whole.open("r+b", buffering=0) as file:
        for number in range(rounds):
            changes = MUTATIONS[number % len(MUTATIONS)](dice, header)
            changes = [(at, data[: len(header) - at]) for at, data in changes]
            for at, data in changes:
                os.pwrite(file.fileno(), data, at)
            yield outcome(whole)
            for at, data in changes:
                os.pwrite(file.fileno(), header[at : at + len(data)], at)
