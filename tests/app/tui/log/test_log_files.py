from __future__ import annotations

from pathlib import Path

from app.tui.log.log_files import READ_AT_ONCE, Level, Tail, Tails, parse

REDIS = "4321:M 22 Nov 2025 19:20:01.500 * Ready to accept connections"
PYTHON = "2025-11-22 19:20:01,250 WARNING tasks.worker: slow"


def test_redis_lines_have_level_time_and_message(home: Path) -> None:
    line = parse("database", REDIS, None)
    assert (line.level, line.at, line.message) == (Level.INFO, 1763839201.5, "Ready to accept connections")
    assert parse("database", REDIS.replace(" * ", " . "), None).level is Level.DEBUG
    assert parse("database", REDIS.replace(" * Ready", " # Fatal error: not"), None).level is Level.WARNING
    assert parse("database", REDIS.replace(" * Ready", " # Ready"), None).level is Level.INFO


def test_python_lines_have_level_time_and_message(home: Path) -> None:
    line = parse("worker", PYTHON, None)
    assert (line.level, line.at, line.message) == (Level.WARNING, 1763839201.25, "WARNING tasks.worker: slow")


def test_a_traceback_has_level_and_time_of_the_line_before() -> None:
    before = parse("worker", PYTHON.replace("WARNING", "ERROR"), None)
    line = parse("worker", '  File "x.py", line 1', before)
    assert (line.level, line.at) == (Level.ERROR, before.at)


def test_control_sequences_are_removed() -> None:
    line = parse("app", PYTHON + "\x1b]0;owned\x07\x9b31m", None)
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in line.text + line.message)


def test_only_new_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    tail = Tail("app", path)
    assert tail.read() == []
    path.write_text("INFO one\nINFO tw")
    assert [line.text for line in tail.read()] == ["INFO one"]
    with path.open("a") as file:
        file.write("o\nINFO three\n")
    assert [line.text for line in tail.read()] == ["INFO two", "INFO three"]
    assert tail.read() == []


def test_only_the_end_of_a_huge_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("".join(f"INFO line {n}\n" for n in range(60_000)))
    tail = Tail("app", path)
    lines = tail.read()
    assert sum(len(line.text) + 1 for line in lines) <= READ_AT_ONCE < path.stat().st_size
    assert lines[-1].text == "INFO line 59999"
    assert all(line.text.startswith("INFO line ") for line in lines)


def test_an_endless_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"x" * 3 * READ_AT_ONCE)
    tail = Tail("app", path)
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b"y\nINFO next\n")
    assert tail.read()[-1].text == "INFO next"
    assert len(tail.rest) <= READ_AT_ONCE


def test_a_rotated_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("INFO a long first line\n")
    tail = Tail("app", path)
    tail.read()
    path.write_text("INFO new\n")
    assert [line.text for line in tail.read()] == ["INFO new"]


def test_three_files_become_one_stream_by_time(home: Path) -> None:
    (home / "worker.log").write_text(PYTHON + "\n" + PYTHON.replace(":01,", ":03,") + "\n")
    (home / "database.log").write_text(REDIS + "\n")
    assert [line.source for line in Tails(home).read()] == ["worker", "database", "worker"]
