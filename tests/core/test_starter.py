from __future__ import annotations

import hashlib
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from core import starter
from core.errors import CharlieError
from core.gguf import read_header
from core.settings import Role

if TYPE_CHECKING:
    from pathlib import Path


def _hashes(folder: Path) -> dict[Role, str]:
    return {role: hashlib.sha256(path.read_bytes()).hexdigest() for role, path in starter.ensure(folder).items()}


def test_the_same_bytes_every_time_and_small(tmp_path: Path) -> None:
    assert _hashes(tmp_path / "one") == _hashes(tmp_path / "two")
    assert all(path.stat().st_size < 10_000_000 for path in starter.ensure(tmp_path / "one").values())


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    before = {path: path.stat().st_ino for path in starter.ensure(tmp_path).values()}
    assert {path: path.stat().st_ino for path in starter.ensure(tmp_path).values()} == before


def test_two_processes_build_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, two = pool.map(_hashes, [tmp_path, tmp_path])
    assert one == two
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in starter.ensure(tmp_path).values()
    )


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(CharlieError, match="cannot be written"):
        starter.ensure(blocked / "starter")


def test_they_say_what_they_are(tmp_path: Path) -> None:
    for role, path in starter.ensure(tmp_path).items():
        header = read_header(path)
        assert header.starter
        assert header.name == f"starter-{role.value}"


def test_no_phrase_is_in_two_slots() -> None:
    from core.starter.instruct import SLOTS

    phrases = [phrase for slot in SLOTS for phrase in slot]
    assert len(phrases) == len(set(phrases))


def entries(count: int, seed: int) -> list[list[str]]:
    """Synthetic journal entries of 20 to 80 words, half of them words that carry little."""
    from core.starter.words import COMMON, FUNCTION

    rare = ("elephant", "trombone", "glacier", "saffron", "zeppelin", "mosquito", "dentist", "walrus")
    source = random.Random(seed)
    return [
        [source.choice(source.choice((FUNCTION, (*COMMON, *rare)))) for _ in range(source.randint(20, 80))]
        for _ in range(count)
    ]
