"""The `charlie` command. Nothing is imported here but Typer: a command imports what it needs when it is called."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Annotated

import typer

from app.commands import aside, ask, backup, doctor, graph, journal, models, programs, repair, runtime, status

app = typer.Typer(
    help="Chat and journal in the terminal, with an AI that runs on your own machine.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(ask.ask)
app.add_typer(journal.journal, name="journal")
app.command()(runtime.warm)
app.command()(runtime.unload)
app.command()(runtime.cancel)
app.command()(aside.retry)
app.command()(aside.drop)
app.command()(status.ps)
app.command()(status.events)
app.add_typer(models.models, name="models")
app.add_typer(programs.programs, name="programs")
app.command()(graph.graph)
app.command()(backup.export)
app.command("import")(backup.import_)
app.command()(repair.repair)
app.command()(status.paths)
app.command()(doctor.doctor)
app.command()(runtime.up)
app.command()(runtime.worker)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"charlie {version('charlie')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def interface(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Without a command, open the interface."""
    del version  # its callback has done the work
    if context.invoked_subcommand is not None:
        return
    from core.errors import CharlieError

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CharlieError("The interface needs a terminal.", "`charlie ask` works in a pipe.")
    gc.disable()  # the interface collects garbage itself
    # Between two redraws Textual waits 1/60 s, and a key that comes in the middle of one would wait for that as well.
    os.environ.setdefault("TEXTUAL_FPS", "120")
    from app.commands.session import end_in_order, make_client
    from app.runtime import Runtime

    client = make_client()
    end_in_order()
    with Runtime(client) as running:
        from app.terminal_bytes import tolerate_all
        from app.tui import CharlieApp

        tolerate_all()
        interface = CharlieApp(client, running.tick, running.notice)
        gc.freeze()  # modules and classes stay for good
        interface.run()
        signal.alarm(0)  # set when the terminal was closed, in case the interface cannot end
        for number in (signal.SIGTERM, signal.SIGHUP):  # it is ending already
            signal.signal(number, signal.SIG_IGN)
        if interface.failure is not None:
            raise interface.failure
    raise typer.Exit(interface.return_code or 0)


def main() -> None:
    """Run the command line. Every failure ends in one sentence on stderr and exit status 1."""
    os.umask(0o077)  # what this process and those it starts write is nobody else's, wherever the folders are
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # the real streams are TextIOWrapper
    try:
        app(prog_name="charlie")
    except KeyboardInterrupt:  # once more, while the first one was being answered
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  # it is told and logged
        from app.output import tell

        tell(error)
        sys.exit(1)
    finally:
        # It ends: at the last Python gives its own handler back, and one more Ctrl+C would kill instead.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
