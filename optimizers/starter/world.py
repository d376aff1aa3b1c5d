"""Journal entries, questions about them and their answers, made by chance from a seed.

Half of training's activities and all its names are nonsense, put together from syllables: they can only be copied,
never learned by heart. `held_out` takes names, activities, places and phrasings that training never sees.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from enum import Enum, auto

from optimizers.starter import words
from optimizers.starter.words import MOODS, Verb

NONSENSE = 0.5
"""The share of training's activities, and a third of its places, that are made of syllables."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What somebody did, as "bake bread" and "baked bread", and other words for the same."""

    base: str
    past: str
    others: tuple[tuple[str, str], ...] = ()

    @property
    def concept(self) -> str:
        """The same for all its names."""
        return min(self.base, *(base for base, _ in self.others), self.base)


@dataclass(frozen=True, slots=True)
class Facts:
    """What an entry tells; what is None it does not tell."""

    activity: Activity | None = None
    who: str | None = None
    where: str | None = None
    when: str | None = None
    feeling: str | None = None
    mood: str | None = None
    topic: str | None = None
    """What a call was about; then `who` is the one who called."""
    goal: str | None = None
    vehicle: str | None = None

    @property
    def did(self) -> str:
        """What was done, in the past; nothing in entries of calls and trips."""
        return self.activity.past if self.activity else ""


@dataclass(frozen=True, slots=True)
class Entry:
    text: str
    facts: Facts


class Kind(Enum):
    """What is asked, and by what the entry is known."""

    WHO = auto()
    WHAT_WITH = auto()
    WHAT_WHEN = auto()
    WHAT_WHERE = auto()
    WHEN = auto()
    WHERE = auto()
    FEELING = auto()
    FEELING_WITH = auto()
    CALLER = auto()
    TOPIC = auto()
    VEHICLE = auto()
    GOAL_WHEN = auto()


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: str | None
    """Without the citation; None where the entries do not tell."""
    entry: int | None
    """Which entry tells, counted from 0."""


@dataclass(frozen=True, slots=True)
class Phrasing:
    """The ways to say a thing in training, and the ways that only the evaluation uses."""

    seen: tuple[str, ...]
    held_out: tuple[str, ...] = field(default=())


ASKED = {
    Kind.WHO: Phrasing(
        (
            "Who did I {base} with?",
            "With whom did I {base}?",
            "Who was with me when I {past}?",
            "Who was there when I {past}?",
            "I {past} with somebody. Who was it?",
            "Who {past} with me?",
        ),
        ("Do you know who I {past} with?", "Who kept me company when I {past}?", "Tell me who I {past} with."),
    ),
    Kind.WHAT_WITH: Phrasing(
        (
            "What did I do with {who}?",
            "What did {who} and I do?",
            "What did we do, {who} and I?",
            "What was I doing with {who}?",
            "I was with {who}. What did we do?",
        ),
        ("Remind me what I did with {who}.", "Tell me what {who} and I did.", "What was it that I did with {who}?"),
    ),
    Kind.WHAT_WHEN: Phrasing(
        ("What did I do {when}?", "What happened {when}?", "What was I doing {when}?", "What did I get done {when}?"),
        ("Remind me what I did {when}.", "Tell me what I did {when}."),
    ),
    Kind.WHAT_WHERE: Phrasing(
        ("What did I do {where}?", "What happened {where}?", "What was I doing {where}?"),
        ("Remind me what I did {where}.", "Tell me what I did {where}."),
    ),
    Kind.WHEN: Phrasing(
        ("When did I {base}?", "When was it that I {past}?", "When was I busy, when I {past}?", "I {past}, but when?"),
        ("Do you know when I {past}?", "When exactly did I {base}?", "Tell me when I {past}."),
    ),
    Kind.WHERE: Phrasing(
        ("Where did I {base}?", "Where was I when I {past}?", "In what place did I {base}?", "I {past}, but where?"),
        ("Do you know where I {past}?", "Where exactly did I {base}?", "Tell me where I {past}."),
    ),
    Kind.FEELING: Phrasing(
        (
            "How did I feel when I {past}?",
            "How was I after I {past}?",
            "How did it feel to {base}?",
            "What did I feel when I {past}?",
        ),
        ("Do you know how I felt when I {past}?", "How was I feeling when I {past}?"),
    ),
    Kind.FEELING_WITH: Phrasing(
        ("How did I feel with {who}?", "How was I when I was with {who}?", "What did I feel when I was with {who}?"),
        ("Do you know how I felt with {who}?", "How was I feeling with {who}?"),
    ),
    Kind.CALLER: Phrasing(
        ("Who called {when}?", "Who phoned me {when}?", "Who rang {when}?", "I had a call {when}. Who was it?"),
        ("Do you know who called {when}?", "Tell me who phoned {when}."),
    ),
    Kind.TOPIC: Phrasing(
        (
            "What did I talk about with {who}?",
            "What did {who} call about?",
            "What did {who} and I talk about?",
            "What was my call with {who} about?",
        ),
        ("Remind me what {who} and I talked about.", "What did {who} want to talk about?"),
    ),
    Kind.VEHICLE: Phrasing(
        ("How did I get {goal}?", "How did I go {goal}?", "How did I travel {goal}?", "What did I take {goal}?"),
        ("By what means did I get {goal}?", "Do you know how I got {goal}?"),
    ),
    Kind.GOAL_WHEN: Phrasing(
        ("When did I go {goal}?", "When was it that I went {goal}?", "When did I travel {goal}?"),
        ("Do you know when I went {goal}?", "Tell me when I went {goal}."),
    ),
}

ALONE = Phrasing(
    (
        "I {past}{place}{time}.",
        "I {past}{time}{place}.",
        "{Time}I {past}{place}.",
        "{Place}I {past}{time}.",
        "I was out{place}{time} and I {past}.",
        "{Time}I was busy{place}. I {past}.",
        "{Time}I {past} again{place}.",
        "All I did{time} was this: I {past}{place}.",
        "I was alone{place}{time}. I {past}.",
        "{Noise} I {past}{place}{time}.",
        "{Time}{noise} I {past}{place}.",
        "I {past}{place}{time}, {noise}.",
        "It {noise} {noise} that I {past}{place}{time}.",
        "There was {noise}{time} and I {past}{place}.",
    ),
    ("It was{time} that I {past}{place}.", "So I {past}{place}{time}."),
)
TOGETHER = Phrasing(
    (
        "I {past} with {who}{place}{time}.",
        "{who} and I {past}{place}{time}.",
        "{Time}{who} and I {past}{place}.",
        "{Time}I {past} with {who}{place}.",
        "{Place}I {past} with {who}{time}.",
        "We {past}{place}{time}, {who} and I.",
        "I met {who}{place}{time}. We {past}.",
        "{who} came along{time}. We {past}{place}.",
        "{who} was with me{place}. We {past}{time}.",
        "I {past}{place}{time}. {who} was there too.",
        "I {past}{place}{time} and {who} helped me.",
        "{who} came by{time} and we {past}{place}.",
        "{Time}{who} took me along and we {past}{place}.",
        "I had {who} with me{place}{time} when I {past}.",
        "{who} helped me{time}: we {past}{place}.",
        "{Time}I saw {who}{place} and we {past}.",
        "{Place}{who} and I {past}{time}.",
        "Both of us, {who} and I, {past}{place}{time}.",
        "{who} {noise}ed me{time} and we {past}{place}.",
        "{Time}{who} {noise}ed with me{place}: we {past}.",
        "{who} {noise} me{place} when I {past}{time}.",
        "{Noise} with {who} I {past}{place}{time}.",
        "{Noise}: {who} and I{place}. We {past}{time}.",
        "{Time}it {noise} {who} and me{place}, and we {past}.",
        "There we were{place}{time}, {who} and I: we {past}.",
        "By chance {who} was there{place}{time}. We {past}.",
    ),
    (
        "With {who} I {past}{place}{time}.",
        "{who} joined me{time} and we {past}{place}.",
        "Together with {who} I {past}{place}{time}.",
        "{Time}it was {who} and me{place}: we {past}.",
    ),
)
CALLED = Phrasing(
    (
        "{who} called{time}. We talked about {topic}.",
        "{Time}{who} phoned me about {topic}.",
        "I had a call from {who}{time}, about {topic}.",
        "{who} rang{time} and we talked about {topic}.",
        "{Time}{who} was on the phone. It was about {topic}.",
        "{who} called me{time} because of {topic}.",
        "{Time}the phone rang: {who}, about {topic}.",
        "{Time}I {noise} a call from {who} about {topic}.",
        "A {noise} call with {who}{time}, all about {topic}.",
        "{who} phoned{time}: {topic}.",
        "My call with {who}{time}? It was {topic}.",
    ),
    ("{Time}I got a call from {who}: {topic}.", "A long call with {who}{time}. It was about {topic}."),
)
WENT = Phrasing(
    (
        "I went {goal} by {vehicle}{time}.",
        "{Time}I took the {vehicle} {goal}.",
        "I travelled {goal} by {vehicle}{time}.",
        "I took the {vehicle} {goal}{time}.",
        "{Time}I went by {vehicle} {goal}.",
        "The {vehicle} took me {goal}{time}.",
        "I got {goal} by {vehicle}{time}.",
        "{Noise} I went {goal} by {vehicle}{time}.",
        "{Time}the {vehicle} {noise}ed me {goal}.",
        "{goal}, that is where I went by {vehicle}{time}.",
    ),
    ("{Time}the {vehicle} brought me {goal}.", "By {vehicle} I got {goal}{time}."),
)
FELT = Phrasing(
    (
        "I felt {feeling}.",
        "It made me feel {feeling}.",
        "I was {feeling} afterwards.",
        "Felt {feeling}.",
        "I am {feeling} now.",
        "I feel {feeling}.",
        "I was so {feeling}.",
        "Now I feel {feeling}.",
        "I went to bed {feeling}.",
        "I felt {feeling} all day.",
        "After that I was {feeling}.",
        "That made me {feeling}.",
        "I got home {feeling}.",
        "The day made me {feeling}.",
        "I ended up {feeling}.",
        "Since then I am {feeling}.",
        "It turned me {feeling}.",
        "And I? I was {feeling}.",
        "I {noise} {feeling}.",
        "It {noise} me {feeling}.",
        "In bed I was {feeling}.",
        "{Noise} I felt {feeling}.",
        "I went away {feeling}.",
        "All of it made me {feeling}.",
    ),
    ("In the end I felt {feeling}.", "I came home {feeling}.", "It left me {feeling}."),
)


BEFORE = ("", "", "", "", "Then ", "Later ", "Today ", "Well, ", "At last ", "Again ", "And ", "Of course ")
"""What an entry's sentence may begin with in training."""
ASIDES = (
    "Charlie, {question}",
    "Please say: {question}",
    "I forgot: {question}",
    "I wonder: {question}",
    "Can you say {question}",
    "Quick question: {question}",
    "One thing. {question}",
    "{question} I forgot.",
    "{question} Please look.",
    "Hm, {question}",
    "Look it up: {question}",
    "{noise} {question}",
    "{noise} {noise}: {question}",
    "{question} {noise}",
)
"""What stands around a question in training, so that what was never heard is passed over."""


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def yours(text: str) -> str:
    """What "I" did, said to the one who did it: "lost my keys" becomes "lost your keys"."""
    return re.sub(r"\bmy\b", "your", text)


class World:
    """Draws everything from one seeded source."""

    def __init__(self, seed: int, *, held_out: bool = False) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.held_out = held_out

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def say(self, phrasing: Phrasing) -> str:
        return self.random.choice(phrasing.held_out if self.held_out and phrasing.held_out else phrasing.seen)

    def syllables(self, least: int, most: int) -> str:
        pick = self.random.choice
        text = ""
        for _ in range(self.random.randint(least, most)):
            onset = "" if not text and self.chance(0.15) else pick(words.ONSETS)
            text += onset + pick(words.VOWELS[:5] if self.chance(0.75) else words.VOWELS)
        return text + (pick(words.CODAS) if self.chance(0.5) else "")

    def name(self) -> str:
        if self.held_out:
            return self.random.choice(words.HELD_OUT_NAMES)
        name = self.splice() if self.chance(0.3) else self.syllables(1, 3)
        return capital(name if len(name) > 2 else name + self.random.choice("nlrs"))

    def splice(self) -> str:
        """The beginning of a word and the end of another: as its pieces are in real words that training never sees."""
        one, other = self.random.choice(words.COMMON), self.random.choice(words.COMMON)
        return one[: self.random.randint(2, max(2, len(one) - 1))] + other[self.random.randint(1, len(other) - 2) :]

    def made_up(self) -> str:
        return self.splice() if self.chance(0.5) else self.syllables(1, 3)

    def names(self, count: int) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.name()] = None
        return list(found)

    def activity(self) -> Activity:
        if self.held_out:
            return self._real(words.HELD_OUT_ACTIVITIES)
        if self.chance(NONSENSE):
            return self._nonsense()
        return self._real(words.ACTIVITIES)

    def _real(self, groups: tuple[words.Group, ...]) -> Activity:
        group = self.random.choices(groups, [len(group.objects) for group in groups])[0]
        verbs, objects = list(group.verbs), list(self.random.choice(group.objects))
        self.random.shuffle(verbs)
        self.random.shuffle(objects)
        pairs = [(f"{verb.base} {name}", f"{verb.past} {name}") for verb in verbs for name in objects]
        return Activity(*pairs[0], tuple(pairs[1:]))

    def _nonsense(self) -> Activity:
        """A verb or an object, or both, that no language has."""
        group = self.random.choice(words.ACTIVITIES)
        verb = self.random.choice(group.verbs)
        thing = self.random.choice(self.random.choice(group.objects))
        made_up = self.random.randrange(3)
        if made_up != 0:
            base = self.splice() if self.chance(0.5) else self.syllables(1, 2)
            if base[-1] in "aeiou":
                base += self.random.choice("mnlkpt")
            base = base.lower()
            ending = self.random.choice(("", "", "e"))
            verb = Verb(base + ending, base + "ed")
        if made_up != 1:
            thing = self.thing()
        return Activity(f"{verb.base} {thing}", f"{verb.past} {thing}")

    def thing(self) -> str:
        article = self.random.choice(("a ", "the ", "some ", "my ", "", "an old ", "two "))
        noun = self.made_up() if self.chance(0.75) else self.random.choice(words.COMMON)
        if len(noun) < 3:
            noun += self.random.choice("nlrt")
        if self.chance(0.2):
            noun += " " + self.made_up()
        return article + noun + ("s" if article in ("some ", "two ", "") else "")

    def place(self) -> str:
        if self.held_out:
            return self.random.choice(words.HELD_OUT_PLACES)
        if self.chance(NONSENSE / 3):
            noun = self.made_up()
            return self.random.choice(("in ", "at the ", "in the ", "near the ", "by the ")) + noun
        return self.random.choice(words.PLACES)

    def time(self) -> str:
        pick = self.random.choice
        draw = self.random.random()
        if draw < 0.4:
            return f"on {pick(words.DAYS)}" + (pick(("", "", " morning", " evening", " afternoon")))
        if draw < 0.55:
            return f"on {self.random.randint(1, 28)} {pick(words.MONTHS)}"
        if draw < 0.6:
            return f"last {pick(words.DAYS)}"
        return pick(words.TIMES)

    def goal(self) -> str:
        if self.held_out:
            return self.random.choice(words.HELD_OUT_GOALS)
        if self.chance(0.4):
            return "to " + self.random.choice(("the ", "")) + self.made_up()
        return self.random.choice(words.GOALS)

    def topic(self) -> str:
        if self.held_out:
            return self.random.choice(words.HELD_OUT_TOPICS)
        return self.thing() if self.chance(0.5) else self.random.choice(words.TOPICS)

    def mood(self) -> str:
        return self.random.choice(MOODS)

    def sign(self, mood: str) -> str:
        """A sentence that shows a mood without naming it."""
        return self.random.choice((words.HELD_OUT_SIGNS if self.held_out else words.SIGNS)[mood])

    def facts(self, who: str, *, plain: bool = False) -> Facts:
        """What a new entry tells; `who` is in it, if anybody is. A `plain` one is about something that was done."""
        draw = 0.0 if plain else self.random.random()
        when = self.time() if self.chance(0.7) else None
        mood = self.mood() if self.chance(0.5) else None
        feeling = self.random.choice(words.FEELINGS[mood]) if mood else None
        if draw > 0.92:
            goal, vehicle = self.goal(), self.random.choice(words.VEHICLES)
            return Facts(when=when, feeling=feeling, mood=mood, goal=goal, vehicle=vehicle)
        if draw > 0.82:
            return Facts(who=who, when=when, feeling=feeling, mood=mood, topic=self.topic())
        where = self.place() if self.chance(0.5) else None
        return Facts(self.activity(), who if self.chance(0.75) else None, where, when, feeling, mood)

    def entry(self, facts: Facts, *, fillers: float = 0.4) -> Entry:
        sentences = [self.statement(facts)]
        while self.chance(fillers):
            sentences.append(self.random.choice(words.FILLERS))
        if facts.feeling:
            sentences.insert(self.random.randint(1, len(sentences)), self.felt(facts.feeling))
            if facts.mood and self.chance(0.2):
                sentences.append(self.sign(facts.mood))
        if self.chance(fillers / 3):
            sentences.insert(0, self.random.choice(words.FILLERS))
        return Entry(" ".join(sentences), facts)

    def felt(self, feeling: str) -> str:
        return self.say(FELT).format(feeling=feeling, noise=self.noise(), Noise=capital(self.noise()))

    def statement(self, facts: Facts) -> str:
        """The sentence or two that tell everything but the feeling."""
        if facts.goal:
            phrasing = WENT
        elif facts.topic:
            phrasing = CALLED
        else:
            phrasing = TOGETHER if facts.who else ALONE
        text = self.say(phrasing)
        slots = {
            "past": facts.did,
            "who": facts.who,
            "topic": facts.topic,
            "goal": facts.goal,
            "vehicle": facts.vehicle,
            "place": f" {facts.where}" if facts.where else "",
            "time": f" {facts.when}" if facts.when else "",
            "Place": f"{capital(facts.where)} " if facts.where else "",
            "Time": f"{capital(facts.when)} " if facts.when else "",
            "noise": self.noise(),
            "Noise": capital(self.noise()),
        }
        told = text.format(**slots)
        if self.held_out or self.chance(0.7):
            return capital(told)
        before = self.random.choice(BEFORE)
        plain = told if told.startswith(("I ", facts.who or "I ")) else told[0].lower() + told[1:]
        return capital(before + plain)

    def entries(self, count: int) -> list[Entry]:
        return [self.entry(self.facts(who)) for who in self.names(count)]

    def question(self, entries: list[Entry]) -> Question | None:
        """A question that one entry answers; None if the draw does not give one."""
        index = self.random.randrange(len(entries))
        facts = entries[index].facts
        kind = self.random.choice(list(Kind))
        answer = answer_of(kind, facts)
        if answer is None or not _known_by(kind, facts, [entry.facts for entry in entries]):
            return None
        return Question(self.ask(kind, facts), answer, index)

    def absent(self, entries: list[Entry]) -> Question | None:
        """A question that no entry answers: of something that is not there, or of what an entry does not tell."""
        told = [entry.facts for entry in entries]
        kind = self.random.choice(list(Kind))
        facts = self.random.choice(told) if self.chance(0.4) else self.facts(self.name())
        if not _askable(kind, facts) or any(answer_of(kind, each) and _same(kind, facts, each) for each in told):
            return None
        return Question(self.ask(kind, facts), None, None)

    def ask(self, kind: Kind, facts: Facts) -> str:
        text = self.say(ASKED[kind]).format(
            base=facts.activity.base if facts.activity else "",
            past=facts.did,
            who=facts.who,
            when=facts.when,
            where=facts.where,
            goal=facts.goal,
        )
        if self.held_out:
            return text
        if self.chance(0.08):
            text = text.rstrip("?.")
        if self.chance(0.3):
            lower = text if text.startswith("I ") else text[0].lower() + text[1:]
            text = self.random.choice(ASIDES).format(question=lower, noise=self.noise())
        return capital(text) if self.chance(0.9) else text

    def noise(self) -> str:
        """A word that says nothing."""
        return self.made_up() if self.chance(0.6) else self.random.choice(words.COMMON)


def answer_of(kind: Kind, facts: Facts) -> str | None:
    """What an entry answers to a question of a kind, if it tells that."""
    if not _askable(kind, facts):
        return None
    did, who = facts.activity, facts.who
    match kind:
        case Kind.WHO:
            return f"With {who}." if who else None
        case Kind.WHAT_WITH | Kind.WHAT_WHEN | Kind.WHAT_WHERE:
            return f"You {yours(did.past)}." if did else None
        case Kind.WHEN | Kind.GOAL_WHEN:
            return f"{capital(facts.when)}." if facts.when else None
        case Kind.WHERE:
            return f"{capital(yours(facts.where))}." if facts.where else None
        case Kind.FEELING | Kind.FEELING_WITH:
            return f"You felt {facts.feeling}." if facts.feeling else None
        case Kind.CALLER:
            return f"It was {who}."
        case Kind.TOPIC:
            return f"About {yours(facts.topic)}." if facts.topic else None
        case Kind.VEHICLE:
            return f"By {facts.vehicle}."


def _askable(kind: Kind, facts: Facts) -> bool:
    """Whether an entry has what a question of this kind names it by."""
    match kind:
        case Kind.WHO | Kind.WHEN | Kind.WHERE | Kind.FEELING:
            return facts.activity is not None
        case Kind.WHAT_WITH:
            return facts.activity is not None and facts.who is not None
        case Kind.FEELING_WITH:
            return facts.who is not None
        case Kind.WHAT_WHEN:
            return facts.activity is not None and facts.when is not None
        case Kind.WHAT_WHERE:
            return facts.activity is not None and facts.where is not None
        case Kind.CALLER:
            return facts.topic is not None and facts.when is not None
        case Kind.TOPIC:
            return facts.topic is not None and facts.who is not None
        case Kind.VEHICLE | Kind.GOAL_WHEN:
            return facts.goal is not None


def _same(kind: Kind, one: Facts, other: Facts) -> bool:
    """Whether a question of this kind about one entry could as well be about the other."""
    match kind:
        case Kind.WHO | Kind.WHEN | Kind.WHERE | Kind.FEELING:
            if not one.activity or not other.activity:
                return False
            return one.activity.concept == other.activity.concept
        case Kind.WHAT_WITH | Kind.FEELING_WITH | Kind.TOPIC:
            return one.who == other.who
        case Kind.WHAT_WHEN | Kind.CALLER:
            # "on Friday" is also "on Friday morning"
            return bool(one.when and other.when) and (one.when in other.when or other.when in one.when)  # type: ignore[operator]
        case Kind.WHAT_WHERE:
            return one.where == other.where
        case Kind.VEHICLE | Kind.GOAL_WHEN:
            return one.goal == other.goal


def _known_by(kind: Kind, facts: Facts, told: list[Facts]) -> bool:
    """Whether the question means one entry alone."""
    return sum(_same(kind, facts, each) for each in told) == 1
