"""From a JSON schema, as pydantic writes it, to the nodes that it allows.

Keywords that are not read (`format`, `multipleOf`, `uniqueItems`) are left to whoever validates the answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from core.grammar import patterns, ranges
from core.grammar.nodes import (
    ITEMS,
    KEY_BYTES,
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

DEPTH = 3
"""Levels of nesting where the schema leaves the shape open."""
SCALARS: tuple[dict[str, Any], ...] = tuple(
    {"type": kind} for kind in ("string", "integer", "number", "boolean", "null")
)
BARE = "x-bare"
"""In a property: its value stands in a section of its own, without quotes."""
SECTIONS = "x-sections"
"""In a schema: its properties are sections of the format of DSPy's ChatAdapter, and no members of a JSON object."""


def node(schema: dict[str, Any] | None) -> Node:
    """What `schema` allows; any JSON object when None.

    Raises GrammarError for what is not supported.
    """
    if schema is None:
        return _open_object(DEPTH)
    return _Reader(schema.get("$defs", {})).read(schema)


@dataclass(frozen=True, slots=True)
class _Reader:
    definitions: dict[str, Any]
    seen: tuple[str, ...] = ()

    def read(self, schema: dict[str, Any]) -> Node:
        if reference := schema.get("$ref"):
            name = str(reference).removeprefix("#/$defs/")
            if name in self.seen or name not in self.definitions:
                raise GrammarError(f"The schema's reference {reference} is recursive or unknown")
            return _Reader(self.definitions, (*self.seen, name)).read(self.definitions[name])
        if "const" in schema:
            return _choice([schema["const"]])
        if "enum" in schema:
            return Choice(tuple(schema["enum"])) if schema.get(BARE) else _choice(schema["enum"])
        if parts := schema.get("anyOf") or schema.get("oneOf"):
            return Union(tuple(self.read(part) for part in parts))
        return self.typed(schema)

    def typed(self, schema: dict[str, Any]) -> Node:
        match schema.get("type"):
            case "string":
                return _text(schema)
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return _choice([True, False])
            case "null":
                return _choice([None])
            case "array":
                return self.array(schema)
            case "object":
                return self.object(schema)
            case None if not schema.keys() - {"title", "description", "default"}:
                return _open(DEPTH - 1)
            case other:
                raise GrammarError(f"The schema's type {other!r} is not supported")

    def array(self, schema: dict[str, Any]) -> Node:
        if places := schema.get("prefixItems"):
            return Tuple(tuple(self.read(place) for place in places))
        fewest, most = _lengths(schema, "minItems", "maxItems")
        item = self.read(schema["items"]) if schema.get("items") else Union(_scalars())
        return Array(item, fewest, _count(fewest, most))

    def object(self, schema: dict[str, Any]) -> Node:
        if properties := schema.get("properties"):
            members = tuple((name, self.read(part)) for name, part in properties.items())
            return Object(members, bool(schema.get(SECTIONS)))
        values = schema.get("additionalProperties")
        if values is False or values is None:
            return Object(())
        fewest, most = _lengths(schema, "minProperties", "maxProperties")
        if fewest > 1:
            raise GrammarError("Two keys of one object cannot be kept apart")
        key = self.key(schema.get("propertyNames", {}))
        value = _open(DEPTH - 2) if values is True else self.read(values)
        return Mapping(key, value, fewest, _count(fewest, most))

    def key(self, schema: dict[str, Any]) -> Node:
        """Of an object: always a string, so that a number has quotes."""
        match self.read(schema or {"type": "string"}):
            case Text(fewest, longest):
                return Text(fewest, max(fewest, KEY_BYTES) if longest is None else longest)
            case Number() | Bounded():
                return Pattern(patterns.expression("-?[1-9][0-9]{0,8}"))
            case Choice(texts):
                return Choice(tuple(text if text.startswith('"') else f'"{text}"' for text in texts))
            case other:
                return other


def _lengths(schema: dict[str, Any], low: str, high: str) -> tuple[int, int | None]:
    """The fewest and the most parts. Raises GrammarError when no value can have so many."""
    fewest, most = schema.get(low, 0), schema.get(high)
    if most is not None and most < fewest:
        raise GrammarError(f"Nothing has at least {fewest} and at most {most} parts")
    return fewest, most


def _count(fewest: int, most: int | None) -> int:
    return max(fewest, ITEMS if most is None else min(most, 4 * ITEMS))


def _choice(values: list[Any]) -> Choice:
    return Choice(tuple(json.dumps(value, ensure_ascii=False) for value in values))


def _text(schema: dict[str, Any]) -> Node:
    fewest, longest = _lengths(schema, "minLength", "maxLength")
    bare = bool(schema.get(BARE))
    if (pattern := schema.get("pattern")) is None:
        return Text(fewest, longest, bare)
    try:
        expression = patterns.expression(pattern, fewest)
        found = Pattern(patterns.inked(expression) if bare else expression, longest, bare)
    except patterns.UnsupportedPatternError as error:
        raise GrammarError(str(error)) from error
    if longest is not None and patterns.least(found.expression) > longest:
        raise GrammarError(f"The pattern {pattern!r} is not known to match {longest} characters or less")
    return found


def _number(schema: dict[str, Any]) -> Node:
    whole = schema["type"] == "integer"
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if {low, high, above, below} == {None}:
        return Number(whole)
    found = ranges.range_of(
        Decimal(str(low if above is None else above)) if (low, above) != (None, None) else None,
        Decimal(str(high if below is None else below)) if (high, below) != (None, None) else None,
        whole=whole,
        exclusive=(above is not None, below is not None),
    )
    if found.low > found.high:
        raise GrammarError("No number lies between the schema's bounds")
    return Bounded(found)


def _scalars() -> tuple[Node, ...]:
    reader = _Reader({})
    return tuple(reader.read(each) for each in SCALARS)


def _open(depth: int) -> Node:
    """Any value, of so many levels."""
    if depth < 1:
        return Union(_scalars())
    return Union((*_scalars(), Array(Text()), _open_object(depth)))


def _open_object(depth: int) -> Mapping:
    value = _open(depth - 1) if depth > 1 else Union(_scalars())
    return Mapping(Text(0, KEY_BYTES), value)
