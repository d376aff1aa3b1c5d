"""Strings as GBNF: chains of rules, one for each number of bytes that is left, shared by all strings of a grammar.

Counting characters instead would let a character of four bytes cost four tokens; characters of two bytes count as
three, as a byte-level model may write them overlong. No class is negated: bytes beyond Unicode, which the grammar reads
as one character, would match it. No class has control characters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from core.grammar.repeats import repeated

WIDE = 4
"""Bytes of a character at most."""
# JSON, between quotes.
PLAIN, ESCAPED = r"[\x20-\x21\x23-\x5B\x5D-\x7E]", r'"\\" ["\\/bfnrt]'
TWO, THREE_OR_FOUR = r"[\u00A1-\u07FF]", r"[\u0800-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]"
# Without quotes: a blank is a space or the end of a line, all else is ink; no line begins like a section's title.
INK_FIRST, INK = r"[\x21-\x5A\x5C-\x7E]", r"[\x21-\x7E]"
INK_WIDE = (
    r"[\u0800-\u167F\u1681-\u1FFF\u2010-\u2027\u2030-\u205E\u2060-\u2FFF\u3001-\uD7FF\uE000-\uFFFD"
    r"\U00010000-\U0010FFFF]"
)


@dataclass(slots=True)
class Texts:
    """The rules of a grammar, to which the strings add theirs."""

    rules: dict[str, str] = field(default_factory=dict)

    def text(self, fewest: int, longest: int | None, room: int, *, bare: bool) -> str:
        """A string of `fewest` to `longest` characters in `room` bytes, which are at least `fewest`."""
        wide = room >= WIDE * fewest and (longest is None or longest >= WIDE * fewest)
        needed = fewest * (WIDE if wide else 1)
        left = room - needed if longest is None else min(room, longest) - needed
        if bare:
            return self._required_ink(fewest, wide=wide) + self._ink("i" if fewest else "f", left)
        required = repeated(self._character(wide=wide), fewest, fewest) + " " if fewest else ""
        return rf'"\"" {required}{self._json(left)} "\""'

    def _character(self, *, wide: bool) -> str:
        name = "wide" if wide else "narrow"
        self.rules[name] = f"{PLAIN} | {ESCAPED} | {TWO} | {THREE_OR_FOUR}" if wide else PLAIN
        return name

    def _json(self, room: int) -> str:
        for left in range(room + 1):
            parts = ['""']
            if left >= 1:
                parts.append(f"{PLAIN} s{left - 1}")
            if left >= 2:
                parts.append(f"{ESCAPED} s{left - 2}")
            if left >= 3:
                parts.append(f"{TWO} s{left - 3}")
            if left >= 4:
                parts.append(f"{THREE_OR_FOUR} s{left - 4}")
            self.rules.setdefault(f"s{left}", " | ".join(parts))
        return f"s{room}"

    def _required_ink(self, fewest: int, *, wide: bool) -> str:
        """So many characters, the first and the last of which are ink: what reads them cuts blanks off."""
        if not fewest:
            return ""
        more = f" | {TWO} | {INK_WIDE}" if wide else ""
        self.rules["first"], self.rules["ink"] = INK_FIRST + more, INK + more
        self.rules["any"] = f"[ ] | {INK}{more}"
        between = repeated("any", fewest - 2, fewest - 2) + " " if fewest > 2 else ""
        return "first " + between + ("ink " if fewest > 1 else "")

    def _ink(self, state: str, room: int) -> str:
        """What may follow, and ends in ink: after ink (`i`), a space (`b`), the end of a line (`l`), or nothing (`f`).

        Of these only `i` and `f` may be empty.
        """
        self.rules.setdefault("i0", '""')
        for left in range(1, room + 1):
            blanks = f"[ ] b{left - 1} | [\\n] l{left - 1}" if left > 1 else ""
            self._add(f"i{left}", '""', self._next(INK, left), blanks)
            self._add(f"b{left}", self._next(INK, left), blanks)
            self._add(
                f"l{left}", self._next(INK_FIRST, left), f"[ ] l{left - 1} | [\\n] l{left - 1}" if left > 1 else ""
            )
        if state == "f":
            self._add(f"f{room}", '""', self._next(INK_FIRST, room) if room else "")
        return f"{state}{room}"

    def _next(self, ink: str, left: int) -> str:
        parts = [f"{ink} i{left - 1}"]
        if left >= 3:
            parts.append(f"{TWO} i{left - 3}")
        if left >= 4:
            parts.append(f"{INK_WIDE} i{left - 4}")
        return " | ".join(parts)

    def _add(self, name: str, *parts: str) -> None:
        self.rules.setdefault(name, " | ".join(part for part in parts if part))
