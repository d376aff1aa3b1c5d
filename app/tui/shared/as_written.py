"""Markdown that leaves out nothing of what was written: line ends and blanks are kept, HTML and products are text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

HIDING = ["autolink", "entity", "html_block", "html_inline", "lheading", "reference"]
"""Rules that show another text than the written one, or none. A bare address is still a link."""
PRODUCT = re.compile(r"(?<=[0-9A-Za-z])\*(?=[0-9A-Za-z])|(?<=[0-9])\*+(?=[0-9])")
"""Stars as in 2*3*4, which are no emphasis."""
LINE_END = re.compile(r"\n[ \t]*")
BLANKS = re.compile(r"( {2,})")
TAB_WIDTH = 4


class AsWritten(MarkdownIt):
    """The parser of replies and answers."""

    def __init__(self) -> None:
        super().__init__("gfm-like")
        self.disable(HIDING)
        self.inline.ruler.at("newline", _line_end)
        self.inline.ruler.before("emphasis", "product", _product)
        self.core.ruler.push("blanks", _keep_blanks)

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802  # markdown-it's
        """The address as written: decoded, `%1B` would be an escape."""
        return link


def _line_end(state: StateInline, silent: bool) -> bool:
    found = LINE_END.match(state.src, state.pos)
    if found and not silent:
        state.push("hardbreak", "br", 0)
        state.pending += found[0][1:]
    return _passed(state, found)


def _product(state: StateInline, silent: bool) -> bool:
    found = PRODUCT.match(state.src, state.pos)
    if found and not silent:
        state.pending += found[0]
    return _passed(state, found)


def _passed(state: StateInline, found: re.Match[str] | None) -> bool:
    state.pos = found.end() if found else state.pos
    return found is not None


def _keep_blanks(state: StateCore) -> None:
    for token in state.tokens:
        token.children = token.children and [kept for child in token.children for kept in _with_blanks(child)]


def _with_blanks(child: Token) -> Iterator[Token]:
    """A text in parts: Textual shows several blanks of one text as a single one, and a soft break as one each."""
    if child.type != "text":
        yield child
        return
    for part in BLANKS.split(child.content.expandtabs(TAB_WIDTH)):
        if BLANKS.fullmatch(part):
            yield from (Token("softbreak", "br", 0) for _ in part)
        elif part:
            yield Token("text", "", 0, content=part)
