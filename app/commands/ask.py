"""`charlie ask`: sends one message to the model and streams the reply to stdout."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from app.commands.library.records import find_conversation
from app.commands.output import AsJson, aside, data, data_json, note, note_limits
from app.commands.session import read_text, session
from core.settings import Thinking
from tasks.jobs.records import Hits, Piece, Text, Thought

MaxTokens = Annotated[int | None, typer.Option(min=1, help="Limit of the reply's tokens.")]
Temperature = Annotated[float | None, typer.Option(min=0, max=5, help="0 always chooses the likeliest token.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same reply.")]
Think = Annotated[Thinking | None, typer.Option("--thinking", help="Whether the model thinks first, if it can.")]
ShowThinking = Annotated[bool, typer.Option("--show-thinking", help="Print the thought to stderr, before the answer.")]


def ask(
    text: Annotated[str | None, typer.Argument(help="The message; `-` reads standard input.")] = None,
    as_json: AsJson = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    thinking: Think = None,
    show_thinking: ShowThinking = False,
    conversation: Annotated[str | None, typer.Option(metavar="ID", help="Continue this conversation.")] = None,
) -> None:
    message = read_text(text, "message")
    with session(worker=True) as running:
        conversations = running.client.conversations
        used = find_conversation(running.client, conversation) if conversation else conversations.new_conversation()
        if conversation is None and sys.stderr.isatty():
            note(f"Conversation {used.id}")
        options = sampling(max_tokens, temperature, seed)
        printer = Printer(silent=as_json, thoughts=show_thinking)
        result = running.follow(
            lambda: running.client.chat(used.id, message, thinking=thinking, **options), printer.take
        )
        printer.end()
        if as_json:
            data_json(result)
        else:
            note_limits(result)
            if result.get("distress"):
                note(running.client.settings.support.line)


def sampling(max_tokens: int | None, temperature: float | None, seed: int | None) -> dict[str, Any]:
    """The given options, without the missing ones."""
    options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    return {key: value for key, value in options.items() if value is not None}


class Printer:
    """Streams a reply to stdout and ends its last line; a thought to stderr, if that is to be shown."""

    def __init__(self, *, silent: bool, thoughts: bool = False) -> None:
        self._silent = silent
        self._thoughts = thoughts
        self._thinking = False
        self._line_ended = True

    def take(self, output: Piece) -> None:
        match output:
            case Thought(text) if self._thoughts:
                aside(text)
                self._thinking = True
            case Text(text) if text and not self._silent:
                self._end_thought()
                data(text, end="")
                self._line_ended = text.endswith("\n")
            case Thought() | Text() | Hits():
                pass

    def end(self) -> None:
        self._end_thought()
        if not self._line_ended:
            data("")

    def _end_thought(self) -> None:
        if self._thinking:
            aside("\n\n")
            self._thinking = False
