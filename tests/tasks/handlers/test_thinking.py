"""A thought is stored beside the reply, and is never quoted, cited, found or made a title of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobProgress
from core.library.records import StoredMessage
from core.paths import find_paths
from core.settings import Thinking
from core.settings_file import load_settings
from tasks.jobs.records import Ended, Text, Thought
from tests.conftest import settle
from tests.model_variants import cut, write_chain
from tests.waiting import ended, first, follow_events, output

THOUGHT = "The person asks who it was.\n\nEntry [2] may tell.\n\nOr [3], but no."
ANSWER = "It was the river [1]."
SWITCHED = (
    "{% for m in messages %}{{ m.role }}: {% if m.reasoning_content %}({{ m.reasoning_content }}) {% endif %}"
    "{{ m.content }} {% endfor %}assistant:{% if not enable_thinking %}<think></think>{% endif %}"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A worker on a model that thinks."""
    home = tmp_path_factory.mktemp("thinking")
    with pytest.MonkeyPatch.context() as patch:
        settle(home, patch)
        file = write_chain(
            home / "chain.gguf", cut(f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}", 5), SWITCHED, ends=True
        )
        paths = find_paths()
        paths.make()
        paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')
        with Runtime(client := Client(load_settings(), paths)):
            yield client


def result(client: Client, job: str) -> dict[str, Any]:
    last = ended(client.jobs, job)
    assert last.result is not None, last
    return last.result


def said(client: Client, **options: Any) -> tuple[dict[str, Any], StoredMessage]:
    conversation = client.conversations.new_conversation().id
    found = result(client, client.chat(conversation, "Who was it?", **options).id)
    return found, client.conversations.messages(conversation)[-1]


def test_a_thought_is_stored_beside_the_reply(served: Client) -> None:
    found, stored = said(served)
    assert (found["text"], found["reasoning"]) == (ANSWER, THOUGHT)
    assert (stored.text, stored.reasoning) == (ANSWER, THOUGHT)
    assert found["reasoning_tokens"] > found["completion_tokens"] > 3
    assert found["reasoning_ms"] > 0
    assert found["reasoning_cut"] is False
    assert stored.stats is not None
    assert "reasoning" not in stored.stats
    assert stored.stats["reasoning_tokens"] == found["reasoning_tokens"]


def test_max_tokens_are_the_answers(served: Client) -> None:
    found, stored = said(served, max_tokens=3)
    assert stored.reasoning == THOUGHT
    assert found["completion_tokens"] == 3
    assert ANSWER.startswith(found["text"])
    assert found["text"]


def test_a_cut_thought_is_said(served: Client) -> None:
    found, stored = said(served, thinking_tokens=5, max_tokens=3)
    assert found["reasoning_cut"]
    assert found["reasoning_tokens"] == 5
    assert stored.stats is not None
    assert stored.stats["reasoning_cut"]


def test_thoughts_stream_apart_from_the_answer(served: Client) -> None:
    conversation = served.conversations.new_conversation().id
    events = follow_events(served.bus)
    next(events)
    job = served.chat(conversation, "Who was it?").id
    *pieces, last = output(served.jobs, job)
    assert isinstance(last, Ended)
    kinds = [type(piece) for piece in pieces]
    assert kinds == sorted(kinds, key=lambda kind: kind is Text)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Thought)).strip() == THOUGHT
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == ANSWER
    stages = [first(events, lambda event: isinstance(event, JobProgress) and event.id == job) for _ in range(2)]
    assert [stage.stage for stage in stages if isinstance(stage, JobProgress)] == ["think", "decode"]


def test_the_history_gives_a_thought_back_where_the_template_wants_it(served: Client) -> None:
    conversation = served.conversations.new_conversation().id
    first_turn = result(served, served.chat(conversation, "Who was it?").id)
    second = result(served, served.chat(conversation, "Who was it?").id)
    added = second["prompt_tokens"] - first_turn["prompt_tokens"]
    assert added > len(THOUGHT) + len(ANSWER), "a token is a byte"


def test_thinking_is_switched_by_the_job_and_the_settings(served: Client) -> None:
    prompts = {each: said(served, thinking=each)[0]["prompt_tokens"] for each in (None, *Thinking)}
    assert prompts[None] == prompts[Thinking.AUTO] == prompts[Thinking.ON]
    assert prompts[Thinking.OFF] == prompts[Thinking.ON] + len("<think></think>")
    config = served.paths.config_file
    before = config.read_text()
    config.write_text(f'{before}thinking = "off"\n')
    try:
        assert said(served)[0]["prompt_tokens"] == prompts[Thinking.OFF]
        assert said(served, thinking=Thinking.ON)[0]["prompt_tokens"] == prompts[Thinking.ON]
    finally:
        config.write_text(before)


def test_a_journal_answer_does_not_think_and_cites_no_thought(served: Client) -> None:
    for text in ("A long walk by the river.", "The river was high.", "A walk to the river with Mira."):
        result(served, served.ingest(served.journal.new_entry(text)).id)
    answer = result(served, served.ask("Who was it?").id)
    assert (answer["text"], answer["reasoning"]) == (ANSWER, THOUGHT), "this model thinks although it was told not to"
    assert [each["number"] for each in answer["citations"] if each["cited"]] == [1]
    told = result(served, served.ask("Who was it?", thinking=Thinking.ON, thinking_tokens=100).id)
    assert told["prompt_tokens"] == answer["prompt_tokens"] - len("<think></think>")


def test_a_search_and_titles_do_not_see_a_thought(served: Client) -> None:
    _, stored = said(served)
    assert "person" in stored.reasoning
    assert served.conversations.containing("The person asks") == set()
    (newest, *_) = served.conversations.conversations()
    assert newest.title == "Who was it?"
    assert newest.id in served.conversations.containing("It was the river")
