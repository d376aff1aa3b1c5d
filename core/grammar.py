"""A bounded grammar (GBNF) from a JSON schema: what a model writes under it parses, and it always ends.

llama.cpp's own conversion allows strings without end and raw control characters, so that a small model runs
into `max_tokens` in the middle of a value. Here every value has a bound in bytes, and a token is never less
than a byte: a grammar of at most `budget` bytes is written in at most `budget` tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

STRING_BYTES = 1024
"""The most bytes between the quotes of one string."""
ITEMS = 8
"""The most items of a list whose schema sets no `maxItems`."""
ITEM_BYTES = 24
"""A list takes fewer items before it leaves them less than this."""
DEPTH = 3
"""Levels of nesting where the schema leaves the shape open."""
DIGITS = 15

OPEN = {"anyOf": [{"type": kind} for kind in ("string", "integer", "number", "boolean", "null")]}


class GrammarError(ValueError):
    """The schema has no bounded grammar, or the budget is too small for it."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the schema: its bytes at least, and at most (as many as it could use)."""

    kind: str
    least: int
    most: int
    children: tuple[Node, ...] = ()
    literals: tuple[str, ...] = ()
    items: tuple[int, int] = (0, 0)


def bounded_grammar(schema: dict[str, Any] | None, budget: int) -> str:
    """The GBNF text for `schema` (any JSON object when None), at most `budget` bytes of JSON.

    Raises GrammarError when the schema uses what is not supported or `budget` is too small.
    """
    definitions = (schema or {}).get("$defs", {})
    root = _open_object(DEPTH) if schema is None else _node(schema, definitions, ())
    if root.least > budget:
        raise GrammarError(f"The answer takes up to {root.least} tokens and only {budget} are allowed")
    writer = _Writer()
    writer.rules["root"] = writer.value(root, budget)
    return "\n".join(f"{name} ::= {body}" for name, body in writer.rules.items()) + "\n"


def _node(schema: dict[str, Any], definitions: dict[str, Any], seen: tuple[str, ...]) -> Node:
    if reference := schema.get("$ref"):
        name = str(reference).removeprefix("#/$defs/")
        if name in seen or name not in definitions:
            raise GrammarError(f"The schema's reference {reference} is recursive or unknown")
        return _node(definitions[name], definitions, (*seen, name))
    if "const" in schema:
        return _literals([schema["const"]])
    if "enum" in schema:
        return _literals(schema["enum"])
    if parts := schema.get("anyOf") or schema.get("oneOf"):
        return _union(tuple(_node(part, definitions, seen) for part in parts))
    return _typed(schema, definitions, seen)


def _typed(schema: dict[str, Any], definitions: dict[str, Any], seen: tuple[str, ...]) -> Node:
    match schema.get("type"):
        case "string":
            return Node("string", 2, 2 + min(STRING_BYTES, schema.get("maxLength", STRING_BYTES)))
        case "integer":
            return Node("integer", 2, 1 + DIGITS)
        case "number":
            return Node("number", 4, 2 + 2 * DIGITS)
        case "boolean":
            return _literals([True, False])
        case "null":
            return _literals([None])
        case "array":
            item = _node(schema.get("items") or OPEN, definitions, seen)
            return _array(item, schema.get("minItems", 0), schema.get("maxItems"))
        case "object":
            return _object(schema, definitions, seen)
        case other:
            raise GrammarError(f"The schema's type {other!r} is not supported")


def _literals(values: list[Any]) -> Node:
    texts = tuple(json.dumps(value, ensure_ascii=False) for value in values)
    size = max(len(text.encode()) for text in texts)
    return Node("literal", size, size, literals=texts)


def _union(children: tuple[Node, ...]) -> Node:
    return Node("union", max(child.least for child in children), max(child.most for child in children), children)


def _array(item: Node, fewest: int, most: int | None) -> Node:
    most = max(fewest, ITEMS if most is None else min(most, 4 * ITEMS))
    # An item comes with its comma and a space.
    return Node("array", 2 + fewest * (item.least + 2), 2 + most * (item.most + 2), (item,), (), (fewest, most))


def _object(schema: dict[str, Any], definitions: dict[str, Any], seen: tuple[str, ...]) -> Node:
    properties = schema.get("properties", {})
    if not properties and schema.get("additionalProperties") not in (None, False):
        return _open_object(DEPTH - 1)
    children = tuple(_node(part, definitions, seen) for part in properties.values())
    keys = tuple(json.dumps(name, ensure_ascii=False) for name in properties)
    # A member has its key, a colon and a comma, each of which may be followed by a space.
    frame = 2 + sum(len(key.encode()) + 4 for key in keys)
    return Node(
        "object",
        frame + sum(child.least for child in children),
        frame + sum(child.most for child in children),
        children,
        keys,
    )


def _open_object(depth: int) -> Node:
    scalars = tuple(_node(part, {}, ()) for part in OPEN["anyOf"])
    value = _union((*scalars, _array(scalars[0], 0, None), _open_object(depth - 1)) if depth > 1 else scalars)
    member = 2 + ITEM_BYTES + 4
    return Node("members", 2, 2 + ITEMS * (member + value.most), (value,), (), (0, ITEMS))


@dataclass(slots=True)
class _Writer:
    """Collects rules. `s<n>` is a rest of a string of at most n bytes, shared by all strings."""

    rules: dict[str, str] = field(default_factory=dict)

    def value(self, node: Node, budget: int) -> str:
        """The right-hand side for `node` within `budget` bytes (at least `node.least`)."""
        budget = min(budget, node.most)
        match node.kind:
            case "string":
                return rf'"\"" {self.string(budget - 2)} "\""'
            case "integer":
                return self.digits("integer", budget - 1)
            case "number":
                whole = self.digits("integer", (budget - 2) // 2)
                return f'{whole} ("." [0-9]{{1,{(budget - 2) // 2}}})?'
            case "literal":
                return "(" + " | ".join(_quote(text) for text in node.literals) + ")"
            case "union":
                return "(" + " | ".join(self.value(child, budget) for child in node.children) + ")"
            case "array":
                return self.array(node, budget)
            case "object":
                return self.object(node, budget)
            case "members":
                return self.members(node, budget)
            case other:
                raise AssertionError(other)

    def string(self, size: int) -> str:
        # One rule per number of bytes left. Counting characters instead would let a character of four bytes
        # cost four tokens; two-byte characters count three, as a byte-level model may write them overlong.
        # No class is negated: bytes beyond Unicode, which the grammar reads as one character, would match it.
        for left in range(size + 1):
            name = f"s{left}"
            if name in self.rules:
                continue
            parts = ['""']
            if left >= 1:
                parts.append(rf"[\x20-\x21\x23-\x5B\x5D-\x7E] s{left - 1}")
            if left >= 2:
                parts.append(rf'"\\" ["\\/bfnrt] s{left - 2}')
            if left >= 3:
                parts.append(rf"[\u00A1-\u07FF] s{left - 3}")
            if left >= 4:
                parts.append(rf"[\u0800-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF] s{left - 4}")
            self.rules[name] = " | ".join(parts)
        return f"s{size}"

    def digits(self, name: str, count: int) -> str:
        name = f"{name}{count}"
        self.rules[name] = f'"-"? ("0" | [1-9] [0-9]{{0,{max(0, count - 1)}}})'
        return name

    def array(self, node: Node, budget: int) -> str:
        (item,) = node.children
        fewest, most = node.items
        roomy = min(item.most, max(item.least, ITEM_BYTES)) + 2
        count = max(fewest, min(most, (budget - 2) // roomy))
        if count == 0:
            return '"[]"'
        one = self.rule("item", self.value(item, (budget - 2) // count - 2))
        rest = f'("," " "? {one}){{{max(0, fewest - 1)},{count - 1}}}' if count > 1 else ""
        body = f"{one} {rest}".strip()
        return f'"[" {body} "]"' if fewest else f'"[" ({body})? "]"'

    def object(self, node: Node, budget: int) -> str:
        shares = _share(node.children, budget - (node.least - sum(child.least for child in node.children)))
        members = [
            f'{_quote(key)} ":" " "? {self.value(child, share)}'
            for key, child, share in zip(node.literals, node.children, shares, strict=True)
        ]
        return '"{" ' + ' "," " "? '.join(members) + ' "}"'

    def members(self, node: Node, budget: int) -> str:
        (value,) = node.children
        frame = 2 + ITEM_BYTES + 4
        count = min(node.items[1], (budget - 2) // (frame + max(value.least, ITEM_BYTES)))
        if count == 0:
            return '"{}"'
        key = rf'"\"" {self.string(ITEM_BYTES)} "\""'
        inner = self.value(value, (budget - 2) // count - frame)
        one = self.rule("member", f'{key} ":" " "? {inner}')
        return f'"{{" ({one} ("," " "? {one}){{0,{count - 1}}})? "}}"'

    def rule(self, stem: str, body: str) -> str:
        name = f"{stem}-{len(self.rules)}"
        self.rules[name] = body
        return name


def _share(children: tuple[Node, ...], budget: int) -> list[int]:
    """Split `budget` bytes: each child has its least, then all grow alike until each has its most."""
    shares = [child.least for child in children]
    left = budget - sum(shares)
    while growing := [i for i, child in enumerate(children) if shares[i] < child.most]:
        step = left // len(growing)
        if step == 0:
            break
        for i in growing:
            grown = min(step, children[i].most - shares[i])
            shares[i] += grown
            left -= grown
    return shares


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
