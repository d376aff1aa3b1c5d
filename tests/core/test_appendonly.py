from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.appendonly import damage, repair, whole_commands
from core.errors import DatabaseError


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


COMMANDS = [
    command(b"SELECT", b"0"),
    command(b"MULTI"),
    command(b"SET", b"entry:1", b"a text with \r\n*1\r\n$4\r\nPING\r\n in it"),
    command(b"ZADD", b"entries", b"1", b"1"),
    command(b"EXEC"),
    *[command(b"set", b"key %d" % number, b"x" * number) for number in range(40)],
]
FILE = b"".join(COMMANDS)
KEPT = [each for each in COMMANDS if each not in (command(b"MULTI"), command(b"EXEC"))]


def write(folder: Path, data: bytes) -> Path:
    file = folder / "appendonly.aof"
    file.write_bytes(data)
    return file


def test_a_whole_file_is_left_alone(tmp_path: Path) -> None:
    file = write(tmp_path, FILE)
    assert damage(file) == (0, len(FILE))
    assert [FILE[span.start : span.end] for span in whole_commands(FILE)] == COMMANDS
    assert repair(file) is None
    assert file.read_bytes() == FILE
    assert list(tmp_path.iterdir()) == [file]


@given(start=st.integers(0, len(FILE) - 1), garbage=st.binary(min_size=1, max_size=60))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_stands_before_and_behind_damage_is_kept(tmp_path: Path, start: int, garbage: bytes) -> None:
    data = FILE[:start] + garbage + FILE[start + len(garbage) :]
    assume(not data.startswith(b"REDIS"))
    file = write(tmp_path, data)
    done = repair(file)
    end, at, untouched = start + len(garbage), 0, []
    for each in COMMANDS:
        if each in KEPT and (at + len(each) <= start or at >= end):
            untouched.append(each)
        at += len(each)
    kept = [file.read_bytes()[span.start : span.end] for span in whole_commands(file.read_bytes())]
    assert [each for each in kept if each in untouched] == untouched
    if done is not None:
        assert done.aside.read_bytes() == data
        done.aside.unlink()


def test_what_looks_like_a_command_in_half_a_text_is_not_obeyed(tmp_path: Path) -> None:
    data = command(b"SET", b"a", b"1") + b"*3\r\n$3\r\nSE" + command(b"FLUSHALL") + command(b"SET", b"b", b"2")
    file = write(tmp_path, data)
    done = repair(file)
    assert done is not None
    assert file.read_bytes() == command(b"SET", b"a", b"1") + command(b"SET", b"b", b"2")


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    for data in (b"REDIS0009 and so on", b"\x00" * 5000):
        file = write(tmp_path, data)
        with pytest.raises(DatabaseError):
            repair(file)
        assert file.read_bytes() == data
        assert list(tmp_path.iterdir()) == [file]
    assert repair(write(tmp_path, b"")) is None
    assert repair(tmp_path / "none") is None
