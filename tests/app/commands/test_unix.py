"""The manners of a Unix program: encodings, text that begins with a dash, closed streams, broken pipes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.settings_file import load_settings
from tests.app.commands.charlie import CHARLIE, PATIENCE, charlie, environment, refused

ADD = ("journal", "add", "--no-wait")
SIGPIPE_STATUS = 141


def texts(home: Path) -> list[str]:
    """The texts of all entries, the newest first."""
    return [entry["text"] for entry in charlie(home, "journal", "list", "--json").json]


def shell(home: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell bash, in which `charlie` is this Charlie."""
    return subprocess.run(
        ["bash", "-c", f"charlie() {{ '{CHARLIE}' \"$@\"; }}\n{command}"],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_standard_input_is_stored_as_it_was_written(tmp_path: Path) -> None:
    kept = "a\u2028b\u2029c\x0bd\x0ce\x85f\x1b[31m \u202e\ufeff\U0010fffd\n\n"
    for data, text in (
        (kept.encode(), kept),
        (f"\ufeff{kept}".encode(), kept),
        (kept.encode("utf-16-le"), None),
        (f"\ufeff{kept}".encode("utf-16-le"), kept),
        (f"\ufeff{kept}".encode("utf-16-be"), kept),
        (b"one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("\ufeffone\r\ntwo\r\n".encode("utf-16"), "one\ntwo\n"),
    ):
        added = charlie(tmp_path, *ADD, "-", stdin=data)
        if text is None:
            assert refused(added)
        else:
            assert (added.code, texts(tmp_path)[0]) == (0, text)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"a caf\xe9", "The text is not UTF-8: byte 0xe9 at position 6."),
        (b"\xff\xfea\x00b", "The text is not UTF-16: byte 0x62 at position 5."),
        (b"a\0b", "The text has a NUL character, which cannot be stored."),
        (b"\xed\xa0\x80", "The text is not UTF-8: byte 0xed at position 1."),
        (b"\xef\xbb\xbf \n", "The entry is empty."),
    ],
)
def test_other_bytes_are_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    added = charlie(tmp_path, *ADD, stdin=data)
    assert refused(added) == sentence
    assert texts(tmp_path) == []
    if "UTF-8" in sentence:
        assert "LATIN1" in added.err


def test_an_argument_in_another_encoding_is_refused(tmp_path: Path) -> None:
    done = shell(tmp_path, "charlie journal add --no-wait $'caf\\xe9'")
    assert (done.returncode, done.stdout) == (1, "")
    assert "a byte that is not UTF-8" in done.stderr
    assert texts(tmp_path) == []


def test_a_configuration_may_begin_with_a_byte_order_mark(home: Path, tiny: dict[Any, Path]) -> None:
    file = home / "config" / "config.toml"
    file.parent.mkdir()
    file.write_bytes(b"\xef\xbb\xbfkeep_alive = 7\r\n")
    assert load_settings().keep_alive == 7
    assert re.search(r"keep_alive = 7.*config\.toml", charlie(home, "doctor").out)
    assert charlie(home, "models", "use", "instruct", str(next(iter(tiny.values())))).code == 0
    assert load_settings().keep_alive == 7


@pytest.mark.parametrize("text", ["- bought milk", "-5 degrees", "--help me decide", "--no-wait\nfor it", "-f -f"])
def test_an_argument_with_a_space_is_text(tmp_path: Path, text: str) -> None:
    assert charlie(tmp_path, "journal", "add", text, "--no-wait").code == 0
    assert texts(tmp_path) == [text]


def test_a_message_may_begin_with_a_dash(tmp_path: Path) -> None:
    answered = charlie(tmp_path, "ask", "--help me decide", "--json", "--max-tokens", "1")
    assert (answered.code, answered.err) == (0, "")


@pytest.mark.parametrize("arguments", [("journal", "add", "-5"), ("ask", "--decide"), ("journal", "search", "-x=1 2")])
def test_an_unknown_option_names_the_dashes(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = charlie(tmp_path, *arguments)
    assert ended.code == 2
    assert "No such option" in ended.err
    assert "Write `--` before a text that begins with a dash" in ended.err.replace("\n", " ")


def test_text_behind_the_dashes_is_text(tmp_path: Path) -> None:
    assert charlie(tmp_path, "journal", "add", "--no-wait", "--", "-5").code == 0
    assert charlie(tmp_path, "journal", "add", "--no-wait", "--", "- 5").code == 0
    assert texts(tmp_path) == ["- 5", "-5"]


CLOSED = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_streams_are_open_on_the_null_device(tmp_path: Path, closed: str) -> None:
    for command in ("paths", "journal add --no-wait 'A day.'", "journal list", "no-such-command"):
        done = shell(tmp_path, f"charlie {command} {closed}")
        assert "Traceback" not in done.stderr
        assert done.returncode == (2 if command.startswith("no") else 0), done.stderr
        if closed == "<&-" and command == "paths":
            assert str(tmp_path) in done.stdout
    assert texts(tmp_path) == ["A day."]
    assert refused(charlie(tmp_path, *ADD)) == "The entry is empty."
    done = shell(tmp_path, f"charlie journal add --no-wait {closed}")
    assert done.returncode == 1
    assert not list((tmp_path / "logs").glob("app.log")) or "Traceback" not in (tmp_path / "logs/app.log").read_text()


def test_a_worker_runs_without_standard_streams(tmp_path: Path) -> None:
    done = shell(tmp_path, "charlie ask hello --max-tokens 1 <&- >&- 2>&-")
    assert done.returncode == 0
    assert "Traceback" not in (tmp_path / "logs" / "worker.log").read_text()


@pytest.mark.parametrize(
    "command", ["journal list", "journal list --json", "paths", "ps", "models list", "events", "graph"]
)
def test_a_closed_pipe_ends_a_command_quietly(tmp_path: Path, command: str) -> None:
    charlie(tmp_path, *ADD, "A day.")
    done = shell(tmp_path, f"charlie {command} | true; exit ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.returncode in (0, SIGPIPE_STATUS)


def test_a_reader_that_has_enough_ends_a_command(tmp_path: Path) -> None:
    charlie(tmp_path, *ADD, stdin="word " * 100_000)
    done = shell(tmp_path, "charlie journal list --json | head -c 10; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stdout, done.stderr) == (SIGPIPE_STATUS, '[{"id": "0', "")


@pytest.mark.parametrize("option", ["--help", "--version", "journal --help"])
def test_a_closed_pipe_ends_help_quietly(tmp_path: Path, option: str) -> None:
    done = shell(tmp_path, f"(sleep 0.2; charlie {option}) | true; exit ${{PIPESTATUS[0]}}")
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is of Linux")
@pytest.mark.parametrize("command", ["paths", "--version", "journal list --json"])
def test_a_full_device_gets_one_sentence(tmp_path: Path, command: str) -> None:
    done = shell(tmp_path, f"charlie {command} >/dev/full")
    assert done.stderr.count("\n") <= 2
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 1
