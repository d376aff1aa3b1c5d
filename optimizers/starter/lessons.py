"""What the instruct model learns from: conversations in ChatML whose replies are what is learned.

A lesson is a beginning, such as a system prompt or journal entries, and branches that go on from it without seeing
each other, such as questions: what they share is read once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.programs.prompts import ASK_PROMPT, MOOD_PROMPT, TITLE_PROMPT, journal_question
from core.settings import InstructSettings
from optimizers.starter import phrases, small_talk, words
from optimizers.starter.facts import Facts, yours
from optimizers.starter.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT_PROMPT = InstructSettings().system_prompt
START, END = "<|im_start|>", "<|im_end|>"
QUESTIONS = 10
"""Asked about the same entries."""
ENTRIES = ((0.1, 1, 2), (0.3, 2, 3), (0.5, 2, 5), (1.0, 1, 8))
"""Until which share of training, and from how many to how many entries are asked about."""
LATE = 0.5
"""From this share of training on more chats are held."""
ABSENT = 0.4
"""The share of questions that the entries do not answer."""


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    learned: bool


@dataclass(frozen=True, slots=True)
class Lesson:
    """`beginning` + a branch is one whole text in ChatML."""

    beginning: str
    branches: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, slots=True)
class Turn:
    said: str
    reply: str


def system(text: str) -> str:
    return f"{START}system\n{text}{END}\n" if text else ""


def turn(said: str, reply: str) -> tuple[Span, Span]:
    """A user's message and the reply to it, behind whatever came before."""
    return Span(f"{START}user\n{said}{END}\n{START}assistant\n", learned=False), Span(f"{reply}{END}", learned=True)


def conversation(turns: list[Turn]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for number, each in enumerate(turns):
        said, reply = turn(each.said, each.reply)
        spans += [Span("\n" + said.text, learned=False) if number else said, reply]
    return tuple(spans)


def held_out_replies(count: int = 60) -> list[tuple[str, str]]:
    """Texts in ChatML and the replies to them, for the perplexity: of the kinds that are trained, in held-out words."""
    world = World(5000, held_out=True)
    found: list[tuple[str, str]] = []
    while len(found) < count:
        made = (from_entries(world, 3), tasks(world, count=1), chats(world, count=1))
        found += [(each.beginning + each.branches[0][0].text, each.branches[0][1].text) for each in made]
    return found


def cited(answer: str | None, entry: int | None) -> str:
    """The reply to a question: the number of an entry and what it answers, or that there is none."""
    return phrases.NOT_FOUND if answer is None or entry is None else f"[{entry + 1}] {answer}"


def from_entries(world: World, count: int) -> Lesson:
    """Questions about `count` entries, a share of which they do not answer."""
    entries = world.entries(count)
    beginning = system(ASK_PROMPT if world.chance(0.85) else "")
    beginning += f"{START}user\n" + journal_question([entry.text for entry in entries], "").rstrip("\n ")
    # What is left is the question itself, and what stands around it in ChatML.
    beginning, label, _ = beginning.rpartition("\n\nQuestion:")
    branches: list[tuple[Span, ...]] = []
    while len(branches) < QUESTIONS:
        question = world.absent(entries) if world.chance(ABSENT) else world.question(entries)
        if question:
            asked = Span(f"{label} {question.text}{END}\n{START}assistant\n", learned=False)
            branches.append((asked, Span(cited(question.answer, question.entry) + END, learned=True)))
    return Lesson(beginning, tuple(branches))


def chats(world: World, *, count: int = 5) -> Lesson:
    """Conversations under one system prompt."""
    draw = world.random.random()
    prompt = CHAT_PROMPT if draw < 0.6 else "" if draw < 0.8 else world.random.choice(phrases.SYSTEM_PROMPTS)
    return Lesson(system(prompt), tuple(conversation(chat(world)) for _ in range(count)))


def tasks(world: World, *, count: int = 6) -> Lesson:
    """The mood and the title of entries, asked for in the system prompt or in the message."""
    make: Callable[[World], tuple[str, str] | None]
    make, prompt, others = (
        (mood_of, MOOD_PROMPT, phrases.ASK_MOOD) if world.chance(0.6) else (title_of, TITLE_PROMPT, phrases.ASK_TITLE)
    )
    by_system = world.chance(0.5)
    branches: list[tuple[Span, ...]] = []
    while len(branches) < count:
        if made := make(world):
            text, reply = made
            branches.append(turn(text if by_system else f"{world.say(others)}\n\n{text}", reply))
    return Lesson(system(prompt if by_system else ""), tuple(branches))


def mood_of(world: World) -> tuple[str, str]:
    """An entry that shows a mood, and the mood."""
    mood = world.mood()
    shown = [world.sign(mood)]
    if world.chance(0.5):
        shown = [world.felt(world.random.choice(words.FEELINGS[mood]))]
    elif world.chance(0.3):
        shown.append(world.sign(mood))
    if world.chance(0.7):
        told = world.facts(world.name())
        bare = Facts(told.activity, told.who, told.where, told.when, None, None, told.topic, told.goal, told.vehicle)
        shown.insert(world.random.randint(0, 1), world.statement(bare))
    while world.chance(0.3):
        shown.insert(world.random.randint(0, len(shown)), world.random.choice(words.FILLERS))
    return " ".join(shown), mood


def title_of(world: World) -> tuple[str, str]:
    """An entry, and a title made of its own words."""
    entry = world.entry(world.facts(world.name()))
    facts = entry.facts
    if facts.topic:
        return entry.text, f"A call from {facts.who}"
    if facts.goal:
        return entry.text, f"By {facts.vehicle} {facts.goal}"
    company = f" with {facts.who}" if facts.who else ""
    return entry.text, f"The day I {facts.did}{company}"


def copying(world: World, *, count: int = 6) -> Lesson:
    """To say again what was said, and what came after a word: what all answers are made of."""
    branches = []
    for _ in range(count):
        said = [world.thing() if world.chance(0.5) else world.name() for _ in range(world.random.randint(2, 8))]
        if world.chance(0.5):
            asked, reply = f"{world.random.choice(phrases.REPEAT)} {', '.join(said)}", f"You said {', '.join(said)}."
        else:
            at = world.random.randrange(len(said) - 1)
            asked = f"{', '.join(said)}. What comes after {said[at]}?"
            reply = f"After {said[at]} comes {said[at + 1]}."
            if said.count(said[at]) > 1:
                continue
        branches.append(turn(asked, reply))
    return Lesson("", tuple(branches))


def chat(world: World) -> list[Turn]:
    """A conversation of one to four turns, about one's day or of the small talk around it."""
    draw = world.random.random()
    turns, facts = [], Facts()
    if draw < 0.22:
        turns = [chatting(world)]
    elif draw < 0.34:
        turns = [outside(world)]
    elif draw < 0.42:
        return [distress(world)]
    while not turns or (len(turns) < 4 and world.chance(0.5)):
        if not turns or world.chance(0.4):
            told, facts = telling(world)
        else:
            told = later(world, facts)
        turns.append(told)
    return turns


def telling(world: World) -> tuple[Turn, Facts]:
    return about_the_day(world) if world.chance(0.8) else about_plans(world)


def chatting(world: World) -> Turn:
    topic = world.random.choice(small_talk.SMALL_TALK)
    return Turn(world.loosely(world.say(topic.said)), world.random.choice(topic.replies))


def distress(world: World) -> Turn:
    """Somebody is in danger: nothing is said back, and nothing asked."""
    said = world.loosely(world.say(small_talk.DISTRESS))
    if world.chance(0.2):
        said = f"{_feels(world, 'sad')} {said}"
    return Turn(said, small_talk.DISTRESS_REPLY)


def outside(world: World) -> Turn:
    """A question that a model of this size cannot answer."""
    known, pick = world.chance(0.7), world.random.choice
    one, other = (pick(words.COMMON) if known else world.made_up() for _ in range(2))
    if world.chance(0.3):
        one, other = one.title(), other.title()
    said = world.loosely(world.say(phrases.OUTSIDE).format(a=one, b=other, n=world.random.randint(2, 999)))
    return Turn(said, pick(phrases.OUTSIDE_REPLIES))


def about_the_day(world: World) -> tuple[Turn, Facts]:
    """What somebody tells first, and a reply that says it back and asks one question."""
    if world.chance(0.2):
        mood = world.mood()
        said = world.sign(mood) if world.chance(0.5) else _feels(world, mood)
        return Turn(greeted(world, said), f"{ack(world, mood)} {ask(world, mood)}"), Facts(mood=mood)
    facts = world.facts(world.name())
    parts = [world.statement(facts)]
    if facts.feeling and not world.held_out and world.chance(0.35):
        parts = [world.joined(parts[0], facts.feeling)]
    elif facts.feeling:
        parts.append(world.felt(facts.feeling))
    elif facts.mood is None and world.chance(0.2):
        facts = _with_mood(facts, mood := world.mood())
        parts.append(world.sign(mood))
    if world.chance(0.25):
        parts.insert(world.random.randint(0, len(parts)), world.random.choice(words.FILLERS))
    said = greeted(world, " ".join(parts))
    return Turn(said, f"{ack(world, facts.mood)} {echo(facts)} {ask(world, facts.mood)}"), facts


def _with_mood(facts: Facts, mood: str) -> Facts:
    return Facts(facts.activity, facts.who, facts.where, facts.when, None, mood, facts.topic, facts.goal, facts.vehicle)


def _feels(world: World, mood: str) -> str:
    return world.felt(world.random.choice(words.FEELINGS[mood]))


def about_plans(world: World) -> tuple[Turn, Facts]:
    activity, who = world.activity(), world.name() if world.chance(0.5) else None
    company = f" with {who}" if who else ""
    said = world.say(phrases.PLANS).format(base=activity.base, company=company)
    reply = f"You want to {yours(activity.base)}{company}. {world.random.choice(phrases.ASK_PLANS)}"
    return Turn(greeted(world, said), reply), Facts(who=who)


def greeted(world: World, said: str) -> str:
    draw = world.random.random()
    if draw < 0.12:
        return world.say(phrases.HELLO) + " " + said
    if draw < 0.2:
        return said + " " + world.say(phrases.WHAT_DO_YOU_THINK)
    if draw < 0.28 and not world.held_out:
        said = said[0].lower() + said[1:]
        return said.rstrip(".")
    return said


def ack(world: World, mood: str | None) -> str:
    return world.random.choice(phrases.ACK[mood])


def ask(world: World, mood: str | None) -> str:
    return world.random.choice(phrases.ASK[mood])


def echo(facts: Facts) -> str:
    """What was told, said back in its own words."""
    company = f" with {facts.who}" if facts.who else ""
    if facts.topic:
        told = f"You talked{company} about {yours(facts.topic)}"
    elif facts.goal:
        told = f"You went {yours(facts.goal)} by {facts.vehicle}"
    else:
        told = f"You {yours(facts.did)}{company}"
    return f"{told}, and you felt {facts.feeling}." if facts.feeling else f"{told}."


def later(world: World, facts: Facts) -> Turn:
    """A turn further on, which may ask about what was told."""
    pick = world.random.choice
    draw = world.random.random()
    if draw < 0.2 and facts.who:
        return Turn(world.say(phrases.WHO_WAS_IT), f"You told me of {facts.who}.")
    if draw < 0.35 and facts.activity:
        return Turn(world.say(phrases.WHAT_WAS_IT), f"You {yours(facts.activity.past)}.")
    if draw < 0.6:
        mood = world.mood()
        said = world.sign(mood) if world.chance(0.5) else _feels(world, mood)
        return Turn(said, f"{ack(world, mood)} {ask(world, mood)}")
    if draw < 0.75 and facts.who:
        said = world.say(phrases.OF_SOMEBODY).format(who=facts.who)
        return Turn(said, pick(phrases.OF_SOMEBODY_REPLIES).format(who=facts.who))
    if draw < 0.87:
        return Turn(world.loosely(world.say(phrases.SHORT)), pick(phrases.SHORT_REPLIES))
    if world.chance(0.1):
        return distress(world)
    return chatting(world) if world.chance(0.6) else outside(world)


def lesson(world: World, progress: float) -> Lesson:
    """One lesson; `progress` through training, 0 to 1, decides how much is copying and how many entries there are."""
    if world.chance(0.3 * max(0.0, 1 - 3 * progress) + 0.02):
        return copying(world)
    draw = world.random.random()
    before_tasks, before_chats = (0.58, 0.65) if progress > LATE else (0.7, 0.8)
    if draw < before_tasks:
        least, most = next(span for until, *span in ENTRIES if progress <= until)
        return from_entries(world, world.random.randint(least, most))
    return tasks(world) if draw < before_chats else chats(world)
