"""How entries are told and questions asked, in training, and in ways that only the evaluation uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from optimizers.starter.facts import Kind


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
