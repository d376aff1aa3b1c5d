"""Regular expressions as GBNF: every text that the grammar allows is matched as a whole.

What a class leaves open (`.`, `[^a]`, `\\w`, `\\s`) is taken from printable ASCII, without quotes and backslashes,
which JSON would have to escape: fewer texts than the expression matches, and never others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

# The parser of `re` itself: what it reads is what Python matches.
from re import _constants as of  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, assert_never

from core.grammar.repeats import repeated
from core.grammar.shares import share

REPEATS = 32
"""The most times that a part without a bound is repeated."""
ORDINARY = frozenset(range(0x20, 0x7F)) - set(b'"\\')
DIGIT, SPACE = frozenset(b"0123456789"), frozenset(b" ")
UNCERTAIN = frozenset(b" [")
"""Without quotes a space at either end is cut off, and a section's title begins with a bracket."""
WORD = frozenset(code for code in ORDINARY if chr(code).isalnum() or chr(code) == "_")
CATEGORIES = {
    of.CATEGORY_DIGIT: DIGIT,
    of.CATEGORY_NOT_DIGIT: ORDINARY - DIGIT,
    of.CATEGORY_SPACE: SPACE,
    of.CATEGORY_NOT_SPACE: ORDINARY - SPACE,
    of.CATEGORY_WORD: WORD,
    of.CATEGORY_NOT_WORD: ORDINARY - WORD,
}


UNPLAIN = "quotes, backslashes or control characters"


class UnsupportedPatternError(ValueError):
    """The expression has a part that no grammar of ours can say."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One of these code points."""

    codes: frozenset[int]

    @property
    def size(self) -> int:
        """Bytes of the largest in UTF-8."""
        return len(chr(max(self.codes)).encode())


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    part: Expression
    fewest: int
    most: int | None
    """None where there is no bound."""

    @property
    def highest(self) -> int:
        return max(self.fewest, REPEATS) if self.most is None else self.most


Expression = Characters | Sequence | Either | Repeat


def expression(pattern: str, fewest: int = 0) -> Expression:
    """What `pattern` matches, with at least `fewest` characters.

    Raises UnsupportedPatternError.
    """
    try:
        tokens = list(parser.parse(pattern))
    except re.error as error:
        raise UnsupportedPatternError(f"The pattern {pattern!r} is not one of Python's: {error}") from error
    # Whatever stands before and after the match may be anything, so it may be nothing.
    if tokens and tokens[0][0] is of.AT and tokens[0][1] in (of.AT_BEGINNING, of.AT_BEGINNING_STRING):
        del tokens[0]
    if tokens and tokens[-1][0] is of.AT and tokens[-1][1] in (of.AT_END, of.AT_END_STRING):
        del tokens[-1]
    try:
        found = _sequence(tokens)
    except UnsupportedPatternError as error:
        raise UnsupportedPatternError(f"The pattern {pattern!r} has {error}, which is not supported") from None
    missing = fewest - characters(found)
    if missing <= 0:
        return found
    if (longer := _lengthened(found, missing)) is None:
        raise UnsupportedPatternError(f"The pattern {pattern!r} is not known to match {fewest} characters")
    return longer


def inked(each: Expression) -> Expression:
    """Without what a reader could cut off or take for a section's title, wherever there is something else to choose."""
    match each:
        case Characters(codes):
            return Characters(codes - UNCERTAIN or codes)
        case Sequence(parts):
            return Sequence(tuple(inked(part) for part in parts))
        case Either(parts):
            return Either(tuple(inked(part) for part in parts))
        case Repeat(part):
            return replace(each, part=inked(part))
        case _:
            assert_never(each)


def _sequence(tokens: Any) -> Expression:
    parts = tuple(_one(kind, value) for kind, value in tokens)
    return parts[0] if len(parts) == 1 else Sequence(parts)


def _one(kind: Any, value: Any) -> Expression:
    match kind:
        case of.LITERAL:
            return Characters(frozenset([_plain(value)]))
        case of.NOT_LITERAL:
            return Characters(ORDINARY - {value})
        case of.ANY:
            return Characters(ORDINARY)
        case of.IN:
            return Characters(_class(value))
        case of.BRANCH:
            return Either(tuple(_sequence(each) for each in value[1]))
        case of.SUBPATTERN:
            return _sequence(value[3])
        case of.MAX_REPEAT | of.MIN_REPEAT | of.POSSESSIVE_REPEAT:
            fewest, most, part = value
            return _repeat(_sequence(part), fewest, None if most is of.MAXREPEAT else most)
        case _:
            raise UnsupportedPatternError(str(kind).lower().replace("_", " "))


def _repeat(part: Expression, fewest: int, most: int | None) -> Repeat:
    match part:
        case Repeat(inner, 0, highest) if highest != 0:
            # Nothing is written in one way alone; llama.cpp goes through all of them, which takes exponential time.
            return Repeat(Repeat(inner, 1, highest), 0, most)
        case _:
            return Repeat(part, fewest, most)


def _class(members: Any) -> frozenset[int]:
    codes: set[int] = set()
    negated = False
    for kind, value in members:
        match kind:
            case of.NEGATE:
                negated = True
            case of.LITERAL:
                codes.add(value)
            case of.RANGE:
                codes.update(range(value[0], value[1] + 1))
            case of.CATEGORY:
                codes |= CATEGORIES[value]
    allowed = ORDINARY - codes if negated else frozenset(code for code in codes if _is_plain(code))
    if not allowed:
        raise UnsupportedPatternError(UNPLAIN)
    return allowed


def _is_plain(code: int) -> bool:
    return code in ORDINARY or code >= 0xA1


def _plain(code: int) -> int:
    if _is_plain(code):
        return code
    raise UnsupportedPatternError(UNPLAIN)


def characters(each: Expression) -> int:
    """Of the shortest text."""
    match each:
        case Characters():
            return 1
        case Sequence(parts):
            return sum(characters(part) for part in parts)
        case Either(parts):
            return min(characters(part) for part in parts)
        case Repeat(part, fewest):
            return fewest * characters(part)
        case _:
            assert_never(each)


def _lengthened(each: Expression, missing: int) -> Expression | None:
    """With one of its repetitions made longer by at least `missing` characters."""
    match each:
        case Repeat(part, fewest, most) if characters(part):
            wanted = fewest + -(-missing // characters(part))
            return replace(each, fewest=wanted) if most is None or wanted <= most else None
        case Sequence(parts):
            for index, part in enumerate(parts):
                if longer := _lengthened(part, missing):
                    return Sequence((*parts[:index], longer, *parts[index + 1 :]))
    return None


def least(each: Expression) -> int:
    """Bytes that are enough for the shortest text on every way through the expression."""
    match each:
        case Characters():
            return each.size
        case Sequence(parts):
            return sum(least(part) for part in parts)
        case Either(parts):
            return max(least(part) for part in parts)
        case Repeat(part, fewest):
            return fewest * least(part)
        case _:
            assert_never(each)


def most(each: Expression) -> int:
    """Bytes that the longest text may have."""
    match each:
        case Characters():
            return each.size
        case Sequence(parts):
            return sum(most(part) for part in parts)
        case Either(parts):
            return max(most(part) for part in parts)
        case Repeat(part):
            return each.highest * most(part)
        case _:
            assert_never(each)


def gbnf(each: Expression, room: int) -> str:
    """Of the texts of at most `room` bytes, which is at least `least`."""
    match each:
        case Characters(codes):
            return _ranges(codes)
        case Sequence(parts):
            rooms = share([(least(part), most(part)) for part in parts], room)
            return " ".join(gbnf(part, own) for part, own in zip(parts, rooms, strict=True)) or '""'
        case Either(parts):
            return "(" + " | ".join(gbnf(part, room) for part in parts) + ")"
        case Repeat(part, fewest):
            count = max(fewest, min(each.highest, room // max(1, least(part))))
            if count == 0 or most(part) == 0:
                return '""'
            return repeated(f"({gbnf(part, room // count)})", fewest, count)
        case _:
            assert_never(each)


def _ranges(codes: frozenset[int]) -> str:
    spans: list[list[int]] = []
    for code in sorted(codes):
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "[" + "".join(f"{_escape(low)}-{_escape(high)}" for low, high in spans) + "]"


def _escape(code: int) -> str:
    return f"\\x{code:02X}" if code < 0x100 else f"\\U{code:08X}"
