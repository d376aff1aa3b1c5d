"""Renews the generated parts of the README pages: `python -m tests.readme`."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, ByteSize
from textual.binding import Binding
from textual.dom import DOMNode

from app.command_line import COMMANDS, load_command
from app.tui.app import CharlieApp
from app.tui.chat.conversation_list import ConversationList
from app.tui.chat.prompt import Prompt
from app.tui.chat.reply import Reply
from app.tui.chat.screen import ChatScreen
from app.tui.chat.turn import Turn, UserTurn
from app.tui.journal.entry_editor import Editor
from app.tui.journal.entry_list import EntryList
from app.tui.journal.screen import JournalScreen
from app.tui.library.history import HistoryScreen
from app.tui.library.trash import TrashScreen
from app.tui.log.screen import LogScreen
from app.tui.models.screen import ModelsScreen
from app.tui.shared.dialogs import ConfirmDialog
from app.tui.shared.typing_fields import TypingArea
from core.database import keys
from core.settings import Settings
from states.diagram import mermaid

ROOT = Path(__file__).parent.parent


def settings_part() -> str:
    """The settings with their defaults, as the TOML file would have them; a setting without a default is a comment."""
    plain: list[str] = []
    tables: list[str] = []
    for name, value in Settings.model_construct():
        if isinstance(value, BaseModel):
            tables += _table(name, value)
        else:
            plain.append(_line(name, value))
    return "```toml\n" + "\n".join([*plain, *tables]) + "\n```"


def _table(name: str, section: BaseModel) -> list[str]:
    inner = [(key, value) for key, value in section if isinstance(value, BaseModel)]
    lines = ["", f"[{name}]", *(_line(key, value) for key, value in section if not isinstance(value, BaseModel))]
    for key, value in inner:
        lines += _table(f"{name}.{key}", value)
    return lines


def _line(key: str, value: Any) -> str:
    if value is None:
        return f"# {key} ="
    if isinstance(value, ByteSize):
        return f'{key} = "{value.human_readable()}"'
    return f"{key} = {{}}" if value == {} else f"{key} = {json.dumps(value)}"


def keys_part() -> str:
    """A table of the keys that have an id, by screen."""
    rows = ["| where | key | what | id |", "|---|---|---|---|"]
    screens: dict[str, type[DOMNode]] = {
        "everywhere": CharlieApp,
        "Chat": ChatScreen,
        "Chat, prompt": Prompt,
        "Chat, on a turn": Turn,
        "Chat, on your turn": UserTurn,
        "Chat, on a reply": Reply,
        "Chat, list": ConversationList,
        "Journal": JournalScreen,
        "Journal, list": EntryList,
        "Journal, editor": Editor,
        "Models": ModelsScreen,
        "Log": LogScreen,
        "where text is typed": TypingArea,
        "History": HistoryScreen,
        "Trash": TrashScreen,
        "a question": ConfirmDialog,
    }
    for where, screen in screens.items():
        named = [binding for binding in Binding.make_bindings(screen.BINDINGS) if binding.id and binding.description]
        for id_, same in groupby(named, key=lambda binding: binding.id):
            alike = list(same)
            shown = ", ".join(f"`{binding.key}`" for binding in alike)
            rows.append(f"| {where} | {shown} | {alike[0].tooltip or alike[0].description} | `{id_}` |")
    return "\n".join(rows)


def commands_part() -> str:
    """A table of all commands, each with its arguments and its help."""
    rows = [row for name in COMMANDS for row in _commands(f"charlie {name}", load_command(name))]
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def _commands(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for each in command.list_commands(context):
            yield from _commands(f"{name} {each}", command.get_command(context, each))
        return
    words = [name]
    for each in command.params:
        if each.param_type_name == "argument":
            word = (each.metavar or each.name).upper()
            words.append(word if each.required else f"[{word}]")
    yield f"| `{' '.join(words)}` | {' '.join(command.help.split())} |"


def redis_keys_part() -> str:
    """A table of the Redis keys: each constant and function of core/database/keys.py with its docstring."""
    rows = ["| key | what is under it |", "|---|---|"]
    for node, after in pairwise([*ast.parse(inspect.getsource(keys)).body, ast.Pass()]):
        match node, after:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                key = getattr(keys, name)
            case ast.FunctionDef(name=name), _:
                function = getattr(keys, name)
                (parameter,) = inspect.signature(function).parameters
                key, text = function(f"<{parameter.rstrip('_')}>"), function.__doc__
            case _:
                continue
        rows.append(f"| `{key}` | {' '.join(text.split())} |")
    return "\n".join(rows)


def graph_part() -> str:
    """Without the styles, which mark a live state."""
    lines = [line for line in mermaid().splitlines() if not line.strip().lower().startswith("class") and line.strip()]
    return "\n".join(["```mermaid", *lines, "```"])


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {},
    "CONTRIBUTING.md": {},
    "app/README.md": {"commands": commands_part, "settings": settings_part, "keys": keys_part},
    "core/README.md": {"redis-keys": redis_keys_part},
    "optimizers/README.md": {},
    "states/README.md": {"graph": graph_part},
    "tasks/README.md": {},
    "tests/benchmarks/README.md": {},
}
"""The pages that explain Charlie, each with its generated parts by name."""


def renewed(page: str) -> str:
    """A page with its generated parts as the program has them now."""
    text = (ROOT / page).read_text()
    for name, part in PAGES[page].items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}{begin}{part()}\n{end}{after}"
    return text


if __name__ == "__main__":
    for each in PAGES:
        (ROOT / each).write_text(renewed(each))
