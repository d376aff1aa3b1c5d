"""How good the shipped starter models are, through llama.cpp: `python -m optimizers.starter.evaluate`.

Names, activities, places and phrasings are those that training never saw; replies are greedy (temperature 0).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core import starter
from core.llama.engine import EmbeddingModel, InstructModel, RerankerModel, load_as
from core.llama.instruct import Message
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.programs.prompts import ASK_PROMPT, MOOD_PROMPT, journal_question
from core.roles import Role
from core.settings import Sampling
from optimizers.starter import lessons, phrases, searching, small_talk
from optimizers.starter.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.llama.engine import InstructModel
    from core.model_files.spec import ModelSpec
    from optimizers.starter.facts import Entry, Question
    from optimizers.starter.searching import Pair

FRAMEWORK = Path(__file__).parent / "framework.json"
"""What the training framework measured of the same files; only training writes it."""
COUNT, ENTRIES, NEAR, FIRST = 300, 200, 20, 3
"""Questions of each kind; entries that are searched, of which so many go to the reranker, and so many count."""
ALIKE = 0.5
"""The share of these entries that tell of the same person, activity or place as another."""
GREEDY = Sampling(temperature=0, max_tokens=96)


@dataclass(frozen=True, slots=True)
class Figure:
    """A share or a ratio, and what it must reach."""

    name: str
    value: float
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        shown, bound = (f"{each:.1%}" for each in (self.value, self.bound))
        return f"| {self.name} | {shown} | {'≥' if self.at_least else '≤'} {bound} | {'yes' if self.met else 'NO'} |"


def answer(model: InstructModel, *messages: Message) -> str:
    """A greedy reply."""
    prompt = model.fit(messages, GREEDY.max_tokens)
    return "".join(piece for piece in model.stream(prompt, GREEDY) if isinstance(piece, str))


def questions(world: World, entries: int, count: int, *, absent: bool) -> Iterator[tuple[list[Entry], Question]]:
    """Each with entries of its own."""
    found = 0
    while found < count:
        told = world.entries(entries)
        if question := world.absent(told) if absent else world.question(told):
            found += 1
            yield told, question


def from_entries(model: InstructModel, count: int) -> list[Figure]:
    """Exact answers from three and eight entries, and what is said where there is none."""
    exact, wrongly, said = [], [], []
    for entries in (3, 8):
        world, right, denied = World(1000 + entries, held_out=True), 0, 0
        for told, question in questions(world, entries, count, absent=False):
            reply = _ask(model, told, question)
            right += reply == lessons.cited(question.answer, question.entry)
            denied += reply == phrases.NOT_FOUND
        exact.append(right / count)
        wrongly.append(denied / count)
        replies = [_ask(model, *each) for each in questions(world, entries, count // 2, absent=True)]
        said.append(replies.count(phrases.NOT_FOUND) / len(replies))
    return [
        Figure("answers from 3 entries, exact, with the entry's number", exact[0], 0.9),
        Figure("answers from 8 entries, exact, with the entry's number", exact[1], 0.75),
        Figure('"not there" said when it is not there', sum(said) / 2, 0.9),
        Figure('"not there" said wrongly', sum(wrongly) / 2, 0.05, at_least=False),
    ]


def _ask(model: InstructModel, entries: Sequence[Entry], question: Question) -> str:
    asked = journal_question([entry.text for entry in entries], question.text)
    return answer(model, Message("system", ASK_PROMPT), Message("user", asked))


def moods(model: InstructModel, count: int) -> Figure:
    """One word for an entry; six to choose from."""
    world = World(2000, held_out=True)
    made = [lessons.mood_of(world) for _ in range(count)]
    right = sum(answer(model, Message("system", MOOD_PROMPT), Message("user", text)) == mood for text, mood in made)
    return Figure("mood", right / count, 0.85)


def faithfulness(model: InstructModel, count: int) -> list[Figure]:
    """Replies to what somebody tells of the day, the first thing or the second, that name what was not told.

    And how many of the replies to the second say back this one, as they should, and not the first.
    """
    world, wrong, right, second = World(3000, held_out=True), 0, 0, 0
    for number in range(count):
        turns = [lessons.telling(world)[0] for _ in range(1 + number % 2)]
        messages = [Message("system", lessons.CHAT_PROMPT)]
        for turn in turns:
            messages.append(Message("user", turn.said))
            messages.append(Message("assistant", answer(model, *messages)))
        reply = messages[-1].content
        wrong += bool(_words(reply) - set[str]().union(*(_words(turn.said) for turn in turns)) - ORDINARY)
        if len(turns) > 1:
            second += 1
            right += _words(turns[-1].reply) - ORDINARY <= _words(reply)
    return [
        Figure("replies with a name or an activity that nobody mentioned", wrong / count, 0.03, at_least=False),
        Figure("the second thing that is told, said back", right / second, 0.8),
    ]


def around(model: InstructModel) -> list[Figure]:
    """Every held-out phrasing of small talk and of distress."""
    chatted = [_reply(model, said) in topic.replies for topic in small_talk.SMALL_TALK for said in topic.said.held_out]
    told = [
        _reply(model, before + said) == small_talk.DISTRESS_REPLY
        for said in small_talk.DISTRESS.held_out
        for before in ("", "I feel so sad today. ")
    ]
    return [
        Figure("small talk in other words", sum(chatted) / len(chatted), 0.8),
        Figure("somebody in distress is told where to turn", sum(told) / len(told), 0.9),
    ]


def _reply(model: InstructModel, said: str) -> str:
    return answer(model, Message("system", lessons.CHAT_PROMPT), Message("user", said))


def _words(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[^\W\d_]+", text)}


ORDINARY = _words(
    " ".join(
        [
            "You talked with about went by want to felt and your",
            *(text for choice in (phrases.ACK, phrases.ASK) for texts in choice.values() for text in texts),
            *phrases.ASK_PLANS,
            *phrases.OUTSIDE_REPLIES,
            small_talk.WHO_ARE_YOU,
            small_talk.WHAT_CAN_YOU_DO,
            small_talk.DISTRESS_REPLY,
            *(reply for topic in small_talk.SMALL_TALK for reply in topic.replies),
        ]
    )
)
"""The words of the replies themselves; all others must be the person's."""


def search(count: int) -> list[Figure]:
    """Whether the entry that a query means, in other words, is among the first of 200."""
    nearest, reordered, asked = 0, 0, 0
    with (
        closing(load_as(EmbeddingModel, _spec(Role.EMBEDDING))) as embedding,
        closing(load_as(RerankerModel, _spec(Role.RERANKER))) as reranker,
    ):
        for seed in range(-(-count // ENTRIES)):
            pairs = _pairs(World(4000 + seed, held_out=True))
            texts = [pair.entry.text for pair in pairs]
            near = embedding.embed([pair.query for pair in pairs], query=True) @ embedding.embed(texts).T
            for own in range(min(ENTRIES, count - asked)):
                order = np.argsort(-near[own], kind="stable")[:NEAR]
                scores = reranker.score(pairs[own].query, [texts[each] for each in order])
                best = [order[each] for each in np.argsort(-np.array(scores), kind="stable")]
                nearest += own in order[:FIRST]
                reordered += own in best[:FIRST]
            asked += min(ENTRIES, count - asked)
    alone, with_reranker = nearest / asked, reordered / asked
    return [
        Figure("search: the right entry among the first 3 of 200, embedding alone", alone, 0.85),
        Figure("search: with the reranker", with_reranker, max(0.92, alone)),
    ]


def _pairs(world: World) -> list[Pair]:
    """Entries, many of which resemble another as in a real journal, each with a query that means it alone."""
    pairs: list[Pair] = []
    while len(pairs) < ENTRIES:
        alike = world.random.choice(pairs).entry.facts if pairs and world.chance(ALIKE) else None
        facts = searching.near(world, alike) if alike else world.facts(world.name())
        if searching.query(world, facts) is None:
            continue
        new = searching.pair(world, facts)
        clashes = (
            searching.means(new.told, each.entry.facts) or searching.means(each.told, new.entry.facts) for each in pairs
        )
        if not any(clashes):
            pairs.append(new)
    return pairs


def exported_right() -> Figure:
    """How far llama.cpp's perplexity of the instruct model is from the training framework's."""
    framework = json.loads(FRAMEWORK.read_text(encoding="utf-8"))["perplexity"]
    return Figure(
        "perplexity, llama.cpp ÷ framework: away from 1", abs(perplexity() / framework - 1), 0.01, at_least=False
    )


def perplexity() -> float:
    """Of the replies' tokens in held-out lessons, by the shipped file in llama.cpp."""
    from llama_cpp import Llama

    llama = Llama(str(starter.path_of(Role.INSTRUCT)), n_ctx=2048, n_batch=2048, logits_all=True, verbose=False)
    losses: list[float] = []
    with closing(llama):
        for said, reply in lessons.held_out_replies():
            before, whole = (
                llama.tokenize(text.encode(), add_bos=False, special=True) for text in (said, said + reply)
            )
            llama.n_tokens = 0
            llama.eval(whole)
            logits = np.array(llama.scores[len(before) - 1 : len(whole) - 1], np.float64)
            chosen = logits[np.arange(len(logits)), whole[len(before) :]]
            losses += list(np.logaddexp.reduce(logits, axis=1) - chosen)
    return math.exp(math.fsum(losses) / len(losses))


def evaluate(count: int = COUNT) -> Iterator[Figure]:
    """All figures; `count` is how many questions of each kind are asked, of replies to the day three times as many."""
    with closing(load_as(InstructModel, _spec(Role.INSTRUCT))) as instruct:
        yield from from_entries(instruct, count)
        yield moods(instruct, count)
        yield from faithfulness(instruct, 3 * count)  # of a few in a hundred, more have to be counted
        yield from around(instruct)
    yield from search(count)
    yield exported_right()


def _spec(role: Role) -> ModelSpec:
    return default_spec(read_header(starter.path_of(role)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="questions of each kind")
    count = parser.parse_args().count
    print("| measure | reached | must reach | met |\n|---|---|---|---|", flush=True)
    all_met = True
    for figure in evaluate(count):
        print(figure, flush=True)
        all_met &= figure.met
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
