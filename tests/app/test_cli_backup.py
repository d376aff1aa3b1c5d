"""`charlie export` and `charlie import` as processes: from one home to another, with and without a Charlie running."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from app.client import Client
from core.paths import find_paths
from core.settings import load_settings
from tests.app.charlie import charlie, read_until, refused, started
from tests.conftest import settle


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two homes."""
    one, two = (settle(tmp_path / name, monkeypatch) for name in ("one", "two"))
    return one, two


def entries(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = charlie(home, "journal", "list", "--json").json
    return found


def without_reading(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in each.items() if key not in ("state", "ingested")} for each in listed]


def test_from_one_machine_to_another(homes: tuple[Path, Path], tmp_path: Path) -> None:
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
    assert without_reading(entries(two)) == without_reading(before)
    waiting = charlie(two, "ps", "--json").json["queue"]
    assert [each["kind"] for each in waiting] == ["ingest_entry"]
    # What is read in again can be found, and the conversation goes on.
    hits = charlie(two, "journal", "search", "river", "--json").json["hits"]
    assert {hit["entry"] for hit in hits} == {each["id"] for each in before}
    assert {each["state"] for each in entries(two)} == {"findable"}
    again = charlie(two, "ask", "and?", "--json", "--max-tokens", "4", "--conversation", asked["conversation"]).json
    assert again["prompt_tokens"] > asked["prompt_tokens"]

    twice = charlie(two, "import", str(folder))
    assert "Entries: 2 the same." in twice.err
    assert "Conversations: 1 kept as they are here." in twice.err
    assert len(entries(two)) == 2


def test_while_charlie_runs(homes: tuple[Path, Path], tmp_path: Path) -> None:
    """An entry that was deleted comes back findable, although the worker still holds vectors of it."""
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
        client.library.delete_entry(added)
        client.close()
        assert "Entries: 1 new, 1 the same." in charlie(home, "import", str(folder)).err
        hits = charlie(home, "journal", "search", "river", "--json").json["hits"]
        assert added in {hit["entry"] for hit in hits}
        up.send_signal(signal.SIGINT)
        assert up.wait(20) == 0


def test_refusals(homes: tuple[Path, Path], tmp_path: Path) -> None:
    home, _ = homes
    folder = tmp_path / "mine"
    assert "is not an export" in refused(charlie(home, "import", str(folder)))
    folder.mkdir()
    (folder / "notes").write_text("mine")
    assert "is not empty and not an earlier export" in refused(charlie(home, "export", str(folder)))
    assert [path.name for path in folder.iterdir()] == ["notes"]
    (folder / "library.json").write_text("{}")
    assert "cannot be read in" in refused(charlie(home, "import", str(folder)))
