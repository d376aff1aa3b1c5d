"""The commands of `charlie`: a table of them, each imported when it is called."""

from __future__ import annotations

import re
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from app.cli import imported, open_interface

COMMANDS = {
    "ask": ("ask:ask", "Ask the model, and stream its reply."),
    "warm": ("models.manage:warm", "Load a role's model, and print the load time. It is 0 for a warm model."),
    "unload": ("models.manage:unload", "Unload a role's model, or all models."),
    "pin": ("models.manage:pin", "Keep a role's model loaded while it is idle."),
    "cancel": ("jobs:cancel", "Cancel a waiting or running job."),
    "retry": ("jobs:retry", "Index the entry of a parked job again."),
    "drop": ("jobs:drop", "Skip the entry of a parked job. It stays saved but is not searchable."),
    "ps": ("ps:ps", "Show the phase, the queue, the processes and the memory."),
    "events": ("events:events", "Show the events of models, jobs and workers, oldest first."),
    "graph": ("graph:graph", "Export the state graph."),
    "export": ("library.backup:export", "Export the library as Markdown and JSON. An earlier export is updated."),
    "import": ("library.backup:import_", "Import an export. Newer records stay; a second import changes nothing."),
    "backup": ("library.backup:backup", "Make, list, restore and renew the daily backups."),
    "repair": ("library.backup:repair", "Repair a damaged database file. Readable data and the damaged file are kept."),
    "paths": ("paths:paths", "Show the paths of Charlie's files."),
    "doctor": (
        "doctor:doctor",
        "Check the installation, suggest fixes, and list the settings. Exit status 1 when a check fails.",
    ),
    "up": ("up:up", "Run the database and the worker without the interface. Ctrl+C ends them."),
    "worker": ("up:worker", "Run a worker in this process for the database at database.url."),
    "journal": ("library.journal:journal", "Add, edit and search entries, or ask them a question."),
    "conversations": ("library.conversations:conversations", "List, print, rename, export and delete conversations."),
    "trash": ("library.trash:trash", "List deleted texts, and restore or remove them."),
    "models": ("models.manage:models", "List the roles' models, choose others, or download one."),
    "programs": ("programs:programs", "List compiled programs, and choose the ones in use."),
}
"""By name: the module below app.commands with the function or group in it, and the help text."""


def _typer(help_: str | None = None) -> typer.Typer:
    return typer.Typer(help=help_, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def load_command(name: str) -> Any:
    """Import a command or group of COMMANDS."""
    path, help_ = COMMANDS[name]
    target = imported(f"app.commands.{path}")
    single = _typer()
    if not isinstance(target, typer.Typer):
        single.command()(target)
    command = get_group(target) if isinstance(target, typer.Typer) else get_command(single)
    command.help = help_
    return command


class LazyCommand(TyperCommand):
    """Placeholder that imports its command when it is called."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Click runs the command of this context, so the imported one instead of the placeholder."""
        return load_command(str(self.name)).make_context(*args, **extra)


class Charlie(TyperGroup):
    """The command line, with the manners of a Unix program."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """An argument with a space is a text, also when it begins with a dash, so it is put behind `--`."""
        texts = [] if "--" in args else [each for each in args if re.match(r"-[^\s=]*\s", each)]
        if texts:
            args = [*(each for each in args if each not in texts), "--", *texts]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            sys.exit(128 + signal.SIGPIPE)
        except Exception as error:
            if hasattr(error, "possibilities") and hasattr(error, "message"):  # Typer's error for an unknown option
                error.message += ". Write `--` before a text that begins with a dash"
            raise


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"charlie {imported('importlib.metadata:version')('charlie')}")
        raise typer.Exit


def interface(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Open the interface when no command is given."""
    del version  # its callback has done the work
    if context.invoked_subcommand is not None:
        return
    open_interface()


_top = _typer("Chat and journal in the terminal, with an AI that runs on your own machine.")
_top.callback(cls=Charlie, invoke_without_command=True)(interface)
app = get_group(_top)
for _name, (_, _help) in COMMANDS.items():
    app.add_command(LazyCommand(_name, help=_help))
