"""Thousands of damaged headers of real files: each ends as a header with an estimate, or as one sentence."""

from __future__ import annotations

import os
import random
import re
import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import psutil
import pytest

from core.errors import ModelFileError
from core.footprint import Offload, estimate
from core.gguf import read_header
from core.model_files import check_role, describe_spec
from core.settings import Role
from tests.benchmarks.shapes import Shape, write

ROUNDS = 700
"""Mutations of each file; there are six files."""
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


@pytest.fixture(scope="module", params=["instruct", "embedding", "reranker", "llama", "experts", "bert"])
def whole(request: pytest.FixtureRequest, starters: dict[Role, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a starter model, or a file of another shape."""
    path = tmp_path_factory.mktemp("whole") / "model.gguf"
    small = {"layers": 2, "width": 256, "heads": 4, "kv_heads": 4, "feed_forward": 512, "vocabulary": 2000}
    match request.param:
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


def test_damaged_headers(whole: Path) -> None:
    header = whole.read_bytes()[: whole.stat().st_size - read_header(whole).tensor_bytes]
    dice = random.Random(whole.stat().st_size)
    seen: set[str] = set()
    with little_room(), whole.open("r+b", buffering=0) as file:
        for number in range(ROUNDS):
            changes = MUTATIONS[number % len(MUTATIONS)](dice, header)
            changes = [(at, data[: len(header) - at]) for at, data in changes]
            for at, data in changes:
                os.pwrite(file.fileno(), data, at)
            seen.add(outcome(whole))
            for at, data in changes:
                os.pwrite(file.fileno(), header[at : at + len(data)], at)
    assert "a header" in seen or any("needs" in said for said in seen)
    assert len(seen) > 10


def test_truncated_headers(whole: Path, tmp_path: Path) -> None:
    size = whole.stat().st_size
    header = whole.read_bytes()[: size - read_header(whole).tensor_bytes]
    dice = random.Random(size)
    path = tmp_path / "cut.gguf"
    path.write_bytes(header)
    with little_room():
        for length in sorted((dice.randrange(len(header)) for _ in range(60)), reverse=True):
            os.truncate(path, length)
            assert "cut off" in outcome(path) or "claims" in outcome(path) or length < 8
        os.truncate(path, size * 1000)  # and zeros for ever
        assert outcome(path) != "a header"


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def numbered(kind: int, count: int) -> bytes:
    return text(b"k") + struct.pack("<IIQ", 9, kind, count)


HUGE: dict[str, tuple[int, Callable[[], bytes], str]] = {
    "texts without end": (1, lambda: numbered(8, 2**33), "texts in lists"),
    "texts in two lists": (
        2,
        lambda: numbered(8, 2**22 - 1) + b"\0" * 8 * (2**22 - 1) + numbered(8, 2),
        "texts in lists",
    ),
    "numbers without end": (1, lambda: numbered(10, 2**30), "more than 67,108,864 bytes"),
    "many numbers": (2**12, lambda: (numbered(0, 512) + b"\1" * 512) * 2**12, "no tensors"),
    "long texts": (
        4,
        lambda: b"".join(text(b"k%d" % n) + struct.pack("<IQ", 8, 2**24) + b"a" * 2**24 for n in range(4)),
        "more than 67,108,864 bytes",
    ),
    "a long key": (1, lambda: text(b"a" * 2**24), "no tensors"),
    "many entries": (2**13, lambda: b"", "8,192 entries"),
}


@pytest.mark.parametrize(("count", "entries", "reason"), HUGE.values(), ids=HUGE)
def test_what_would_take_long_in_a_huge_file_is_refused_at_once(
    tmp_path: Path, count: int, entries: Callable[[], bytes], reason: str
) -> None:
    """The file is a hole of 1 TB, so nothing is refused because its end is reached."""
    path = tmp_path / "huge.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, count) + entries())
    os.truncate(path, 2**40)
    with little_room(beside=2**40):
        assert reason in outcome(path)


def test_a_name_is_shown_as_one_line(tmp_path: Path) -> None:
    said = b"\x1b[2Jllama\nand more"
    entries = text(b"general.architecture") + struct.pack("<I", 8) + text(said)
    entries += text(b"general.name") + struct.pack("<I", 8) + text(b"\x1b]0;title\x07" + b"x" * 1000)
    tensor = text(b"a") + struct.pack("<IQIQ", 1, 8, 0, 0)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + entries + tensor + b"\0" * 128)
    header = read_header(path)
    assert header.architecture == "[2Jllama"
    assert header.name.isprintable()
    assert len(header.name) == 100
