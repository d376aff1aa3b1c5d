"""Bad input to the command line prints one sentence and a hint; exit status 1, or 2 for usage."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from core.model_files import checksums
from core.roles import Role
from tests.app.commands.charlie import CHARLIE, PATIENCE, charlie, environment, refused


def write(folder: Path, content: bytes) -> Path:
    file = folder / "model.gguf"
    file.write_bytes(content)
    return file


def configure(home: Path, text: str) -> Path:
    file = home / "config" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.gguf"
    assert refused(charlie(tmp_path, "models", "inspect", str(missing))) == f"There is no model file {missing}."


def test_an_empty_model_file(tmp_path: Path) -> None:
    file = write(tmp_path, b"")
    assert "it is empty" in refused(charlie(tmp_path, "models", "inspect", str(file)))


def test_a_truncated_model_file(tmp_path: Path, tiny: dict[Role, Path]) -> None:
    file = write(tmp_path, tiny[Role.INSTRUCT].read_bytes()[:100_000])
    assert "it is cut off" in refused(charlie(tmp_path, "models", "use", "instruct", str(file)))
    assert not (tmp_path / "config" / "config.toml").exists()


def test_a_foreign_file_as_a_model(tmp_path: Path) -> None:
    file = write(tmp_path, b"%PDF-1.7\n" * 1000)
    assert "it is not a GGUF file" in refused(charlie(tmp_path, "models", "inspect", str(file)))


def test_a_folder_as_a_model(tmp_path: Path) -> None:
    assert "is a folder" in refused(charlie(tmp_path, "models", "inspect", str(tmp_path)))


def test_a_model_of_the_wrong_kind_for_its_role(tmp_path: Path, tiny: dict[Role, Path]) -> None:
    said = refused(charlie(tmp_path, "models", "use", "reranker", str(tiny[Role.INSTRUCT])))
    assert said.endswith("the role reranker needs a reranker.")


def test_a_file_name_cannot_send_commands_to_the_terminal(tmp_path: Path) -> None:
    said = charlie(tmp_path, "models", "inspect", "\x1b]0;gotcha\x07.gguf")
    assert said.code == 1
    assert "\x1b" not in said.err


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_an_empty_prompt(tmp_path: Path, text: str) -> None:
    assert refused(charlie(tmp_path, "ask", text)) == "The message is empty."
    assert refused(charlie(tmp_path, "ask", stdin=text)) == "The message is empty."
    assert refused(charlie(tmp_path, "journal", "add", "-", stdin=text)) == "The entry is empty."
    assert not (tmp_path / "data").exists()


def test_broken_toml(tmp_path: Path) -> None:
    file = configure(tmp_path, "[instruct\n")
    assert refused(charlie(tmp_path, "journal", "list")).startswith(f"The file {file} is not valid TOML")


def test_an_unknown_key_is_named_with_its_value_and_place(tmp_path: Path) -> None:
    file = configure(tmp_path, "[instruct]\ncontxt = 3\n")
    said = refused(charlie(tmp_path, "ps"))
    assert said == f"The setting instruct.contxt = 3 in {file} is unknown."


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("CHARLIE_KEEP_ALIVE", "soon", "keep_alive = 'soon' in the environment variable CHARLIE_KEEP_ALIVE"),
        ("CHARLIE_INSTRUCT__THREADS", "0", "instruct.threads = '0' in the environment variable"),
        ("CHARLIE_INSTRUCT", '{"threads": 0}', "instruct.threads = 0 in the environment variable CHARLIE_INSTRUCT"),
        ("CHARLIE_INSTRUCT", "{bad", 'error parsing value for field "instruct"'),
        ("CHARLIE_COLOUR", "red", "CHARLIE_COLOUR = 'red' is not a setting"),
        ("CHARLIE_DATABASE__URL", "redis://127.0.0.1:1", "No database answers at redis://127.0.0.1:1"),
        ("CHARLIE_DATABASE__URL", "nonsense", "database.url = 'nonsense' in the environment variable"),
    ],
)
def test_a_bad_environment(tmp_path: Path, name: str, value: str, part: str) -> None:
    assert part in refused(charlie(tmp_path, "journal", "list", **{name: value}))


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for home in (file / "home", Path("/proc/charlie"), tmp_path / ("x" * 300)):
        assert str(home) in refused(charlie(home, "journal", "add", "A thought."))


def test_a_home_of_nobody(tmp_path: Path) -> None:
    assert "~nobody-of-that-name" in refused(charlie(tmp_path, "paths", CHARLIE_HOME="~nobody-of-that-name/x"))


def test_a_home_too_deep_for_a_socket_is_no_error(tmp_path: Path) -> None:
    report = charlie(tmp_path / ("deep" * 40), "ps", "--json").json
    assert len(report["database"]["socket"]) < 100


def test_a_full_disk_below_the_output(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [CHARLIE, "paths"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"charlie: The output cannot be written: No space left on device.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["warm", "poet"],
        ["ask", "x", "--temperature", "nan"],
        ["ask", "x", "--max-tokens", "0"],
        ["models", "pull", "instruct", "--file", "x.gguf"],
    ],
)
def test_usage(tmp_path: Path, arguments: list[str]) -> None:
    ended = charlie(tmp_path, *arguments)
    assert ended.code == 2
    assert "Error: " in ended.err


def test_the_interface_needs_a_terminal(tmp_path: Path) -> None:
    assert refused(charlie(tmp_path)) == "The interface needs a terminal."


def test_doctor_reports_problems_and_fails(tmp_path: Path) -> None:
    configure(tmp_path, f'[embedding]\nfile = "{write(tmp_path, b"")}"\n')
    ended = charlie(tmp_path, "doctor")
    assert ended.code == 1
    assert "it is empty" in next(line for line in ended.out.splitlines() if line.startswith("  fail"))
    assert f"embedding.file = {tmp_path}/model.gguf  ({tmp_path}/config/config.toml)" in ended.out


def test_doctor_is_content_with_an_empty_home(tmp_path: Path) -> None:
    ended = charlie(tmp_path, "doctor")
    assert ended.code == 0
    assert "tiny-instruct is small and weak" in ended.out
    assert not list((tmp_path / "run").iterdir())


def test_doctor_reports_a_changed_download(tmp_path: Path, tiny: dict[Role, Path]) -> None:
    models = tmp_path / "models"
    models.mkdir()
    path = models / "pulled.gguf"
    data = tiny[Role.INSTRUCT].read_bytes()
    path.write_bytes(data)
    kept = checksums.save(path, "owner/name", "pulled.gguf", checksums.sha256_of(path))
    assert "pulled.gguf has not changed since it was downloaded" in charlie(tmp_path, "doctor").out
    assert "has changed" not in charlie(tmp_path, "models", "use", "instruct", "pulled.gguf").err
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    changed = f"The file {path} has changed since it was downloaded"
    assert changed in charlie(tmp_path, "models", "use", "instruct", "pulled.gguf").err
    ended = charlie(tmp_path, "doctor")
    assert ended.code == 1
    assert f"{changed}." in ended.out
    assert "--repo owner/name --file pulled.gguf" in ended.out
    # With its old time the changed file is only detected by its checksum.
    os.utime(path, ns=(kept.modified, kept.modified))
    assert charlie(tmp_path, "doctor").code == 0
    assert charlie(tmp_path, "doctor", "--thorough").code == 1


def test_doctor_says_whether_the_reranker_changes_anything(tmp_path: Path, tiny: dict[Role, Path]) -> None:
    for text in ("A long walk by the river.", "Bread, and rain all day.", "Rain again, and no walk."):
        assert charlie(tmp_path, "journal", "add", text).code == 0
    said = "of 3 searches for your own entries"
    assert "reranker: none is configured" in charlie(tmp_path, "doctor").out
    configure(tmp_path, f'[reranker]\nfile = "{tiny[Role.RERANKER]}"\n')
    ended = charlie(tmp_path, "doctor")
    assert ended.code == 0
    assert re.search(rf"The reranker changes the order of [1-3] {said}", ended.out)
