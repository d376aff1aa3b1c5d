"""A JSON schema with a bound for everything that it leaves open, so that an answer under it is finite.

Declared lengths stay as they are; open ones share the budget. Keywords that are not read here (`format`, `multipleOf`,
`uniqueItems`) are left to the code that validates the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

STRING, KEY = 1024, 24
"""The most characters of a string, and of a key of a `dict`, where the schema sets no `maxLength`."""
PATTERN = (64, STRING, 16 * STRING)
"""The same for a string with a pattern: the first that allows any text."""
ITEMS = 8
"""The most items of a list where the schema sets no `maxItems`; four times as many where it does."""
ROOMY = 24
"""A list gets fewer items before its items get fewer characters than this."""
DEPTH = 3
"""Levels of nesting where the schema allows any value."""
DIGITS, PLACES = 15, 2
"""Digits before and after the decimal point, unless the bounds need more: a float is exact so far."""
CHARACTER = r"[^\x00-\x08\x0b-\x1f\x7f-\x9f]"
"""Any but control characters; the tab and the line feed are allowed."""
WIDE = 4
"""Tokens of one character at most: its bytes in UTF-8."""
SCALARS: tuple[dict[str, Any], ...] = tuple(
    {"type": kind} for kind in ("string", "integer", "number", "boolean", "null")
)


class GrammarError(ValueError):
    """No answer can satisfy the schema, or it needs more tokens than the budget has."""


@dataclass(frozen=True, slots=True)
class Part:
    """A bounded schema."""

    schema: dict[str, Any]
    closing: int
    """Tokens that always suffice to complete a value, wherever in it the model is."""
    longest: int
    """Characters of the longest value, before `divide` gives it a share."""
    divide: Callable[[int], None] = lambda _: None
    """Sets the open bounds so that a value has about this many characters."""


def bounded(schema: dict[str, Any] | None, room: int, satisfiable: Callable[[dict[str, Any]], bool]) -> Part:
    """`schema` (any JSON object when None) for an answer of about `room` characters.

    `satisfiable` tells whether a schema has any value. Raises GrammarError for unsupported schemas.
    """
    reader = _Reader({} if schema is None else schema.get("$defs", {}), satisfiable)
    part = reader.open_object(DEPTH) if schema is None else reader.read(schema)
    part.divide(room)
    return part


@dataclass(frozen=True, slots=True)
class _Reader:
    definitions: dict[str, Any]
    satisfiable: Callable[[dict[str, Any]], bool]
    seen: tuple[str, ...] = ()

    def read(self, schema: dict[str, Any]) -> Part:
        if reference := schema.get("$ref"):
            name = str(reference).removeprefix("#/$defs/")
            if name in self.seen or name not in self.definitions:
                raise GrammarError(f"The schema's reference {reference} is recursive or unknown")
            return _Reader(self.definitions, self.satisfiable, (*self.seen, name)).read(self.definitions[name])
        if (values := _values(schema)) is not None:
            return _choice(values)
        if parts := schema.get("anyOf") or schema.get("oneOf"):
            return _union([self.read(part) for part in parts])
        return self.typed(schema)

    def typed(self, schema: dict[str, Any]) -> Part:
        match schema.get("type"):
            case "string":
                return self.string(schema)
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return _choice([False, True])
            case "null":
                return _choice([None])
            case "array":
                return self.array(schema)
            case "object":
                return self.object(schema)
            case None if not schema.keys() - {"title", "description", "default"}:
                return self.anything(DEPTH - 1)
            case other:
                raise GrammarError(f"The schema's type {other!r} is not supported")

    def string(self, schema: dict[str, Any]) -> Part:
        fewest, most = _lengths(schema, "minLength", "maxLength")
        if pattern := schema.get("pattern"):
            return self.pattern(pattern, fewest, most)
        made = {"type": "string", "pattern": _text(fewest, max(fewest, STRING) if most is None else most)}

        def divide(room: int) -> None:
            if most is None:
                made["pattern"] = _text(fewest, max(fewest, min(STRING, room - 2)))

        return Part(made, 2 + fewest + WIDE, 2 + (max(fewest, STRING) if most is None else most), divide)

    def pattern(self, pattern: str, fewest: int, most: int | None) -> Part:
        made = {"type": "string", "pattern": f"^({_whole(pattern)})$", "minLength": fewest}
        if most is None:
            lengths = [max(fewest, length) for length in PATTERN]
            most = next((each for each in lengths if self.satisfiable(made | {"maxLength": each})), lengths[-1])
        made["maxLength"] = most
        return Part(made, 2 + (most if pattern.isascii() else WIDE * most), 2 + most)

    def array(self, schema: dict[str, Any]) -> Part:
        if places := schema.get("prefixItems"):
            parts = [self.read(place) for place in places]
            made = {"prefixItems": [part.schema for part in parts], "items": False, "minItems": len(parts)}
            return _row({"type": "array", **made}, parts, 2 + 2 * len(parts))
        item = self.read(schema["items"]) if schema.get("items") else self.anything(0)
        return _repeated({"type": "array", "items": item.schema}, ("minItems", "maxItems"), schema, item, 2)

    def object(self, schema: dict[str, Any]) -> Part:
        values = schema.get("additionalProperties")
        properties = schema.get("properties")
        if not properties and values not in (None, False):
            return _mapping(schema, self.anything(DEPTH - 2) if values is True else self.read(values))
        parts = {name: self.read(part) for name, part in (properties or {}).items()}
        made = {"properties": {name: part.schema for name, part in parts.items()}, "required": list(parts)}
        frame = 2 + sum(len(json.dumps(name, ensure_ascii=False).encode()) + 4 for name in parts)
        return _row({"type": "object", **made, "additionalProperties": False}, list(parts.values()), frame)

    def anything(self, depth: int) -> Part:
        """Any value, with this many levels of nesting."""
        parts = [self.read(each) for each in SCALARS]
        if depth > 0:
            parts += [self.read({"type": "array", "items": {"type": "string"}}), self.open_object(depth)]
        return _union(parts)

    def open_object(self, depth: int) -> Part:
        return _mapping({}, self.anything(depth - 1))


def _lengths(schema: dict[str, Any], low: str, high: str) -> tuple[int, int | None]:
    """The fewest and the most parts of a value. Raises GrammarError when no value has so many."""
    fewest, most = schema.get(low, 0), schema.get(high)
    if most is not None and most < fewest:
        raise GrammarError(f"No value has at least {fewest} and at most {most} parts")
    return fewest, most


def _text(fewest: int, most: int) -> str:
    """A pattern with the lengths in it: with `minLength` and `maxLength` beside one, masks take ten times as long."""
    return f"^{CHARACTER}{{{fewest},{most}}}$"


def _whole(pattern: str) -> str:
    """Without the anchors of a whole text: the text before and after a match may be empty, and is."""
    pattern = pattern.removeprefix("^")
    return pattern if pattern.endswith("\\$") else pattern.removesuffix("$")


def _values(schema: dict[str, Any]) -> list[Any] | None:
    values: list[Any] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    return values


def _choice(values: list[Any]) -> Part:
    longest = max(len(json.dumps(value, ensure_ascii=False).encode()) for value in values)
    return Part({"enum": values}, longest, longest)


def _union(parts: list[Part]) -> Part:
    def divide(room: int) -> None:
        for part in parts:
            part.divide(room)

    schema = {"anyOf": [part.schema for part in parts]}
    return Part(schema, max(part.closing for part in parts), max(part.longest for part in parts), divide)


def _number(schema: dict[str, Any]) -> Part:
    """With inclusive bounds, and a multiple of the last place: llguidance allows an exclusive bound itself at times."""
    whole = schema["type"] == "integer"
    names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    bounds = {name: Decimal(str(schema[name])) for name in names if schema.get(name) is not None}
    digits = max([DIGITS, *(each.adjusted() + 2 for each in bounds.values())])
    places = 0 if whole else max([PLACES, *(-int(each.normalize().as_tuple().exponent) for each in bounds.values())])
    first, last = _units(bounds, digits, places)
    # Numbers between two bounds that are close together have more places than these.
    while first > last and not whole and places < DIGITS:
        places += 1
        first, last = _units(bounds, digits, places)
    if first > last:
        raise GrammarError("No number lies between the schema's bounds")
    longest = max(len(str(first)), len(str(last)), places + 1) + 2
    if whole:
        return Part({"type": "integer", "minimum": first, "maximum": last}, longest, longest)
    unit = Decimal(1).scaleb(-places)
    made = {"minimum": float(first * unit), "maximum": float(last * unit), "multipleOf": float(unit)}
    return Part({"type": "number", **made}, longest, longest)


def _units(bounds: dict[str, Decimal], digits: int, places: int) -> tuple[int, int]:
    """The smallest and the largest number, in units of the last of so many places."""
    most = 10 ** (digits + places) - 1
    lows, highs = [-most], [most]
    for name, bound in bounds.items():
        units, exclusive = bound.scaleb(places), name.startswith("exclusive")
        if "inimum" in name:
            low = int(units.to_integral_value(ROUND_CEILING))
            lows.append(low + (exclusive and low == units))
        else:
            high = int(units.to_integral_value(ROUND_FLOOR))
            highs.append(high - (exclusive and high == units))
    return max(lows), min(highs)


def _row(schema: dict[str, Any], parts: list[Part], frame: int) -> Part:
    """All of these parts in turn, with `frame` bytes around them."""

    def divide(room: int) -> None:
        for part, own in zip(parts, share([part.longest for part in parts], room - frame), strict=True):
            part.divide(own)

    closing, longest = (sum(getattr(part, name) for part in parts) for name in ("closing", "longest"))
    return Part(schema, frame + closing, frame + longest, divide)


def share(longest: Sequence[int], room: int) -> list[int]:
    """Split `room` evenly; a part that needs less leaves the rest to the others."""
    shares = [0] * len(longest)
    for done, index in enumerate(sorted(range(len(longest)), key=longest.__getitem__)):
        shares[index] = min(longest[index], max(0, room) // (len(longest) - done))
        room -= shares[index]
    return shares


def _repeated(made: dict[str, Any], names: tuple[str, str], schema: dict[str, Any], part: Part, frame: int) -> Part:
    """A part several times, each with `frame` characters around it; `names` are the keywords of its least and most."""
    fewest, declared = _lengths(schema, *names)
    most = max(fewest, ITEMS if declared is None else min(declared, 4 * ITEMS))
    made |= {names[0]: fewest, names[1]: most}

    def divide(room: int) -> None:
        count = min(most, max(fewest, (room - 2) // (frame + min(part.longest, ROOMY))))
        made[names[1]] = count
        part.divide((room - 2) // max(1, count) - frame)

    return Part(made, 2 + max(1, fewest) * (WIDE * frame + part.closing), 2 + most * (frame + part.longest), divide)


def _mapping(schema: dict[str, Any], value: Part) -> Part:
    """An object whose keys the schema does not name."""
    if schema.get("minProperties", 0) > 1:
        raise GrammarError("Two keys of one object cannot be kept apart")
    pattern, longest = _key(schema.get("propertyNames") or {"type": "string"})
    made = {"type": "object", "patternProperties": {f"^({pattern})$": value.schema}, "additionalProperties": False}
    return _repeated(made, ("minProperties", "maxProperties"), schema, value, 6 + longest)


def _key(schema: dict[str, Any]) -> tuple[str, int]:
    """A regular expression for a key, which is always a string, and its characters at most."""
    if parts := schema.get("anyOf"):
        return _either(_key(part) for part in parts)
    if (values := _values(schema)) is not None:
        texts = (value if isinstance(value, str) else json.dumps(value) for value in values)
        return _either((re.escape(text), len(text)) for text in texts)
    if schema.get("type") in ("integer", "number"):
        return "0|-?[1-9][0-9]{0,8}", 10
    fewest = schema.get("minLength", 0)
    most = schema.get("maxLength", max(fewest, KEY))
    return _whole(schema.get("pattern", _text(fewest, most))), most


def _either(keys: Iterable[tuple[str, int]]) -> tuple[str, int]:
    patterns, lengths = zip(*keys, strict=True)
    return "|".join(f"({pattern})" for pattern in patterns), max(lengths)
