"""The key bindings of a screen as a list, from which help and palette are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from textual.actions import parse
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen


@dataclass(frozen=True)
class Shortcut:
    """One action with its keys as they are displayed, and the node that runs it."""

    keys: tuple[str, ...]
    title: str
    help: str
    action: str
    node: DOMNode
    enabled: bool


def shortcuts(screen: Screen[Any], keymap: Mapping[str, str]) -> list[Shortcut]:
    """The actions of the screen, then of its widgets, then of the app.

    A widget of Textual's is included only if it has the focus; its cursor keys would fill the list.
    """
    found: dict[tuple[DOMNode, str], Shortcut] = {}
    for node in (screen, *_widgets(screen), screen.app):
        for binding in _bindings(node):
            if not binding.description:
                continue
            key = (node, binding.action)
            keys = tuple(
                screen.app.get_key_display(binding.with_key(each.strip()))
                for each in keymap.get(binding.id or "", binding.key).split(",")
            )
            if old := found.get(key):
                keys = old.keys + keys
            found[key] = Shortcut(
                keys, binding.description, binding.tooltip, binding.action, node, _enabled(node, binding)
            )
    return list(found.values())


def named_bindings() -> Iterator[tuple[type[DOMNode], Binding]]:
    """All bindings with an id, which a keymap can change, with their class; also those of screens not yet visited."""
    kinds, seen = [DOMNode], {DOMNode}
    while kinds:
        kind = kinds.pop()
        below = set(kind.__subclasses__()) - seen
        kinds.extend(below)
        seen |= below
        yield from ((kind, each) for each in Binding.make_bindings(kind.__dict__.get("BINDINGS", ())) if each.id)


def clashes(keymap: Mapping[str, str]) -> list[str]:
    """One clause for each key of the keymap that another action has, in the same class or in the whole app.

    Textual's own check overlooks a binding that has an id and is not in the keymap.
    """
    named = [(kind, each) for kind, each in named_bindings() if kind.__module__.startswith("app.")]
    found = set()
    for kind, moved in named:
        if moved.id not in keymap:
            continue
        for other, taken in named:
            meet = kind is other or issubclass(kind, App) or issubclass(other, App)
            if meet and taken.id != moved.id:
                pair = " and of ".join(sorted((str(moved.id), str(taken.id))))
                found |= {f"{key} is the key of {pair}" for key in _keys(moved, keymap) & _keys(taken, keymap)}
    return sorted(found)


def _keys(binding: Binding, keymap: Mapping[str, str]) -> set[str]:
    return {key.strip() for key in (keymap.get(binding.id or "") or binding.key).split(",")}


def _widgets(screen: Screen[Any]) -> Iterator[DOMNode]:
    """Each kind of widget once, the focused one of its kind first."""
    kinds: set[type[DOMNode]] = set()
    focused = [screen.focused] if screen.focused is not None else []
    for node in (*focused, *screen.walk_children()):
        if type(node) in kinds:
            continue
        if node in focused or type(node).__module__.startswith("app."):
            kinds.add(type(node))
            yield node


def _bindings(node: DOMNode) -> Iterator[Binding]:
    """The bindings of a node's classes; of Textual's classes, only those of the node's own class."""
    seen: set[str] = set()
    for kind in type(node).__mro__:
        own = kind.__module__.startswith("app.")
        if not own and kind is not type(node):
            continue
        for binding in Binding.make_bindings(kind.__dict__.get("BINDINGS", ())):
            if binding.key not in seen and not binding.system:
                seen.add(binding.key)
                yield binding


def _enabled(node: DOMNode, binding: Binding) -> bool:
    _, name, parameters = parse(binding.action)
    return node.check_action(name, parameters) is True
