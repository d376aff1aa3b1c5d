"""Journal entries and questions about them, made by chance from a seed.

Half of training's activities and all its names are nonsense, put together from syllables and from pieces of words:
they can only be copied, never learned by heart. `held_out` takes names, activities, places and phrasings that training
never sees.
"""

from __future__ import annotations

import random

from optimizers.starter import words
from optimizers.starter.facts import (
    Activity,
    Entry,
    Facts,
    Kind,
    Question,
    answer_of,
    askable,
    capital,
    known_by,
    same,
)
from optimizers.starter.tellings import (
    ALONE,
    ASIDES,
    ASKED,
    BEFORE,
    CALLED,
    FELT,
    TOGETHER,
    WENT,
    Phrasing,
)
from optimizers.starter.words import MOODS, Verb

NONSENSE = 0.5
"""The share of training's activities, and a third of its places, that are made of syllables."""


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
        while (name := self._made_up_name()) in words.HELD_OUT_NAMES:
            pass
        return name

    def _made_up_name(self) -> str:
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
        return Activity(*pairs[0], tuple(pairs[1:]), tuple(sorted(objects)))

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
        return Activity(f"{verb.base} {thing}", f"{verb.past} {thing}", things=(thing,))

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
        told = self.statement(facts)
        joined = facts.feeling and not self.held_out and self.chance(0.25)
        sentences = [self.joined(told, facts.feeling) if joined and facts.feeling else told]
        while self.chance(fillers):
            sentences.append(self.random.choice(words.FILLERS))
        if facts.feeling and not joined:
            sentences.insert(self.random.randint(1, len(sentences)), self.felt(facts.feeling))
            if facts.mood and self.chance(0.2):
                sentences.append(self.sign(facts.mood))
        if self.chance(fillers / 3):
            sentences.insert(0, self.random.choice(words.FILLERS))
        return Entry(" ".join(sentences), facts)

    def joined(self, told: str, feeling: str) -> str:
        """A statement and what was felt, in one sentence."""
        verb = self.random.choice(("I felt", "I was", "I feel", "I am", "feel", "felt"))
        return f"{told[:-1]}{self.random.choice((' and', ', and', ', so', ' but'))} {verb} {feeling}."

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
        if answer is None or not known_by(kind, facts, [entry.facts for entry in entries]):
            return None
        return Question(self.ask(kind, facts), answer, index)

    def absent(self, entries: list[Entry]) -> Question | None:
        """A question that no entry answers: of something that is not there, or of what an entry does not tell."""
        told = [entry.facts for entry in entries]
        kind = self.random.choice(list(Kind))
        # Most draws of the second kind are answered, and dropped; learning needs many of them.
        own = self.chance(0.4 if self.held_out else 0.9)
        facts = self.random.choice(told) if own else self.facts(self.name())
        if not askable(kind, facts) or any(answer_of(kind, each) and same(kind, facts, each) for each in told):
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

    def loosely(self, text: str) -> str:
        """As people type: with a word before or after it, in small letters, with other signs at its end or none."""
        if self.held_out:
            return text
        pick, bare = self.random.choice, text.rstrip(".?!")
        end = text[len(bare) :]
        if self.chance(0.25):
            end = pick(("", ".", "!", "?", "...", "!!"))
        if self.chance(0.2):
            bare += pick((", Charlie", " please", " now", " then", " today", ", dear", " my friend"))
        if self.chance(0.25):
            lower = bare if bare.startswith(("I ", "I'")) else bare[:1].lower() + bare[1:]
            before = pick(("Oh", "Well", "So", "Ok", "Charlie", "Hey", "Um", "And", "But", "Please", "Now"))
            bare = f"{before}{pick((', ', ' '))}{lower}"
        return (bare + end).lower() if self.chance(0.25) else bare + end

    def noise(self) -> str:
        """A word that says nothing."""
        return self.made_up() if self.chance(0.6) else self.random.choice(words.COMMON)
