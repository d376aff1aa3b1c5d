"""`charlie ask`: sends one message to the model and streams the reply to stdout."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from app.commands.library.records import find_conversation
from app.commands.output import AsJson, data, data_json, note, note_limits
from app.commands.session import read_text, session
from tasks.jobs.records import Hits, Text

MaxTokens = Annotated[int | None, typer.Option(min=1, help="Limit of the reply's tokens.")]
Temperature = Annotated[float | None, typer.Option(min=0, max=5, help="0 always chooses the likeliest token.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same reply.")]


def ask(
    text: Annotated[str | None, typer.Argument(help="The message; `-` reads standard input.")] = None,
    as_json: AsJson = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    conversation: Annotated[str | None, typer.Option(metavar="ID", help="Continue this conversation.")] = None,
) -> None:
    message = read_text(text, "message")
    with session(worker=True) as running:
        conversations = running.client.conversations
        used = find_conversation(running.client, conversation) if conversation else conversations.new_conversation()
        if conversation is None and sys.stderr.isatty():
            note(f"Conversation {used.id}")
        options = sampling(max_tokens, temperature, seed)
        printer = Printer(silent=as_json)
        result = running.follow(lambda: running.client.chat(used.id, message, **options), printer.take)
        if as_json:
            data_json(result)
        else:
            printer.end()
            note_limits(result)


def sampling(max_tokens: int | None, temperature: float | None, seed: int | None) -> dict[str, Any]:
    """The given options, without the missing ones."""
    options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    return {key: value for key, value in options.items() if value is not None}


class Printer:
    """Streams a reply to stdout and ends its last line."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._line_ended = True

    def take(self, output: Text | Hits) -> None:
        if self._silent or not isinstance(output, Text) or not output.text:
            return
        data(output.text, end="")
        self._line_ended = output.text.endswith("\n")

    def end(self) -> None:
        if not self._line_ended:
            data("")
