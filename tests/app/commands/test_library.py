"""Commands that list, change, delete and bring back texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Client
from core.library.records import MessageState, RevisionKind, StoredMessage
from core.paths import find_paths
from core.settings_file import load_settings
from tests.app.commands.charlie import CHARLIE, charlie, on_a_terminal, read_until, refused, started
from tests.app.commands.test_text_editor import editor

HOSTILE = "\x1b[2J[red]Anna[/red] \u202eback"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running `charlie up`, so that the commands only attach."""
    folder = tmp_path_factory.mktemp("home")
    with started(folder, "up") as up:
        read_until(up.stderr, "is up")
        read_until(up.stderr, "worker")
        yield folder
        up.terminate()
        assert up.wait(20) == 0


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("CHARLIE_HOME", str(home))
    client = Client(load_settings(), find_paths())
    for item in client.trash.items():
        client.trash.purge([item.id])
    for entry in client.journal.entries():
        client.journal.delete_entry(entry.id)
        client.trash.purge([entry.id])
    yield client
    client.close()


def add(client: Client, *texts: str) -> list[str]:
    return [client.journal.new_entry(text).id for text in texts]


def test_lists_have_headings(home: Path, client: Client) -> None:
    entry, other = add(client, "A walk along the river", "Bread")
    heading, *rows = charlie(home, "journal", "list").out.splitlines()
    assert heading.split() == ["ID", "WRITTEN", "STATE", "TITLE"]
    assert [row.split()[0] for row in rows] == [other, entry]
    heading, first, chunk, *_ = charlie(home, "journal", "search", "river").out.splitlines()
    assert heading.split() == ["RELEVANCE", "SIMILARITY", "ID", "TITLE"]
    assert first[heading.index("ID") :].split()[0] == entry
    assert first[heading.index("TITLE") :] == "A walk along the river"
    assert chunk == "    A walk along the river"


@pytest.mark.parametrize("text", ["- one line", "\u2028\x0b\x0c\x85 <b> [red]\te\u0301\n\n"])
def test_show_writes_the_stored_text_into_a_pipe(home: Path, client: Client, text: str) -> None:
    (entry,) = add(client, text)
    assert charlie(home, "journal", "show", entry).out == text
    assert charlie(home, "journal", "show", entry, "--json").json["text"] == text
    same = charlie(home, "journal", "edit", entry, "-", stdin=text)
    assert (same.code, same.err) == (0, "The text is unchanged.\n")


def test_a_terminal_gets_no_escape_sequences(home: Path, client: Client) -> None:
    (entry,) = add(client, HOSTILE)
    conversation = client.conversations.new_conversation(HOSTILE).id
    client.conversations.rename_conversation(conversation, f"{HOSTILE}!")
    asking = f"journal delete {entry}"
    for command in (f"journal show {entry}", asking, "trash list", f"conversations history {conversation}"):
        said, code = on_a_terminal(home, *command.split(), answer="y" if command == asking else "")
        assert code == 0
        assert "[red]Anna[/red]" in said
        assert not set(said) & {"\x1b", "\u202e"}


def test_ids_can_be_cut_short_where_that_is_clear(home: Path, client: Client) -> None:
    ids = [client.journal.new_entry(f"Day {n}", f"0123456789abcd{n:04x}{n:04x}").id for n in range(12)]
    for part in (ids[3][-4:], ids[3][:18]):
        assert charlie(home, "journal", "show", part).out == "Day 3"
    many = charlie(home, "journal", "show", "0123")
    assert (many.code, many.out) == (1, "")
    *listed, sentence, hint = many.err.splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [[ids[n], f"Day {n}"] for n in range(11, 1, -1)]
    assert sentence == "charlie: 12 ids begin or end with '0123' (above are the first 10)."
    assert hint == "Give the last digits of the one meant."
    for part, why in (("003", "'003' is too short"), ("4567", "There is no jour"), (HOSTILE, "There is no jour")):
        assert refused(charlie(home, "journal", "delete", ids[0], part)).startswith(why)
    assert client.trash.items() == []


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("ask", "hello", "--conversation", "nosuch"), "`charlie conversations list` shows them."),
        (("conversations", "show", "nosuch"), "`charlie conversations list` shows them."),
        (("journal", "edit", "nosuch", "text"), "`charlie journal list` shows them."),
        (("trash", "empty", "nosuch"), "`charlie trash list` shows what it holds."),
    ],
)
def test_an_unknown_id_points_to_the_command_that_lists_them(home: Path, command: tuple[str, ...], hint: str) -> None:
    ended = charlie(home, *command)
    assert "'nosuch'" in refused(ended)
    assert ended.err.splitlines()[-1] == hint


def test_what_is_empty_says_so(home: Path, client: Client) -> None:
    for conversation in client.conversations.conversations():
        client.conversations.delete_conversation(conversation.id)
        client.trash.purge([conversation.id])
    for group in ("journal", "conversations", "trash"):
        ended = charlie(home, group, "list")
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (0, "", 1)
    assert charlie(home, "journal", "list", "--json").json == []
    assert charlie(home, "trash", "empty").err == "The trash is empty.\n"
    (entry,) = add(client, "text")
    assert charlie(home, "journal", "history", entry).err.startswith("There are no earlier texts")


def test_an_edited_entry_is_indexed_and_its_earlier_texts_come_back(home: Path, client: Client) -> None:
    (entry,) = add(client, "river\n")
    charlie(home, "journal", "edit", entry[-6:], "-", stdin="lake\n")
    assert charlie(home, "journal", "edit", entry, "sea").code == 0
    assert charlie(home, "journal", "show", entry, "--json").json["state"] == "findable"
    history = charlie(home, "journal", "history", entry, "--json").json
    assert [(each["kind"], each["text"]) for each in history] == [("text", "lake\n"), ("text", "river\n")]
    heading, *rows = charlie(home, "journal", "history", entry).out.splitlines()
    assert heading.split() == ["REVISION", "WRITTEN", "SIZE", "TEXT"]
    assert [row.split()[0] for row in rows] == [each["id"] for each in history]
    old = history[1]["id"]
    assert charlie(home, "journal", "history", entry, old[-4:]).out == "river\n"
    difference = charlie(home, "journal", "history", entry, old, "--diff").out.splitlines()
    assert [line for line in difference[2:] if line[1:]] == ["@@ -1,2 +1 @@", "-river", "+sea"]
    assert charlie(home, "journal", "history", entry, old, "--restore").code == 0
    assert charlie(home, "journal", "show", entry).out == "river\n"
    assert charlie(home, "journal", "history", entry, "--json").json[0]["text"] == "sea"
    assert charlie(home, "journal", "history", entry, "--restore").code == 2
    assert refused(charlie(home, "journal", "history", entry, "nosuch")) == "There is no revision 'nosuch'."


def test_an_editor_and_another_command_that_change_one_entry(home: Path, client: Client, tmp_path: Path) -> None:
    (entry,) = add(client, "river")
    script = f'"{CHARLIE}" journal edit {entry} --no-wait "by another command" </dev/null\necho "by the editor" >"$1"'
    edit = ("journal", "edit", entry, "--no-wait")
    said, code = on_a_terminal(home, *edit, EDITOR=editor(tmp_path, script))
    assert code == 0
    assert f"`charlie journal history {entry}` has the other text." in said.replace("\r\n", " ")
    assert charlie(home, "journal", "show", entry).out == "by the editor"
    texts = [each["text"] for each in charlie(home, "journal", "history", entry, "--json").json]
    assert texts == ["by another command", "river"]
    script = f'"{CHARLIE}" journal edit {entry} --no-wait "later" </dev/null'
    assert "The text is unchanged." in on_a_terminal(home, *edit, EDITOR=editor(tmp_path, script))[0]
    assert charlie(home, "journal", "show", entry).out == "later"
    script = f'"{CHARLIE}" journal delete {entry} --yes </dev/null\necho "too late" >"$1"'
    said, code = on_a_terminal(home, *edit, EDITOR=editor(tmp_path, script))
    assert code == 1
    assert "The text is in" in said


def test_deleting_asks_on_a_terminal_and_can_be_undone(home: Path, client: Client) -> None:
    entry, other = add(client, "A walk", "Bread")
    said, code = on_a_terminal(home, "journal", "delete", entry, answer="n")
    assert (code, "Delete “A walk”?" in said, "Aborted" in said) == (1, True, True)
    assert client.trash.items() == []
    said, code = on_a_terminal(home, "journal", "delete", entry, other, answer="y")
    assert (code, "Delete these 2?" in said) == (0, True)
    assert "charlie trash restore" in said
    assert client.journal.entries() == []
    listed = charlie(home, "trash", "list", "--json").json
    assert [(each["id"], each["kind"], each["title"]) for each in listed] == [
        (other, "entry", "Bread"), (entry, "entry", "A walk"),
    ]  # fmt: skip
    assert charlie(home, "trash", "list").out.splitlines()[0].split() == ["ID", "DELETED", "KIND", "TITLE"]
    back = charlie(home, "trash", "restore", entry[-5:], other, other[-5:])
    assert back.err == "“A walk” is back.\n“Bread” is back.\n"
    assert {each.id for each in client.journal.entries()} == {entry, other}
    assert charlie(home, "journal", "delete", entry).code == 0  # in a pipe nobody is asked
    assert on_a_terminal(home, "journal", "delete", other, "--yes")[1] == 0
    assert client.journal.entries() == []


def test_emptying_the_trash_always_asks_and_names_the_backups(home: Path, client: Client) -> None:
    entry, other = add(client, "A walk", "Bread")
    backup = home / "data" / "backups" / "2025-01-02"
    assert charlie(home, "export", str(backup)).code == 0
    charlie(home, "journal", "delete", entry, other)
    assert refused(charlie(home, "trash", "empty")) == "There is no terminal to ask on."
    assert "Aborted" in on_a_terminal(home, "trash", "empty", entry, answer="no")[0]
    assert len(client.trash.items()) == 2
    one = charlie(home, "trash", "empty", entry[-5:], "--yes")
    assert one.err.startswith("Removed for good: 1 record.\n")
    assert "2025-01-02" in one.err
    assert [item.id for item in client.trash.items()] == [other]
    said, code = on_a_terminal(home, "trash", "empty", answer="y")
    assert (code, "Remove “Bread” for good?" in said) == (0, True)
    assert client.trash.items() == []


def test_conversations_are_shown_exported_renamed_and_deleted(home: Path, client: Client, tmp_path: Path) -> None:
    stored = client.conversations
    id_ = stored.new_conversation("River").id
    stored.put_message(id_, StoredMessage("1", "user", "Where?\nThere?"))
    stored.put_message(id_, StoredMessage("2", "assistant", "At the <river>.", state=MessageState.CANCELLED))
    part = id_[-5:]
    heading, first, *_ = charlie(home, "conversations", "list").out.splitlines()
    assert heading.split() == ["ID", "LAST", "USED", "TITLE"]
    assert (first.split()[0], first.split()[-1]) == (id_, "River")
    assert charlie(home, "conversations", "list", "--json").json[0]["id"] == id_
    shown = charlie(home, "conversations", "show", part)
    assert shown.out.startswith("# River\n\n## You · ")
    assert shown.out.endswith("\n\nAt the <river>.\n")
    found = charlie(home, "conversations", "show", part, "--json").json
    assert (found["title"], [each["text"] for each in found["messages"]]) == (
        "River", ["Where?\nThere?", "At the <river>."],
    )  # fmt: skip
    for folder in ((), (str(tmp_path / "new"),)):
        written = charlie(home, "conversations", "export", part, *folder).out.removesuffix("\n")
        assert Path(written).read_text() == shown.out
    assert charlie(home, "conversations", "rename", part, "A\nlake ").code == 0
    assert stored.conversation(id_).title == "A lake"
    assert refused(charlie(home, "conversations", "rename", part, " ")) == "The title is empty."
    assert charlie(home, "conversations", "delete", part).code == 0
    assert refused(charlie(home, "conversations", "show", id_)) == f"There is no conversation {id_!r}."
    assert charlie(home, "trash", "restore", part).err == "“A lake” is back.\n"
    assert [each.text for each in stored.messages(id_)] == ["Where?\nThere?", "At the <river>."]


def test_earlier_titles_and_replies_of_a_conversation_come_back(home: Path, client: Client) -> None:
    stored = client.conversations
    id_ = stored.new_conversation("River").id
    for number, role in ((1, "user"), (2, "assistant"), (3, "assistant"), (4, "user")):
        text = f"turn {number}"
        stored.put_message(id_, StoredMessage(str(number), "user" if role == "user" else "assistant", text))
        if number == 2:
            stored.delete_messages(id_, ["2"])  # as another reply does
    stored.rename_conversation(id_, "Lake")
    history = ("conversations", "history", id_)
    title, reply = charlie(home, *history, "--json").json
    assert (title["kind"], title["text"], reply["kind"], reply["text"]) == ("title", "River", "reply", "turn 2")
    assert [line.split()[-2:] for line in charlie(home, *history).out.splitlines()[1:]] == [
        ["title:", "River"], ["turn", "2"],
    ]  # fmt: skip
    assert charlie(home, *history, reply["id"], "--diff").out.splitlines()[3:] == ["-turn 2", "+turn 3"]
    for revision in (title, reply):
        assert charlie(home, *history, revision["id"], "--restore").code == 0
    assert stored.conversation(id_).title == "River"
    assert [(each.id, each.text) for each in stored.messages(id_)] == [
        ("1", "turn 1"),
        ("3", "turn 2"),
        ("4", "turn 4"),
    ]
    latest = client.history.revisions(id_)[:2]
    assert [(each.kind, each.text) for each in latest] == [(RevisionKind.REPLY, "turn 3"), (RevisionKind.TITLE, "Lake")]
