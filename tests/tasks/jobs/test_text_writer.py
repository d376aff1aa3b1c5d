"""Text is written in order and without loss, and decoding does not wait for the database."""

from __future__ import annotations

import threading

import pytest

from tasks.jobs import text_writer
from tasks.jobs.records import Text, Thought
from tasks.jobs.text_writer import TextWriter
from tests.waiting import PATIENCE


class Database:
    """A database that answers when the test lets it."""

    def __init__(self) -> None:
        self.written: list[Text | Thought] = []
        self.writers: set[int] = set()
        self.answers = threading.Event()
        self.answers.set()
        self.broken = False

    def write(self, _: str, output: Text | Thought) -> None:
        assert self.answers.wait(PATIENCE)
        if self.broken:
            raise ConnectionError("the database is away")
        self.written.append(output)
        self.writers.add(threading.get_ident())


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_writer, "BATCH_SECONDS", 0.0)


def write_and_break(database: Database, *pieces: str) -> None:
    """The first piece is written; after it the database is away."""
    with writer_to(database) as writer:
        writer.write("a")
        database.broken = True
        for piece in pieces:
            writer.write(piece)


def writer_to(database: Database) -> TextWriter:
    return TextWriter(database, "1")  # type: ignore[arg-type]  # it has the one method that is used


def test_the_first_piece_is_written_at_once_and_the_rest_at_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_writer, "BATCH_SECONDS", 1e9)
    with writer_to(database) as writer:
        writer.write("a")
        assert database.written == [Text("a")]
        writer.write("b")
        writer.write("c")
        assert database.written == [Text("a")]
    assert database.written == [Text("a"), Text("bc")]


@pytest.mark.usefixtures("at_once")
def test_decoding_does_not_wait_for_the_database(database: Database) -> None:
    with writer_to(database) as writer:
        writer.write("a")
        database.answers.clear()
        writer.write("b")  # returns while the write waits for its answer
        assert database.written == [Text("a")]
        database.answers.set()
    assert database.written == [Text("a"), Text("b")]
    assert len(database.writers) == 2


def test_a_thought_and_the_answer_stay_apart_and_in_order(database: Database) -> None:
    pieces: list[str | Thought] = [Thought("a"), Thought("b"), "c", "d", Thought("e"), "f"]
    with writer_to(database) as writer:
        for piece in pieces:
            writer.write(piece)
    assert database.written[0] == Thought("a")
    texts = [f"<{each.text}>" if isinstance(each, Thought) else each.text for each in database.written]
    assert "".join(texts).replace("><", "") == "<ab>cd<e>f"


@pytest.mark.usefixtures("at_once")
def test_a_failed_write_is_raised_by_the_next_call(database: Database) -> None:
    with pytest.raises(ConnectionError):
        write_and_break(database, "b", "c")
    assert database.written == [Text("a")]


@pytest.mark.usefixtures("at_once")
def test_a_failed_last_write_is_raised_at_the_end(database: Database) -> None:
    with pytest.raises(ConnectionError):
        write_and_break(database, "b")
    assert database.written == [Text("a")]


def test_other_calls_come_after_the_text_before_them(database: Database) -> None:
    seen: list[list[Text | Thought]] = []
    with writer_to(database) as writer:
        writer.write("a")
        writer.call(lambda: seen.append([*database.written]))
    assert seen == [[Text("a")]]
