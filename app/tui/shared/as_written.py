"""Markdown that leaves out nothing of what was written: line ends are kept, HTML and entities are text."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

HIDING = ["autolink", "entity", "html_block", "html_inline", "lheading", "reference"]
"""Rules that show another text than the written one, or none. A bare address is still a link."""


class AsWritten(MarkdownIt):
    """The parser of replies and answers."""

    def __init__(self) -> None:
        super().__init__("gfm-like")
        self.disable(HIDING)
        self.core.ruler.push("line_ends", _keep_line_ends)

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802  # markdown-it's
        """The address as written: decoded, `%1B` would be an escape."""
        return link


def _keep_line_ends(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
