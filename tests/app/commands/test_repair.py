"""A damaged database file is reported, repaired and kept; only the damage is lost. The real `charlie`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.app.commands.charlie import charlie, refused, started


def add(home: Path, count: int) -> list[str]:
    return [
        charlie(home, "journal", "add", "--no-wait", f"Entry {number}: {'a long walk ' * 30}").out.strip()
        for number in range(count)
    ]


def listed(home: Path) -> set[str]:
    return {each["id"] for each in charlie(home, "journal", "list", "--json").json}


def test_damage_in_the_middle(tmp_path: Path) -> None:
    ids = add(tmp_path, 4)
    file = tmp_path / "data" / "database" / "appendonly.aof"
    data = bytearray(file.read_bytes())
    at = data.rindex(b"*3", 0, data.index(b"Entry 1"))
    data[at : at + 60] = b"\xff" * 60
    file.write_bytes(data)
    said = refused(charlie(tmp_path, "journal", "list"))
    assert "is damaged" in said
    assert file.read_bytes() == data
    done = charlie(tmp_path, "repair")
    assert done.code == 0
    assert "could not be read" in done.err
    (kept,) = file.parent.glob("appendonly.aof.damaged-*")
    assert kept.read_bytes() == data
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert listed(tmp_path) == {ids[0], ids[2], ids[3]}
    assert "nothing to repair" in charlie(tmp_path, "repair").err


def test_damage_within_a_text_hides_no_other(tmp_path: Path) -> None:
    ids = add(tmp_path, 2)
    file = tmp_path / "data" / "database" / "appendonly.aof"
    data = bytearray(file.read_bytes())
    at = data.index(b"Entry 1")
    data[at : at + 3] = b"\xff\x80\xfe"
    file.write_bytes(data)
    assert listed(tmp_path) == set(ids)
    assert "ry 1: a long walk" in charlie(tmp_path, "journal", "list").out


def test_a_truncated_log_is_reported(tmp_path: Path) -> None:
    ids = add(tmp_path, 2)
    file = tmp_path / "data" / "database" / "appendonly.aof"
    with file.open("ab") as opened:
        opened.write(b"*3\r\n$3\r\nSET\r\n$5\r\nhalf ")
    done = charlie(tmp_path, "journal", "list", "--json")
    assert {each["id"] for each in done.json} == set(ids)
    assert "was cut off, as by a power cut" in done.err
    assert "cut off" not in charlie(tmp_path, "journal", "list").err


def test_a_running_database_is_not_repaired(tmp_path: Path) -> None:
    with started(tmp_path, "up") as up:
        assert up.stderr is not None
        up.stderr.readline()
        assert "Charlie is running" in refused(charlie(tmp_path, "repair"))
        os.kill(up.pid, 15)
        up.wait(20)
