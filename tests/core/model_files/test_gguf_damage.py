"""Thousands of damaged headers of real files: each is read and estimated, or refused in one sentence."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from core.model_files.gguf import read_header
from core.roles import Role
from tests.damaged import KINDS, damaged_headers, memory_limit, outcome, write_whole

ROUNDS = 700
"""Mutations of each file; there are six files."""


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, tiny: dict[Role, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("whole") / "model.gguf", request.param, tiny)


def test_damaged_headers(whole: Path) -> None:
    seen = set(damaged_headers(whole, ROUNDS))
    assert "a header" in seen or any("needs" in said for said in seen)
    assert len(seen) > 10


def test_truncated_headers(whole: Path, tmp_path: Path) -> None:
    size = whole.stat().st_size
    header = whole.read_bytes()[: size - read_header(whole).tensor_bytes]
    dice = random.Random(size)
    path = tmp_path / "cut.gguf"
    path.write_bytes(header)
    with memory_limit():
        for length in sorted((dice.randrange(len(header)) for _ in range(60)), reverse=True):
            os.truncate(path, length)
            assert "cut off" in outcome(path) or "claims" in outcome(path) or length < 8
        os.truncate(path, size * 1000)  # followed by zeros
        assert outcome(path) != "a header"


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def numbered(kind: int, count: int) -> bytes:
    return text(b"k") + struct.pack("<IIQ", 9, kind, count)


HUGE: dict[str, tuple[int, Callable[[], bytes], str]] = {
    "texts without end": (1, lambda: numbered(8, 2**33), "texts in lists"),
    "texts in two lists": (
        2,
        lambda: numbered(8, 2**21 - 1) + b"\0" * 8 * (2**21 - 1) + numbered(8, 2),
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
def test_a_huge_header_is_refused_at_once(
    tmp_path: Path, count: int, entries: Callable[[], bytes], reason: str
) -> None:
    """The file is sparse, of 1 TB, so no header is refused for reaching its end."""
    path = tmp_path / "huge.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, count) + entries())
    os.truncate(path, 2**40)
    with memory_limit(mapped=2**40):
        assert reason in outcome(path)


def test_a_name_is_shown_as_one_line(tmp_path: Path) -> None:
    shown = b"\x1b[2Jllama\nand more"
    entries = text(b"general.architecture") + struct.pack("<I", 8) + text(shown)
    entries += text(b"general.name") + struct.pack("<I", 8) + text(b"\x1b]0;title\x07" + b"x" * 1000)
    tensor = text(b"a") + struct.pack("<IQIQ", 1, 8, 0, 0)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + entries + tensor + b"\0" * 128)
    header = read_header(path)
    assert header.architecture == "␛[2Jllama"
    assert header.name.isprintable()
    assert len(header.name) == 100
