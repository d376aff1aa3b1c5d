"""Nodes within a budget of bytes as GBNF."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import assert_never

from core.grammar import nodes, patterns
from core.grammar.nodes import (
    COMMA,
    Array,
    Bounded,
    Choice,
    GrammarError,
    Mapping,
    Node,
    Number,
    Object,
    Pattern,
    Text,
    Tuple,
    Union,
)
from core.grammar.repeats import repeated
from core.grammar.shares import share
from core.grammar.texts import Texts

ROOMY = 24
"""A list takes fewer items before it leaves them less bytes than this."""


def write(root: Node, budget: int) -> str:
    """The grammar of `root` in at most `budget` bytes.

    Raises GrammarError when these are too few.
    """
    if root.least > budget:
        raise GrammarError(f"The answer takes up to {root.least} tokens and only {budget} are allowed")
    writer = _Writer()
    writer.texts.rules["root"] = writer.value(root, budget)
    return "\n".join(f"{name} ::= {body}" for name, body in writer.texts.rules.items()) + "\n"


@dataclass(slots=True)
class _Writer:
    """Collects rules; every right-hand side keeps within its budget, which is at least the node's least."""

    texts: Texts = field(default_factory=Texts)

    def value(self, node: Node, budget: int) -> str:
        budget = min(budget, node.most)
        match node:
            case Union(parts):
                return "(" + " | ".join(self.value(part, budget) for part in parts) + ")"
            case Array():
                return self.array(node, budget)
            case Tuple():
                return self.places(node, budget)
            case Object():
                return self.object(node, budget)
            case Mapping():
                return self.mapping(node, budget)
            case _:
                return self.scalar(node, budget)

    def scalar(self, node: Text | Pattern | Number | Bounded | Choice, budget: int) -> str:
        match node:
            case Text(fewest, longest, bare):
                return self.texts.text(fewest, longest, budget - node.frame, bare=bare)
            case Pattern(expression, _, bare):
                text = patterns.gbnf(expression, budget - node.frame)
                return f"({text})" if bare else rf'"\"" ({text}) "\""'
            case Number(whole):
                return self.number(budget, whole=whole)
            case Bounded(numbers):
                return numbers.within(budget).gbnf()
            case Choice(texts):
                return "(" + " | ".join(quote(text) for text in texts) + ")"
            case _:
                assert_never(node)

    def places(self, node: Tuple, budget: int) -> str:
        rooms = share([(item.least, item.most) for item in node.items], budget - 2 - COMMA * len(node.items))
        written = [self.value(item, room) for item, room in zip(node.items, rooms, strict=True)]
        return '"[" ' + ' "," " "? '.join(written) + ' "]"'

    def number(self, budget: int, *, whole: bool) -> str:
        # A sign, and for a fraction its point: in two or three bytes there is none.
        whole = whole or budget < 4
        digits = budget - 1 if whole else (budget - 2) // 2
        name = f"integer{digits}"
        self.texts.rules[name] = f'"-"? ("0" | [1-9] [0-9]{{0,{digits - 1}}})'
        return name if whole else f'{name} ("." [0-9]{{1,{digits}}})?'

    def array(self, node: Array, budget: int) -> str:
        roomy = min(node.item.most, max(node.item.least, ROOMY)) + COMMA
        count = max(node.fewest, min(node.highest, (budget - 2) // roomy))
        if count == 0:
            return '"[]"'
        one = self.rule("item", self.value(node.item, (budget - 2) // count - COMMA))
        body = _row(one, node.fewest, count)
        return f'"[" {body} "]"' if node.fewest else f'"[" ({body})? "]"'

    def object(self, node: Object, budget: int) -> str:
        rooms = share([(value.least, value.most) for _, value in node.members], budget - node.frame)
        written = [self.value(value, room) for (_, value), room in zip(node.members, rooms, strict=True)]
        if node.sections:
            titles = [nodes.section(name) for name, _ in node.members]
            titles[0] = titles[0].lstrip("\n")
            body = " ".join(f"{quote(title)} {value}" for title, value in zip(titles, written, strict=True))
            return f"{body} {quote(nodes.COMPLETED)}"
        keys = [quote(json.dumps(name, ensure_ascii=False)) for name, _ in node.members]
        members = [f'{key} ":" " "? {value}' for key, value in zip(keys, written, strict=True)]
        return '"{" ' + ' "," " "? '.join(members) + ' "}"'

    def mapping(self, node: Mapping, budget: int) -> str:
        key = min(node.key.most, max(node.key.least, nodes.KEY_BYTES))
        roomy = node.member(key, min(node.value.most, max(node.value.least, ROOMY)))
        count = max(node.fewest, min(node.highest, (budget - 2) // roomy))
        if count == 0:
            return '"{}"'
        key = min(key, (budget - 2) // count - node.member(0, node.value.least))
        value = self.value(node.value, (budget - 2) // count - node.member(key, 0))
        one = self.rule("member", f'{self.value(node.key, key)} ":" " "? {value}')
        body = _row(one, node.fewest, count)
        return f'"{{" {body} "}}"' if node.fewest else f'"{{" ({body})? "}}"'

    def rule(self, stem: str, body: str) -> str:
        name = f"{stem}-{len(self.texts.rules)}"
        self.texts.rules[name] = body
        return name


def _row(one: str, fewest: int, count: int) -> str:
    """One to `count` of them, and at least `fewest`, with commas between."""
    if count == 1:
        return one
    return f"{one} " + repeated(f'("," " "? {one})', max(0, fewest - 1), count - 1)


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
