from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.database.aof_repair import damage, repair, whole_commands
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
REPAIRED = [each for each in COMMANDS if each not in (command(b"MULTI"), command(b"EXEC"))]


def write(folder: Path, data: bytes) -> Path:
    file = folder / "appendonly.aof"
    file.write_bytes(data)
    return file


def test_a_whole_file_is_not_changed(tmp_path: Path) -> None:
    file = write(tmp_path, FILE)
    assert damage(file) == (0, len(FILE))
    assert [FILE[span.start : span.end] for span in whole_commands(FILE)] == COMMANDS
    assert repair(file) is None
    assert file.read_bytes() == FILE
    assert list(tmp_path.iterdir()) == [file]


@given(start=st.integers(0, len(FILE) - 1), garbage=st.binary(min_size=1, max_size=60))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_commands_before_and_after_damage_are_kept(tmp_path: Path, start: int, garbage: bytes) -> None:
    data = FILE[:start] + garbage + FILE[start + len(garbage) :]
    assume(not data.startswith(b"REDIS"))
    file = write(tmp_path, data)
    done = repair(file)
    end, at, untouched = start + len(garbage), 0, []
    for each in COMMANDS:
        if each in REPAIRED and (at + len(each) <= start or at >= end):
            untouched.append(each)
        at += len(each)
    kept = [file.read_bytes()[span.start : span.end] for span in whole_commands(file.read_bytes())]
    assert [each for each in kept if each in untouched] == untouched
    if done is not None:
        assert done.damaged_file.read_bytes() == data
        done.damaged_file.unlink()


def test_a_command_inside_a_damaged_text_is_not_kept(tmp_path: Path) -> None:
    data = command(b"SET", b"a", b"1") + b"*3\r\n$3\r\nSE" + command(b"FLUSHALL") + command(b"SET", b"b", b"2")
    file = write(tmp_path, data)
    done = repair(file)
    assert done is not None
    assert file.read_bytes() == command(b"SET", b"a", b"1") + command(b"SET", b"b", b"2")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for data in (b"REDIS0009 and so on", b"\x00" * 5000):
        file = write(tmp_path, data)
        with pytest.raises(DatabaseError):
            repair(file)
        assert file.read_bytes() == data
        assert list(tmp_path.iterdir()) == [file]
    assert repair(write(tmp_path, b"")) is None
    assert repair(tmp_path / "none") is None
