"""The values that a JSON schema allows, and how many bytes each takes.

Every node has `least`, bytes that are enough to write one of its values whichever way is taken through it, and
`most`, as many as it could use.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.grammar import patterns
from core.grammar.ranges import DIGITS

if TYPE_CHECKING:
    from core.grammar.patterns import Expression
    from core.grammar.ranges import Range

STRING_BYTES = 1024
"""The most bytes of one string without a bound of its own."""
ITEMS = 8
"""The most items of a list whose schema sets no `maxItems`."""
KEY_BYTES = 24
QUOTES = 2
COMMA = 2
"""Bytes of a comma and the space behind it, or of a colon and its."""


class GrammarError(ValueError):
    """The schema has no bounded grammar, or the budget is too small for it."""


@dataclass(frozen=True, slots=True)
class Text:
    """Any string of `fewest` to `longest` characters; `bare` without quotes, and then it may have several lines."""

    fewest: int = 0
    longest: int | None = None
    bare: bool = False

    @property
    def least(self) -> int:
        return self.frame + self.fewest

    @property
    def most(self) -> int:
        return self.frame + max(4 * self.fewest, STRING_BYTES if self.longest is None else self.longest)

    @property
    def frame(self) -> int:
        return 0 if self.bare else QUOTES


@dataclass(frozen=True, slots=True)
class Pattern:
    """A string that a regular expression matches."""

    expression: Expression
    longest: int | None = None
    bare: bool = False

    @property
    def least(self) -> int:
        return self.frame + patterns.least(self.expression)

    @property
    def most(self) -> int:
        longest = STRING_BYTES if self.longest is None else self.longest
        return self.frame + max(patterns.least(self.expression), min(patterns.most(self.expression), longest))

    @property
    def frame(self) -> int:
        return 0 if self.bare else QUOTES


@dataclass(frozen=True, slots=True)
class Number:
    """Any number, without a fraction where it is `whole`."""

    whole: bool

    @property
    def least(self) -> int:
        return 2

    @property
    def most(self) -> int:
        return 2 + DIGITS if self.whole else 2 + 2 * DIGITS


@dataclass(frozen=True, slots=True)
class Bounded:
    """A number within bounds."""

    range: Range

    @property
    def least(self) -> int:
        return self.range.least

    @property
    def most(self) -> int:
        return self.range.most


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these texts, as it stands."""

    texts: tuple[str, ...]

    @property
    def least(self) -> int:
        return max(len(text.encode()) for text in self.texts)

    most = least


@dataclass(frozen=True, slots=True)
class Union:
    parts: tuple[Node, ...]

    @property
    def least(self) -> int:
        return max(part.least for part in self.parts)

    @property
    def most(self) -> int:
        return max(part.most for part in self.parts)


@dataclass(frozen=True, slots=True)
class Array:
    item: Node
    fewest: int = 0
    highest: int = ITEMS

    @property
    def least(self) -> int:
        return 2 + self.fewest * (self.item.least + COMMA)

    @property
    def most(self) -> int:
        return 2 + self.highest * (self.item.most + COMMA)


@dataclass(frozen=True, slots=True)
class Tuple:
    """An array with a value of its own at each place."""

    items: tuple[Node, ...]

    @property
    def least(self) -> int:
        return 2 + sum(item.least + COMMA for item in self.items)

    @property
    def most(self) -> int:
        return 2 + sum(item.most + COMMA for item in self.items)


@dataclass(frozen=True, slots=True)
class Object:
    """Members in this order, all of them; `sections` of DSPy's ChatAdapter instead of JSON."""

    members: tuple[tuple[str, Node], ...]
    sections: bool = False

    @property
    def frame(self) -> int:
        """Bytes of all but the values."""
        if self.sections:
            return sum(len(section(name).encode()) for name, _ in self.members) + len(COMPLETED)
        return 2 + sum(len(json.dumps(name, ensure_ascii=False).encode()) + 2 * COMMA for name, _ in self.members)

    @property
    def least(self) -> int:
        return self.frame + sum(value.least for _, value in self.members)

    @property
    def most(self) -> int:
        return self.frame + sum(value.most for _, value in self.members)


@dataclass(frozen=True, slots=True)
class Mapping:
    """An object whose keys are not known before."""

    key: Node
    value: Node
    fewest: int = 0
    highest: int = ITEMS

    @property
    def least(self) -> int:
        return 2 + self.fewest * self.member(self.key.least, self.value.least)

    @property
    def most(self) -> int:
        return 2 + self.highest * self.member(self.key.most, self.value.most)

    def member(self, key: int, value: int) -> int:
        """Bytes of a key, its colon, a value and its comma."""
        return key + 2 * COMMA + value


Node = Text | Pattern | Number | Bounded | Choice | Union | Array | Tuple | Object | Mapping


def section(name: str) -> str:
    """What stands before a section's value."""
    return f"\n\n[[ ## {name} ## ]]\n"


COMPLETED = "\n\n[[ ## completed ## ]]\n"
