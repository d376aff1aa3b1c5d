"""Ten thousand texts by chance go through every way in and out: each is stored as typed, and shown whole."""

from __future__ import annotations

import random
import re
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import TextArea

from app.client import Client
from app.commands.text_editor import edited
from app.tui.chat.prompt import Prompt
from app.tui.journal.entry_editor import Editor
from app.tui.textual_fixes import LargeTextArea, drawn
from core.errors import CharlieError
from core.library.backup_export import export_library
from core.library.backup_import import import_library
from core.library.records import StoredMessage
from core.library.text_input import decode
from core.paths import Paths
from tests.app.commands.charlie import charlie, read_until, started

COUNT = 10_000
SEED = 19
SAMPLE = 20
"""Texts that are typed whole, and that go through real commands."""
TYPED = 5
"""Letters that are typed of the other texts: each takes about a millisecond."""
LINE_ENDS = ("\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029", "\n\n")
PLANES = ((0x20, 0x7E), (0xA0, 0x2FF), (0x300, 0xD7FF), (0xE000, 0xFFFF), (0x1_0000, 0x1_FFFF), (0x2_0000, 0x10_FFFF))
CONTROLS = [chr(code) for code in (*range(1, 9), *range(0x0E, 0x20), *range(0x7F, 0xA0))]
PHRASES = (
    *("# Title", "- item", "1. one", "**bold**", "`code`", "```py\nx\n```", "[a](b)", "| a | b |", "> quote", "---"),
    *("<div>", "</b>", "List<String>", "x<y and y>z", "&amp;", "<!-- -->", "[red]", "[/]", "\\[", "{x}", "$HOME", "%s"),
    *("שלום", "مرحبا", "\u202eabc\u202c", "\u2067x\u2069", "\u200f", "\ufeff", "\x1b[31m", "\x1b]0;t\x07", "\x9b1m"),
    *("e\u0301", "👩\u200d💻", "🇩🇪", "क्षि", "한글", "漢字", "ｗｉｄｅ", "\u200b", "\xad", "\xa0", "\t", " ", "  "),
    *("- bought milk", "--help", "-5", "word " * 30, "x" * 200),
)


def any_text(chance: random.Random) -> str:
    def part() -> str:
        match chance.randrange(8):
            case 0:
                return chance.choice(LINE_ENDS)
            case 1:
                return chance.choice(CONTROLS)
            case 2 | 3:
                return chance.choice(PHRASES)
            case _:
                return "".join(chr(chance.randint(*chance.choice(PLANES))) for _ in range(chance.randint(1, 4)))

    text = "".join(part() for _ in range(chance.randint(1, 16)))
    return chance.choice(["", "", "", "\ufeff"]) + text


def promised(text: str) -> str:
    """The text as it is to be stored."""
    return re.sub("\r\n?", "\n", text).lstrip("\ufeff")


def visible(text: str) -> str:
    """Without spaces and line ends; a control character counts as its picture."""
    return re.sub(r"\s", "", "".join(map(drawn, re.split("[\n\v\f\x85\u2028\u2029]", text))))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    chance = random.Random(SEED)
    made = [any_text(chance) for _ in range(COUNT)]
    planes = {ord(letter) >> 16 for text in made for letter in text}
    assert planes == set(range(17))
    return made


@contextmanager
def timed(what: str, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    started_at = time.perf_counter()
    yield
    with capsys.disabled():
        print(f"\n{COUNT:,} texts {what} (seed {SEED}): {time.perf_counter() - started_at:.0f} s")


@pytest.mark.slow
def test_texts_from_standard_input_are_stored_exported_and_imported(
    client: Client, tmp_path: Path, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with timed("read, stored, exported and imported", capsys):
        conversation = client.conversations.new_conversation()
        kept: dict[str, str] = {}
        for number, text in enumerate(texts):
            for encoding in ("utf-8", "utf-8-sig", "utf-16"):
                assert decode(text.encode(encoding)) == promised(text), repr(text)
            assert decode(f"\ufeff{text}".encode("utf-16-be")) == promised(text)
            kept[client.journal.new_entry(decode(text.encode()), writer="test").id] = promised(text)
            client.conversations.put_message(conversation.id, StoredMessage(f"{number:08}", "user", text))
        for _ in range(2):
            assert {entry.id: entry.text for entry in client.journal.entries()} == kept
            messages = client.conversations.messages(conversation.id)
            assert [message.text for message in messages] == [promised(text) for text in texts]
            export_library(client, tmp_path / "export")
            client.redis.flushdb()
            import_library(client, tmp_path / "export")


@pytest.mark.slow
def test_texts_of_an_editor(
    paths: Paths, tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each replaces the one before it, by a real program."""
    source = tmp_path / "source"
    monkeypatch.setenv("VISUAL", f"cp '{source}'")
    with timed("written in $EDITOR", capsys):
        for old, new in pairwise(texts):
            source.write_bytes(new.encode())
            if not promised(new).strip():
                with pytest.raises(CharlieError), edited(promised(old)):
                    pass
                continue
            with edited(promised(old)) as text:
                end = "\n" if old and not promised(old).endswith("\n") else ""
                assert text == promised(new).removesuffix(end), repr((old, new))
    assert list(paths.drafts.iterdir()) == []


class Fields(App[None]):
    def compose(self) -> ComposeResult:
        yield Prompt()
        yield Editor()


def shown(area: TextArea) -> str:
    rows = range(area.wrapped_document.height)
    area.scroll_to(0, 0, animate=False)
    return "".join(segment.text for row in rows for segment in area._render_line(row))


async def type_in(area: LargeTextArea, text: str) -> str:
    """Press the keys of a text; what no key can type is left out. Returns what was typed."""
    typed = [letter for letter in promised(text) if letter == "\n" or unicodedata.category(letter) != "Cc"]
    newline = events.Key("ctrl+j" if isinstance(area, Prompt) else "enter", "\n")
    for letter in typed:
        await area._on_message(newline.copy() if letter == "\n" else events.Key("a letter", letter))
    return "".join(typed)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_texts_typed_and_pasted(texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    async with Fields().run_test(size=(60, 40)) as pilot:
        with timed("typed, pasted and opened in prompt and editor", capsys):
            for number, text in enumerate(texts):
                for turn, area in enumerate((pilot.app.query_one(Prompt), pilot.app.query_one(Editor))):
                    area.load_text("")
                    if number % 2 == turn:
                        typed = await type_in(area, text if number < SAMPLE else text[-TYPED:])
                        assert area.text == typed, repr(text)
                        area.load_text("")
                    await area._on_message(events.Paste(text))
                    assert promised(area.text) == promised(text), repr(text)
                    area.load_text(promised(text))
                    assert area.text == promised(text), repr(text)
                    if text.strip("\ufeff"):
                        assert re.sub(r"\s", "", shown(area)) == visible(area.text), repr(text)
                    await area._on_message(events.Key("x", "x"))
                    assert area.text == f"x{promised(text)}", repr(text)
                if number % 100 == 0:
                    await pilot.pause()


@pytest.mark.slow
def test_texts_by_real_commands(tmp_path: Path, texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sample = [text for text in texts if promised(text).strip()][:SAMPLE]
    with timed(f"of which {SAMPLE} by real commands", capsys), started(tmp_path, "up") as up:
        read_until(up.stderr, "is up")
        for number, text in enumerate(sample):
            encoding = ("utf-8", "utf-8-sig", "utf-16")[number % 3]
            charlie(tmp_path, "journal", "add", "--no-wait", "-", stdin=text.encode(encoding))
            if not text.startswith("-"):
                charlie(tmp_path, "journal", "add", "--no-wait", text)
        entries = charlie(tmp_path, "journal", "list", "--json").json
        assert charlie(tmp_path, "export", str(tmp_path / "out")).code == 0
        up.terminate()
    wanted = [each for text in sample for each in [promised(text)] * (1 if text.startswith("-") else 2)]
    assert [entry["text"] for entry in reversed(entries)] == wanted
    other = tmp_path / "other"
    assert charlie(other, "import", str(tmp_path / "out")).code == 0
    assert [entry["text"] for entry in charlie(other, "journal", "list", "--json").json] == list(reversed(wanted))
