"""Drafts: files that outlive their process, one for each process and place."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core.files import PARTIAL_SUFFIX
from core.library.drafts import Draft, Drafts

WRITE = """
import sys
from pathlib import Path
from core.library.drafts import Draft, Drafts
place, text, folder = sys.argv[1:]
Drafts(Path(folder)).put(Draft(place, text, 3))
print("kept", flush=True)
sys.stdin.read()
"""


TAKE = """
import sys
from pathlib import Path
from core.library.drafts import Drafts
folder, *places = sys.argv[1:]
drafts = Drafts(Path(folder))
print("ready", flush=True)
sys.stdin.readline()
print("done", *[place for place in places if drafts.take(place)], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "drafts"


@contextmanager
def writer(folder: Path, place: str, text: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has kept a draft and still runs."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, place, text, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"kept\n"
            yield process
        finally:
            process.kill()


def test_a_draft_outlives_a_killed_process(folder: Path) -> None:
    drafts = Drafts(folder)
    with writer(folder, "entry:1", "typed\nand not saved ü \U0001f600") as process:
        assert drafts.places() == set()
        assert drafts.take("entry:1") is None
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert drafts.places() == {"entry:1"}
    taken = drafts.take("entry:1")
    assert taken is not None
    assert (taken.text, taken.base) == ("typed\nand not saved ü \U0001f600", 3)
    assert drafts.take("entry:1") == taken
    assert drafts.take("entry:2") is None
    drafts.put(Draft("entry:1", ""))
    assert drafts.take("entry:1") is None
    assert list(folder.iterdir()) == []


def test_two_processes_at_one_place_keep_two_drafts(folder: Path) -> None:
    drafts = Drafts(folder)
    with writer(folder, "chat:1", "theirs"):
        drafts.put(Draft("chat:1", "mine"))
        taken = drafts.take("chat:1")
        assert taken is not None
        assert taken.text == "mine"
    drafts.put(Draft("chat:1", ""))
    taken = drafts.take("chat:1")
    assert taken is not None
    assert taken.text == "theirs"


def test_of_several_left_drafts_each_is_taken_in_its_turn(folder: Path) -> None:
    drafts, texts = Drafts(folder), {"first", "second"}
    for text in sorted(texts):
        with writer(folder, "chat:1", text):
            pass
    for _ in sorted(texts):
        taken = drafts.take("chat:1")
        assert taken is not None
        texts.remove(taken.text)
        drafts.put(Draft("chat:1", ""))
    assert texts == set()


def test_a_draft_is_taken_by_one_of_two_processes_that_start_at_once(folder: Path) -> None:
    places = [f"chat:{number}" for number in range(30)]
    with writer(folder, "first", "gone soon") as process:
        pass
    for place in places:
        Drafts(folder).put(Draft(place, "typed"))
    for file in folder.glob(f"*-{os.getpid()}.json"):
        file.rename(file.with_name(file.name.replace(str(os.getpid()), str(process.pid))))
    command = [sys.executable, "-c", TAKE, str(folder), *places]
    takers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for step in ("ready", "done"):
            lines = [taker.stdout.readline().decode().split() for taker in takers if taker.stdout]
            assert [line[0] for line in lines] == [step, step]
            for taker in takers:
                assert taker.stdin is not None
                if step == "ready":
                    taker.stdin.write(b"go\n")
                    taker.stdin.flush()
        assert sorted(place for line in lines for place in line[1:]) == sorted(places)
    finally:
        for taker in takers:
            taker.kill()
            taker.communicate(timeout=10)


def test_taking_a_draft_on_a_full_disk_does_not_remove_it(folder: Path) -> None:
    with writer(folder, "chat:1", "typed"):
        pass
    drafts = Drafts(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # each write to a file fails with EFBIG
    try:
        taken = drafts.take("chat:1")
        drafts.put(Draft("chat:2", "not kept"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert taken is not None
    assert taken.text == "typed"
    (file,) = folder.iterdir()
    assert json.loads(file.read_text())["text"] == "typed"
    again = drafts.take("chat:1")
    assert again is not None
    assert again.text == "typed"


def test_a_draft_is_readable_by_its_user_alone(folder: Path) -> None:
    Drafts(folder).put(Draft("chat:1", "typed"))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600]


def test_the_drafts_of_a_deleted_record_are_removed_for_every_process(folder: Path) -> None:
    drafts = Drafts(folder)
    with writer(folder, "entry:abc", "theirs"):
        drafts.put(Draft("entry:abc", "mine"))
        drafts.put(Draft("chat:abc", "mine"))
        drafts.put(Draft("entry:other", "stays"))
        killed = folder / f".x-{2**22}.json.abcd{PARTIAL_SUFFIX}"
        held = folder / f".x-{os.getppid()}.json.abcd{PARTIAL_SUFFIX}"
        for part in (killed, held):
            part.write_text("half a dr")
        drafts.forget("abc")
        assert not killed.exists()
        held.unlink()
    assert [json.loads(file.read_text())["text"] for file in folder.iterdir()] == ["stays"]


def test_a_process_with_the_id_of_an_earlier_one_does_not_hold_its_draft(folder: Path) -> None:
    drafts, parent = Drafts(folder), os.getppid()
    began = psutil.Process(parent).create_time()
    for place, written in (("held", began + 60), ("left", began - 60)):
        drafts.put(Draft(place, "typed"))
        (file,) = folder.glob(f"*-{os.getpid()}.json")
        os.utime(file, (written, written))
        file.rename(file.with_name(file.name.replace(str(os.getpid()), str(parent))))
    assert drafts.places() == {"left"}


@pytest.mark.parametrize("content", ["", "{", '{"place": 1}', "[]", '{"place": "a", "text": "b", "later": true}'])
def test_a_damaged_draft_or_one_of_a_later_version_hides_no_other(folder: Path, content: str) -> None:
    drafts = Drafts(folder)
    drafts.put(Draft("chat:1", "typed"))
    (folder / "a.json").write_text(content)
    assert "chat:1" in drafts.places()
    taken = drafts.take("chat:1")
    assert taken is not None
    assert taken.text == "typed"


def test_half_of_a_character_costs_no_draft(folder: Path) -> None:
    drafts = Drafts(folder)
    drafts.put(Draft("chat:1", "typed \ud83d here"))
    taken = drafts.take("chat:1")
    assert taken is not None
    assert taken.text == "typed \ud83d here"
