"""Markdown that is streamed. The cost of a piece does not grow with the length of the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO

from markdown_it import MarkdownIt
from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Markdown

from app.tui.shared.as_written import AsWritten
from app.tui.textual_fixes import cut_line
from core.text import printable

FENCE = re.compile(r"\s*(`{3,}|~{3,})")
TAB = "    "


def whole(text: str) -> int:
    """The number of characters at the start that are complete blocks, which no later text can change."""
    end = at = 0
    fence = ""
    for line in StringIO(text):  # splitlines() would end lines at other characters, too
        at += len(line)
        mark = FENCE.match(line)
        closed = bool(fence and mark and mark[1].startswith(fence) and not line[mark.end() :].strip())
        if mark and not fence:
            fence = mark[1]
        elif closed:
            fence = ""
        if line.endswith("\n") and (closed or not (fence or line.strip())):
            end = at
    return end


class Tail(Widget):
    """The end of a text, without Markdown. Only added text is wrapped and drawn."""

    DEFAULT_CSS = "Tail { height: auto; }"

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._lines = [""]
        self._width = 0
        self._style = Style.null()

    def put(self, text: str) -> None:
        """Replace the text."""
        self.text = text
        self._wrap_all(self._width)
        self.refresh(layout=True)

    def add(self, text: str) -> None:
        self.text += text
        before = len(self._lines)
        self._wrap(text)
        if len(self._lines) > before:
            self.refresh(layout=True)
        else:
            self.refresh(Region(0, before - 1, self.size.width, 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002  # Textual's
        if width != self._width:
            self._wrap_all(width)
        return len(self._lines)

    def render_lines(self, crop: Region) -> list[Strip]:
        self._style = self.rich_style  # computed from all ancestors, so once for all lines
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y].rstrip() if y < len(self._lines) else ""
        return Strip([Segment(line, self._style)])

    def _wrap_all(self, width: int) -> None:
        self._width, self._lines = width, [""]
        self._wrap(self.text)

    def _wrap(self, text: str) -> None:
        """Continue the last line, which keeps its trailing space for that."""
        if not self._width:
            return
        for line in (self._lines.pop() + text.replace("\t", TAB)).split("\n"):
            self._lines += cut_line(line, self._width)


class StreamedMarkdown(Vertical):
    """Draws complete paragraphs, lists and code blocks as Markdown, and the last one as plain text until then.

    Textual builds a Markdown block again for each word that is added: a list of thirty lines takes 250 ms.
    """

    DEFAULT_CSS = """
    StreamedMarkdown { height: auto; }
    StreamedMarkdown Markdown { padding: 0; margin: 0; background: transparent; }
    """

    def __init__(self, text: str = "", parser_factory: Callable[[], MarkdownIt] = AsWritten) -> None:
        super().__init__()
        self._text = text
        self._held = ""
        """A carriage return at the end of a piece: the next one may begin with its line feed."""
        self._settled = Markdown(open_links=False, parser_factory=parser_factory)
        self._tail = Tail()
        self._tail.display = False

    def compose(self) -> ComposeResult:
        yield self._settled
        yield self._tail

    async def on_mount(self) -> None:
        if self._text:
            await self.update(self._text)

    @property
    def source(self) -> str:
        return self._settled.source + self._tail.text

    async def update(self, text: str) -> None:
        """Replace the text by a complete one."""
        self._put("")
        self._held = ""
        with self.app.batch_update():
            await self._settled.update(printable(text))
            # A CSS rule for the last child would restyle all children whenever one is added.
            for last in self._settled.children[-1:]:
                top, right, _, left = last.styles.margin
                last.styles.margin = (top, right, 0, left)

    async def write(self, text: str) -> None:
        """Add the next piece."""
        text = self._held + text
        self._held = text[-1:] if text.endswith("\r") else ""
        text = printable(text.removesuffix("\r"))
        grown = self._tail.text + text
        if end := whole(grown):
            with self.app.batch_update():
                await self._settled.append(grown[:end])
                self._put(grown[end:])
        elif self._tail.display:
            self._tail.add(text)
        else:
            self._put(grown)

    def _put(self, text: str) -> None:
        self._tail.put(text)
        # Set here, not by a CSS class: a class change restyles every block.
        self._tail.display = bool(text.strip())
