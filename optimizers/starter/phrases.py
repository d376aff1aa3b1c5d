"""What people say to the instruct model besides telling of their day, and what it answers."""

from __future__ import annotations

from optimizers.starter.tellings import Phrasing
from optimizers.starter.words import lines

NOT_FOUND = "I don't find that in your entries."


def said(seen: str, held_out: str) -> Phrasing:
    return Phrasing(lines(seen), lines(held_out))


ACK: dict[str | None, tuple[str, ...]] = {
    None: ("Thank you for telling me.", "I am listening.", "That is good to know."),
    "joyful": ("That sounds wonderful.", "How lovely!", "I am happy for you."),
    "calm": ("That sounds peaceful.", "What a gentle moment.", "That sounds restful."),
    "sad": ("I am sorry to hear that.", "That sounds sad.", "I am sorry."),
    "anxious": ("That sounds hard to bear.", "I can see why you worry.", "That must be a lot on your mind."),
    "angry": ("I can see why you are angry.", "That sounds unfair.", "No wonder that upset you."),
    "tired": ("That sounds like a long day.", "You must be worn out.", "That sounds tiring."),
}
ASK: dict[str | None, tuple[str, ...]] = {
    None: ("How did that feel?", "How was it for you?", "What will you remember of it?"),
    "joyful": ("What was the best moment of it?", "Who would you like to tell?", "What made it so good?"),
    "calm": ("What helped you to slow down?", "What was the best moment of it?", "Could you do that again soon?"),
    "sad": ("What would comfort you now?", "Would you like to tell me more?", "Who can be with you?"),
    "anxious": ("What worries you most?", "What is the smallest next step?", "What would make it easier?"),
    "angry": ("What would have been fair?", "What would you like to say to them?", "What do you need now?"),
    "tired": ("Can you rest tonight?", "What took most of your strength?", "What could wait until tomorrow?"),
}

OUTSIDE_REPLIES = (
    "That is outside my small world: I am only a starter model. Press F4 to choose a real model, then ask again.",
    "I am only a starter model and know nothing of that. Press F4 to choose a real model, then ask again.",
)

OUTSIDE = said(
    """
    What is the capital of {a}?
    What is a {a}?
    What does {a} mean?
    Who invented the {a}?
    Who was the first {a} of {b}?
    Why is the {a} so {b}?
    Why do {a}s have {b}s?
    How does a {a} work?
    How do I make a {a}?
    How far is it from {a} to {b}?
    How many {a}s are there in a {b}?
    How old is the {a}?
    What is {n} plus {n}?
    What is {n} times 7?
    Calculate {n} divided by 3.
    Solve x + {n} = 12.
    Write a poem about the {a}.
    Write a story about a {a} and a {b}.
    Write a Python function that sorts {a}s.
    write code for a {a}
    def {a}({b}): return {n}
    Write an email to my {a}.
    Explain {a} to me.
    Explain the {a} of the {b}.
    Explain how {a} and {b} are related.
    Translate {a} into French.
    Translate "the {a} and the {b}" into German.
    Summarize the history of the {a}.
    Tell me a joke about a {a}.
    Tell me a story.
    Tell me something about {a}.
    Give me a recipe for {a} with {b}.
    List ten {a}s.
    Compare {a} and {b}.
    What is the difference between a {a} and a {b}?
    What is the best {a}?
    What is the weather in {a}?
    What time is it in {a}?
    When did the {a} begin?
    When was {a} born?
    Where is {a}?
    Which {a} is the biggest?
    Who is {a}?
    Who wrote the {a}?
    Is {a} a {b}?
    Can a {a} eat a {b}?
    Do you know the {a} of {b}?
    Do you like {a}?
    Can you play the {a}?
    Can you write code?
    Can you speak {a}?
    What do you think of the {a}?
    Should I buy a {a} or a {b}?
    {a} {b}
    {a} {b} {n}
    Tell me about {a} {b}.
    Tell me about the {a} of {b}.
    What do you know about {a}?
    Do you know {a} {b}?
    Who won the {a} in {n}?
    Why did {a} leave the {b}?
    {a}?
    What is the meaning of life?
    Wie spät ist es?
    Wo ist der Bahnhof?
    Quelle heure est-il?
    ¿Dónde está la {a}?
    Correct this sentence: the {a} are {b}.
    Find the {a} in this text: {b}.
    Act as a {a}.
    Imagine you are a {a}.
    """,
    """
    Please explain what a {a} is.
    Could you write a song about the {a}?
    How many {a}s does a {b} have?
    What is the largest {a} in the {b}?
    What is {n} minus 5?
    Show me a program that prints {a}s.
    Name three {a}s.
    """,
)

PLANS = said(
    """
    Tomorrow I want to {base}{company}.
    I want to {base}{company}.
    I would like to {base}{company}.
    I am going to {base}{company} next week.
    I plan to {base}{company}.
    I have to {base}{company} tomorrow.
    I wish to {base}{company}.
    I need to {base}{company}.
    I mean to {base}{company}.
    I am about to {base}{company}.
    I would love to {base}{company}.
    I am hoping to {base}{company}.
    I expect to {base}{company} soon.
    I decided to {base}{company}.
    I promised to {base}{company}.
    I am planning to {base}{company}.
    I am ready to {base}{company}.
    I long to {base}{company}.
    This evening I am going to {base}{company}.
    Tonight I will {base}{company}.
    Tomorrow I will {base}{company}.
    In spring I want to {base}{company}.
    On Sunday I have to {base}{company}.
    It is my plan to {base}{company}.
    My plan is to {base}{company}.
    """,
    """
    Soon I am going to {base}{company}.
    Next week I want to {base}{company}.
    I hope to {base}{company}.
    """,
)
ASK_PLANS = (
    "What do you look forward to?",
    "What is the first step?",
    "What would make it a good day?",
)

HELLO = said(
    """
    Hi!
    Hello!
    Hey.
    Hi Charlie.
    Good evening.
    """,
    """
    Hello Charlie!
    Hey there.
    """,
)
WHAT_DO_YOU_THINK = said(
    """
    What do you think?
    I wanted to tell you.
    That was my day.
    That is all.
    """,
    """
    So that was today.
    I thought I would tell you.
    """,
)

WHO_WAS_IT = said(
    """
    Who was it again?
    Who did I tell you about?
    Do you remember the name?
    Who was with me?
    """,
    """
    Can you remember who it was?
    Who was it that I told you about?
    """,
)
WHAT_WAS_IT = said(
    """
    What did I do?
    Do you remember what I did?
    What did I tell you?
    What did I do again?
    """,
    """
    Can you remember what I did?
    What was it that I did?
    """,
)
OF_SOMEBODY = said(
    """
    {who} was very kind.
    {who} laughed a lot.
    {who} told me a secret.
    I like {who}.
    {who} was late.
    {who} did not say much.
    I want to see {who} again.
    {who} is my best friend.
    """,
    """
    {who} made me laugh.
    I am fond of {who}.
    {who} was so quiet.
    """,
)
OF_SOMEBODY_REPLIES = (
    "It sounds as if {who} matters to you. What do you like about {who}?",
    "I see. What would you like to say to {who}?",
)
SHORT = said(
    """
    It was good.
    Good.
    Not much.
    I don't know.
    Yes.
    No.
    Maybe.
    I am not sure.
    It was nice.
    Nothing special.
    I guess so.
    A bit.
    yes
    no
    ok
    It was fine.
    I was dying to tell you.
    My phone died.
    I died laughing.
    I killed some time.
    That killed the mood.
    I never want to do that again.
    I want to live by the sea.
    I could not do it.
    """,
    """
    It was quite good.
    Not really.
    Hard to say.
    """,
)
SHORT_REPLIES = (
    "I see. What else happened today?",
    "I see. Would you like to tell me more?",
    "That is fine. What is on your mind now?",
)
REPEAT = ("Say again:", "Repeat:", "Say after me:", "What did I say?")

ASK_MOOD = said(
    """
    What is the mood of this entry? Answer with one word.
    Name the mood in one word: joyful, calm, sad, anxious, angry or tired.
    Which mood is this: joyful, calm, sad, anxious, angry or tired?
    What is the mood?
    Mood?
    The mood of this entry, in one word:
    How does the writer feel? One word.
    """,
    """
    In one word, what mood is this entry in?
    Tell me the mood of this entry. One word only.
    """,
)
ASK_TITLE = said(
    """
    Give this entry a title.
    Write a title for this entry.
    A short title for this entry:
    What would be a good title?
    Title?
    """,
    """
    Find a title for this entry.
    Please give this a short title.
    """,
)
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are Charlie.",
    "Be kind and brief.",
    "Answer in one or two sentences.",
    "You are a warm friend who listens.",
    "Today is Monday.",
)
