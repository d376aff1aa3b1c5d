"""`charlie export` and `charlie import` as processes: between two homes, with and without a running Charlie."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from app.client import Client
from app.library_changes import delete_entry, write_entry
from app.purge import purge
from app.runtime.owner import Runtime
from core.paths import find_paths
from core.settings_file import load_settings
from tests.app.commands.charlie import charlie, read_until, refused, started
from tests.conftest import settle


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two homes."""
    one, two = (settle(tmp_path / name, monkeypatch) for name in ("one", "two"))
    return one, two


def entries(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = charlie(home, "journal", "list", "--json").json
    return found


def without_index_state(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in each.items() if key not in ("state", "ingested")} for each in listed]


def test_an_export_is_imported_on_another_machine(homes: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = homes
    folder = tmp_path / "backup"
    for text in ("A long walk by the river.", "Bread, and rain all day."):
        assert charlie(one, "journal", "add", text).code == 0
    asked = charlie(one, "ask", "hello", "--json", "--max-tokens", "4").json
    done = charlie(one, "export", str(folder))
    assert (done.code, done.out) == (0, f"{folder}\n")
    assert "1 conversations with 2 messages, and 2 entries." in done.err
    before = entries(one)

    assert "Entries: 2 new." in charlie(two, "import", str(folder)).err
    assert without_index_state(entries(two)) == without_index_state(before)
    waiting = charlie(two, "ps", "--json").json["queue"]
    assert [each["kind"] for each in waiting] == ["ingest_entry"]
    # The imported entries are indexed, and the conversation continues.
    hits = charlie(two, "journal", "search", "river", "--json").json["hits"]
    assert {hit["entry"] for hit in hits} == {each["id"] for each in before}
    assert {each["state"] for each in entries(two)} == {"findable"}
    again = charlie(two, "ask", "and?", "--json", "--max-tokens", "4", "--conversation", asked["conversation"]).json
    assert again["prompt_tokens"] > asked["prompt_tokens"]

    twice = charlie(two, "import", str(folder))
    assert "Entries: 2 unchanged." in twice.err
    assert "Conversations: 1 newer here." in twice.err
    assert len(entries(two)) == 2


def test_an_import_while_charlie_runs(homes: tuple[Path, Path], tmp_path: Path) -> None:
    """A deleted and restored entry is found again, although the worker still has its old vectors."""
    _, home = homes
    folder = tmp_path / "backup"
    with started(home, "up") as up:
        read_until(up.stderr, "worker")
        added = charlie(home, "journal", "add", "A long walk by the river.").out.strip()
        assert charlie(home, "export", str(folder)).code == 0
        charlie(home, "journal", "add", "Another.")
        assert charlie(home, "export", str(folder)).code == 0
        assert len(json.loads((folder / "library.json").read_text())["entries"]) == 2
        client = Client(load_settings(), find_paths())
        client.journal.delete_entry(added)
        client.close()
        assert "Entries: 1 new, 1 unchanged." in charlie(home, "import", str(folder)).err
        hits = charlie(home, "journal", "search", "river", "--json").json["hits"]
        assert added in {hit["entry"] for hit in hits}
        up.send_signal(signal.SIGINT)
        assert up.wait(20) == 0


def test_a_folder_that_is_not_an_export_is_refused(homes: tuple[Path, Path], tmp_path: Path) -> None:
    home, _ = homes
    folder = tmp_path / "mine"
    assert "is not an export" in refused(charlie(home, "import", str(folder)))
    folder.mkdir()
    (folder / "notes").write_text("mine")
    assert "is not empty and not an earlier export" in refused(charlie(home, "export", str(folder)))
    assert [path.name for path in folder.iterdir()] == ["notes"]
    (folder / "library.json").write_text("{}")
    assert "cannot be imported" in refused(charlie(home, "import", str(folder)))


def test_backups_are_made_listed_restored_and_written_again(home: Path) -> None:
    assert "nothing to back up" in refused(charlie(home, "backup", "now"))
    assert "no backup" in refused(charlie(home, "backup", "restore"))
    kept = charlie(home, "journal", "add", "--no-wait", "This one stays.").out.strip()
    gone = charlie(home, "journal", "add", "--no-wait", "This one goes.").out.strip()
    name = charlie(home, "backup", "now").out.strip()
    assert charlie(home, "backup", "list", "--json").json == [{"name": name, "records": 2, "removed": 0}]

    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False):
        write_entry(client, kept, "Spoiled.")
        delete_entry(client, gone)
    asked = charlie(home, "backup", "restore", stdin="y\n")  # no terminal
    assert (asked.code, "Give `--yes`." in asked.err) == (1, True)
    assert "1 would be added, 1 replaced" in asked.err
    for line in (f"updated  {kept}  This one stays", f"new      {gone}  This one goes"):
        assert line in asked.err
    assert [each["title"] for each in entries(home)] == ["Spoiled"]
    done = charlie(home, "backup", "restore", name, "--yes")
    assert "Entries: 1 new, 1 updated." in done.err
    assert {each["title"] for each in entries(home)} == {"This one stays", "This one goes"}

    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False):
        delete_entry(client, gone)
        assert purge(client, [gone]).backups == (name,)
        told = charlie(home, "doctor").out
        assert "0 deleted texts in the trash" in told
        assert "still holds removed texts" in told
        assert f"still in the backups {name}." in told
        listed = charlie(home, "backup", "list")
        assert listed.out == f"{name}  2 records; 1 of them left the trash\n"
        assert "backup renew" in listed.err
    assert name in charlie(home, "backup", "renew").err
    assert "No backup" in charlie(home, "backup", "renew").err
    assert "This one goes" not in (find_paths().backups / name / "library.json").read_text()
    assert "known only while Charlie runs" in charlie(home, "doctor").out
