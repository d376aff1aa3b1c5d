"""`charlie ask` of a model that thinks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.commands.charlie import charlie, on_a_terminal, read_until, started
from tests.model_variants import cut, write_chain

THOUGHT = "The person asks who it was.\n\nEntry [2] may tell.\n\nOr [3], but no."
ANSWER = "It was the river [1]."
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}assistant:"
    "{% if not enable_thinking %}<think></think>{% endif %}"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running `charlie up`, whose model answers the same to all."""
    folder = tmp_path_factory.mktemp("home")
    file = write_chain(folder / "chain.gguf", cut(f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}", 5), TEMPLATE, ends=True)
    (folder / "config").mkdir()
    (folder / "config" / "config.toml").write_text(f'[instruct]\nfile = "{file}"\n')
    with started(folder, "up") as up:
        read_until(up.stderr, "is up")
        yield folder


def test_json_has_the_thought_apart(home: Path) -> None:
    asked = charlie(home, "ask", "Who was it?", "--json", "--max-tokens", "3").json
    assert asked["reasoning"] == THOUGHT
    assert asked["reasoning_tokens"] > 10
    assert asked["completion_tokens"] == 3
    assert ANSWER.startswith(asked["text"])
    (turn,) = charlie(home, "conversations", "show", asked["conversation"], "--json").json["messages"][1:]
    assert (turn["text"], turn["reasoning"]) == (asked["text"], THOUGHT)
    assert THOUGHT not in charlie(home, "conversations", "show", asked["conversation"]).out


def test_only_the_answer_is_printed(home: Path) -> None:
    asked = charlie(home, "ask", "Who was it?")
    assert (asked.out, asked.err) == (f"{ANSWER}\n", "")


def test_the_thought_is_shown_when_asked_for(home: Path) -> None:
    asked = charlie(home, "ask", "Who was it?", "--show-thinking")
    assert asked.out == f"{ANSWER}\n"
    assert asked.err.strip() == THOUGHT
    shown, status = on_a_terminal(home, "ask", "Who was it?", "--show-thinking")
    assert status == 0
    thought, between, answer = shown.rpartition("\x1b[22m")
    assert between
    assert "\x1b[2m" in thought
    assert "Or [3], but no." in thought.replace("\x1b[22m\x1b[2m", "")
    assert ANSWER in answer


def test_thinking_is_switched_by_an_option(home: Path) -> None:
    tokens = {
        each: charlie(home, "ask", "Who was it?", "--json", "--thinking", each).json["prompt_tokens"]
        for each in ("on", "off", "auto")
    }
    assert tokens["on"] == tokens["auto"] == tokens["off"] - len("<think></think>")
    assert charlie(home, "ask", "Who was it?", "--thinking", "sideways").code == 2


def test_a_cut_thought_is_said(home: Path) -> None:
    asked = charlie(home, "ask", "x", "--max-tokens", "3", CHARLIE_INSTRUCT__SAMPLING__THINKING_TOKENS="5")
    assert "The thought was cut after 5 tokens" in asked.err
