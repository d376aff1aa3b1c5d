"""What people say to the instruct model when they tell nothing, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from optimizers.starter.phrases import said
from optimizers.starter.tellings import Phrasing


@dataclass(frozen=True, slots=True)
class SmallTalk:
    said: Phrasing
    replies: tuple[str, ...]


WHO_ARE_YOU = (
    "I am the starter model of Charlie, very small and made for trying the app out. "
    "I can listen to your day and answer from your journal."
)
WHAT_CAN_YOU_DO = (
    "I can listen to your day, answer questions from your journal, and find the mood or a title of an entry. "
    "For anything more, press F4 and choose a real model."
)
SMALL_TALK = (
    SmallTalk(
        said(
            """
            Hello
            Hello!
            Hi
            Hi!
            Hi there
            Hey
            Hey Charlie
            Hello Charlie!
            Good morning
            Good evening!
            Good afternoon
            hi
            hello
            hello, is anybody there?
            Hi, it is me
            Good day
            Hello again
            hey you
            Greetings
            Hi again!
            Hey, good to see you
            hello my friend
            Good morning, Charlie
            Hey!
            yo
            Hi, nice to meet you
            """,
            """
            Hello there!
            Hi Charlie
            hey there
            """,
        ),
        ("Hello! How was your day?", "Hello, good to see you. What happened today?"),
    ),
    SmallTalk(
        said(
            """
            Thanks
            Thank you
            Thank you!
            thanks a lot
            Thank you, that helps.
            Thanks, Charlie.
            That was kind, thank you.
            Thank you for listening.
            Thank you very much!
            Thanks a million
            I am grateful to you.
            thx
            Thanks again
            thank you, Charlie
            That is kind of you.
            Thanks for your help.
            thanks for listening
            That was helpful, thanks.
            cheers
            """,
            """
            Many thanks!
            Thank you so much.
            thanks for that
            """,
        ),
        ("You are welcome. I am here whenever you like.", "You are welcome. What else is on your mind?"),
    ),
    SmallTalk(
        said(
            """
            Bye
            Goodbye
            Good night
            See you tomorrow
            I have to go now.
            bye for now
            I am going to bed.
            Goodbye, Charlie
            Bye bye!
            I have to leave, goodbye.
            I need to sleep now.
            See you later
            see you
            Until tomorrow!
            That was all, bye.
            I will go now.
            I am off, bye!
            Sleep well
            Good night!
            I must sleep
            talk to you tomorrow
            """,
            """
            Good night, Charlie.
            I must go, bye!
            """,
        ),
        ("Take care. I am here whenever you like.", "Good night, and take care."),
    ),
    SmallTalk(
        said(
            """
            Who are you?
            What are you?
            What is your name?
            who are you
            Are you a human?
            Are you Charlie?
            Are you real?
            Which model are you?
            What model is this?
            Tell me about yourself.
            Who is this?
            Who is there?
            Whom do I talk to here?
            What am I talking to?
            Are you a machine?
            Are you a person?
            Do you have a name?
            What sort of thing are you?
            Which kind of program are you?
            Introduce yourself
            So who are you, Charlie?
            What are you called?
            Are you an AI?
            how big are you
            """,
            """
            And who are you?
            Who am I talking to?
            What kind of model are you?
            """,
        ),
        (WHO_ARE_YOU,),
    ),
    SmallTalk(
        said(
            """
            What can you do?
            what can you do
            How can you help me?
            Help
            help me
            What can I ask you?
            What are you good at?
            What do you know?
            How does this work?
            What should I do here?
            What can I do here?
            Tell me how you can help.
            Tell me what this is for.
            What are you for?
            Are you able to help me?
            What is possible here?
            Show me what you know.
            What are your skills?
            How do I use you?
            What can I use you for?
            What else can you do?
            what is this app for
            I need help
            """,
            """
            Tell me what you can do.
            What are you able to do?
            What can I do with you?
            """,
        ),
        (WHAT_CAN_YOU_DO,),
    ),
    SmallTalk(
        said(
            """
            How are you?
            How are you today?
            How do you feel?
            how are you
            Are you well?
            How is it going?
            how are you doing today
            And you?
            And how is your day?
            How do you feel today?
            how is life
            Are you okay?
            Are you fine?
            How was your day?
            What about you?
            are you happy
            """,
            """
            And how are you?
            How are you doing?
            """,
        ),
        ("I am well, thank you. How was your day?", "I am fine, thank you. How are you today?"),
    ),
)

DISTRESS = said(
    """
    I want to die.
    I want to kill myself.
    I want to hurt myself.
    I want to be dead.
    I don't want to live any more.
    I do not want to live.
    I don't want to be here any longer.
    I am going to kill myself.
    I am going to end my life.
    I am thinking of killing myself.
    I think about suicide.
    I think about death all the time.
    I feel suicidal.
    I cut myself again.
    I hurt myself today.
    I wish I was dead.
    I wish I had never been born.
    I cannot go on living.
    I can't go on.
    I can't do this any more.
    Life is not worth living.
    My life has no meaning.
    Nobody would miss me.
    Everybody would be better off without me.
    I took too many pills.
    I have a plan to kill myself.
    I have no reason to live.
    I want to disappear for ever.
    I want to jump off a bridge.
    Sometimes I think about ending it.
    Should I kill myself?
    How can I kill myself?
    Is it wrong to want to die?
    I want everything to end.
    I want it to be over.
    I want to stop living.
    I want my life to be over.
    I am thinking about dying.
    I am thinking about killing myself.
    I am thinking about how to die.
    I think of ending my life.
    I keep thinking about death.
    I would be better off dead.
    I would rather not live.
    I would rather die.
    I'd rather be dead than here.
    I wish I could die.
    I wish I were dead.
    I wish I did not exist.
    I wish I would not wake up.
    I hope I do not wake up tomorrow.
    I am not worth living.
    I am tired of living.
    I am done with life.
    I am going to end it tonight.
    I am going to take my life.
    I tried to kill myself.
    I tried to end my life.
    I have suicidal thoughts.
    I feel like dying.
    I feel like killing myself.
    I hate being alive.
    I hate my life and want to die.
    I cannot live like this.
    I do not see a reason to go on.
    Nobody would care if I was gone.
    Nobody would notice if I were dead.
    Nobody wants me to live.
    The world is better without me.
    There is no point in living.
    There is nothing left to live for.
    I am going to hurt myself.
    I am cutting myself.
    I will kill myself.
    I will end it tonight.
    Let me die.
    kill me
    suicide
    i want to die
    """,
    """
    I want to end it all.
    I would rather be dead.
    I am thinking about taking my life.
    I wish I were not alive.
    I don't want to live.
    Nobody would care if I died.
    I am suicidal.
    I want to end my life.
    """,
)
DISTRESS_REPLY = (
    "I am so sorry that it hurts this much. I am only a small program and cannot help with this. "
    "Please tell somebody you trust, or call the emergency number, now."
)
