"""Model files whose headers are damaged in thousands of ways, and what becomes of each."""

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
from core.footprint import Offload, estimate
from core.gguf import read_header
from core.model_files import check_role, describe_spec
from core.settings import Role
from tests.benchmarks.shapes import Shape, write

KINDS = ("instruct", "embedding", "reranker", "llama", "experts", "bert")
ROOM = 512 * 1024**2
"""Bytes that may be allocated beside what is there already."""
KEY = re.compile(rb"(?:general|tokenizer|llama|bert|gemma3)\.[a-z0-9_.]+")
EXTREMES = (0, 1, 2**15, 2**20, 2**24 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)

Change = tuple[int, bytes]


@contextmanager
def little_room(beside: int = 0) -> Iterator[None]:
    """Whoever allocates gigabytes gets MemoryError; `beside` is what may be mapped."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + beside + ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def outcome(path: Path) -> str:
    """What became of one file: a header whose model could be planned in some role, or the sentence."""
    began = perf_counter()
    try:
        header = read_header(path)
        footprint = estimate(describe_spec(header), [Offload("GPU0", 10**9)])
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


def write_whole(path: Path, kind: str, starters: Mapping[Role, Path]) -> Path:
    """A copy of a starter model, or a file of another shape."""
    small = {"layers": 2, "width": 256, "heads": 4, "kv_heads": 4, "feed_forward": 512, "vocabulary": 2000}
    match kind:
        case "llama":
            return write(path, Shape(**small, weights="q8_0"), hollow=True)  # type: ignore[arg-type]
        case "experts":
            return write(path, Shape(**small, experts=4), hollow=True)  # type: ignore[arg-type]
        case "bert":
            return write(path, Shape("bert", **small, role=Role.RERANKER), hollow=True)  # type: ignore[arg-type]
        case role:
            path.write_bytes(starters[Role(role)].read_bytes())
            return path


def flip(dice: random.Random, header: bytes) -> list[Change]:
    """Some bits, anywhere or where the counts and first keys are."""
    places = [dice.randrange(dice.choice((len(header), min(len(header), 2000)))) for _ in range(dice.randint(1, 8))]
    return [(at, bytes([header[at] ^ (1 << dice.randrange(8))])) for at in places]


def noise(dice: random.Random, header: bytes) -> list[Change]:
    at = dice.randrange(len(header) - 64)
    return [(at, dice.randbytes(dice.randint(1, 64)))]


def inflate(dice: random.Random, header: bytes) -> list[Change]:
    """A count, or the length of a key, becomes another number."""
    ends = [found.start() - 8 for found in KEY.finditer(header)]
    return [(dice.choice([8, 16, *ends]), struct.pack("<Q", dice.choice(EXTREMES)))]


def mistype(dice: random.Random, header: bytes) -> list[Change]:
    """A value becomes of another kind, or another number, or a list of another kind or length."""
    at = dice.choice([found.end() for found in KEY.finditer(header)])
    changes = [
        (at, struct.pack("<I", dice.randrange(14))),
        (at + 4, struct.pack("<I", dice.choice(EXTREMES) % 2**32)),
        (at + 8, struct.pack("<Q", dice.choice(EXTREMES))),
        (at, struct.pack("<IIQ", 9, dice.randrange(14), dice.choice(EXTREMES))),
    ]
    return [dice.choice(changes)]


def swap(dice: random.Random, header: bytes) -> list[Change]:
    """A stretch stands where another was: keys twice, tensors among the entries."""
    length = dice.randint(1, 200)
    start, at = (dice.randrange(len(header) - length) for _ in range(2))
    return [(at, header[start : start + length])]


MUTATIONS: tuple[Callable[[random.Random, bytes], list[Change]], ...] = (flip, noise, inflate, mistype, swap)


def damaged_headers(whole: Path, rounds: int) -> Iterator[str]:
    """What became of each of so many mutations of a file, one after the other and in little memory."""
    header = whole.read_bytes()[: whole.stat().st_size - read_header(whole).tensor_bytes]
    dice = random.Random(whole.stat().st_size)
    with little_room(), whole.open("r+b", buffering=0) as file:
        for number in range(rounds):
            changes = MUTATIONS[number % len(MUTATIONS)](dice, header)
            changes = [(at, data[: len(header) - at]) for at, data in changes]
            for at, data in changes:
                os.pwrite(file.fileno(), data, at)
            yield outcome(whole)
            for at, data in changes:
                os.pwrite(file.fileno(), header[at : at + len(data)], at)
