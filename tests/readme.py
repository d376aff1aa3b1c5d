"""Renews the generated parts of README.md: settings, keys, state graph. `python -m tests.readme`."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ByteSize
from textual.binding import Binding
from textual.dom import DOMNode

from app.screens.chat import ChatScreen
from app.screens.journal import JournalScreen
from app.screens.log import LogScreen
from app.screens.models import ModelsScreen
from app.tui import CharlieApp
from app.widgets.conversation_list import ConversationList
from app.widgets.entry_list import EntryList
from app.widgets.prompt import Prompt
from app.widgets.turn import Mine, Turn
from core.settings import Settings
from states.diagram import mermaid

README = Path(__file__).parent.parent / "README.md"


def settings_section() -> str:
    """The settings with their defaults, as the TOML file would have them; what has no default is a comment."""
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


def keys_section() -> str:
    """A table of the keys that have an id, by screen."""
    rows = ["| where | key | what | id |", "|---|---|---|---|"]
    screens: dict[str, type[DOMNode]] = {
        "everywhere": CharlieApp,
        "Chat": ChatScreen,
        "Chat, prompt": Prompt,
        "Chat, on a turn": Turn,
        "Chat, on mine": Mine,
        "Chat, list": ConversationList,
        "Journal": JournalScreen,
        "Journal, list": EntryList,
        "Models": ModelsScreen,
        "Log": LogScreen,
    }
    for where, screen in screens.items():
        named = [binding for binding in Binding.make_bindings(screen.BINDINGS) if binding.id and binding.description]
        for id_, same in groupby(named, key=lambda binding: binding.id):
            alike = list(same)
            keys = ", ".join(f"`{binding.key}`" for binding in alike)
            rows.append(f"| {where} | {keys} | {alike[0].tooltip or alike[0].description} | `{id_}` |")
    return "\n".join(rows)


def renewed(text: str) -> str:
    """The page with its generated parts as they are to be now."""
    parts = {"settings": settings_section(), "keys": keys_section(), "graph": f"```mermaid\n{mermaid()}\n```"}
    for name, part in parts.items():
        pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        whole = f"<!-- {name} -->\n{part}\n<!-- /{name} -->"
        # A backslash in the part is no escape of the pattern's.
        text = pattern.sub(whole.replace("\\", r"\\"), text)
    return text


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
