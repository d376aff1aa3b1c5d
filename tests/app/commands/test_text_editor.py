"""What a person writes in an editor is saved, or stays in a file that is named."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from app.commands.text_editor import edited
from core.errors import CharlieError
from core.paths import Paths
from tests.app.commands.charlie import on_a_terminal

ADD = ("journal", "add", "--no-wait")


def editor(folder: Path, script: str) -> str:
    """A program that does this to the file "$1"."""
    made = folder / "my editor"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o700)
    return f"'{made}'"


def kept(said: str, folder: Path) -> str:
    """The text of the one file that the output names; the terminal may have wrapped its path."""
    paths = re.findall(r"The text is in (/.*?/text\.md)\.", said.replace("\r\n", "").replace("\n", ""))
    assert len(paths) == 1
    assert paths[0].startswith(str(folder / "data" / "drafts"))
    return Path(paths[0]).read_text()


def files(paths: Paths) -> list[Path]:
    return list(paths.drafts.rglob("*"))


def test_what_can_be_checked_is_checked_before_the_editor_opens(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text("no toml")
    said, code = on_a_terminal(tmp_path, *ADD, EDITOR=editor(tmp_path, f"touch {tmp_path}/opened"))
    assert code == 1
    assert "not valid TOML" in said
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("exit 1", "ended with status 1"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ('echo "no toml" >"$CHARLIE_HOME/config/config.toml"', "not valid TOML"),
        ('printf "caf\\351" >>"$1"', "is not UTF-8"),
    ],
)
def test_a_text_stays_in_a_named_file_when_it_is_not_saved(tmp_path: Path, then: str, why: str) -> None:
    script = f'echo "A long day." >"$1"\n{then}'
    said, code = on_a_terminal(tmp_path, *ADD, EDITOR=editor(tmp_path, script))
    assert code == 1
    assert why in said.replace("\r\n", "").replace("\n", "")
    if "351" not in then:
        assert kept(said, tmp_path) == "A long day.\n"
    else:
        assert "The text is in" in said


def test_the_text_and_the_arguments_of_the_editor(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "false")
    monkeypatch.setenv("VISUAL", editor(paths.data, 'printf "%s\\r\\n" "$1" >"$2"') + " 'two words'")
    with edited() as text:
        assert text == "two words\n"
    assert files(paths) == []


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\n\n", "\u2028 \x0b\x0c\x85\x1b", "e\u0301 \U0001f600"])
def test_a_text_that_is_left_as_it_is_stays_the_same(paths: Paths, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Also by an editor that ends the last line."""
    monkeypatch.setenv("VISUAL", editor(paths.data, """sed -i -e '$a\\' "$1" """))
    if not text:
        with pytest.raises(CharlieError, match="The editor saved no text"), edited(text):
            pass
    else:
        with edited(text) as after:
            assert after == text
    assert files(paths) == []


@pytest.mark.parametrize("command", ["exit 1", "exit 0", "rm $1", "echo >$1"])
def test_an_editor_that_saves_nothing(paths: Paths, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("VISUAL", editor(paths.data, command))
    with pytest.raises(CharlieError, match=r"ended with status 1\.|saved no text"), edited():
        pass
    assert files(paths) == []


@pytest.mark.parametrize(
    ("command", "reason"), [("/no/such/program", "No such file or directory"), ("'", "No closing quotation")]
)
def test_an_editor_that_cannot_be_started(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, command: str, reason: str
) -> None:
    monkeypatch.setenv("VISUAL", command)
    with pytest.raises(CharlieError, match=rf"cannot be started: {reason}\."), edited("text"):
        pass
    assert files(paths) == []


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), CharlieError("Gone.", "Wait.")])
def test_any_failure_to_save_names_the_file(paths: Paths, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setenv("VISUAL", editor(paths.data, 'echo new >"$1"'))
    with pytest.raises(CharlieError) as failed, edited("old"):
        raise failure
    assert kept(str(failed.value), paths.data.parent) == "new\n"


def test_a_full_disk_leaves_no_file(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"), edited("x" * 2_000):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(paths) == []
