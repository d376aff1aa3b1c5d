"""`charlie ask`: one message to the model, its reply on stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tasks.jobs import Hits, Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Most tokens of the reply.")]
Temperature = Annotated[float | None, typer.Option(min=0, max=5, help="0 always takes the likeliest token.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed draws the same reply.")]


def ask(
    text: Annotated[str | None, typer.Argument(help="The message; `-` reads standard input.")] = None,
    as_json: AsJson = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    conversation: Annotated[str | None, typer.Option(metavar="ID", help="Go on with this conversation.")] = None,
) -> None:
    """Ask the model, and print its reply as it is made."""
    from app.commands.session import read_text, session, tell_about
    from app.output import data_json, talk

    message = read_text(text, "message")
    with session(worker=True) as running:
        library = running.client.library
        known = library.conversation(conversation) if conversation else library.new_conversation()
        if conversation is None and sys.stderr.isatty():
            talk(f"Conversation {known.id}")
        options = given(max_tokens, temperature, seed)
        printer = Printer(silent=as_json)
        result = running.follow(lambda: running.client.chat(known.id, message, **options), printer.take)
        if as_json:
            data_json(result)
        else:
            printer.end()
            tell_about(result)


def given(max_tokens: int | None, temperature: float | None, seed: int | None) -> dict[str, Any]:
    """The sampling options that were given."""
    options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    return {key: value for key, value in options.items() if value is not None}


class Printer:
    """Prints text as it comes, and sees to it that the last line ends on a terminal."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._ended = True

    def take(self, output: Text | Hits) -> None:
        from app.output import data
        from tasks.jobs import Text

        if self._silent or not isinstance(output, Text) or not output.text:
            return
        data(output.text, end="")
        self._ended = output.text.endswith("\n")

    def end(self) -> None:
        from app.output import data

        if not self._ended:
            data("")
