"""A text in Markdown that grows, at a cost that does not grow with it."""

from __future__ import annotations

import re
from itertools import pairwise

from rich._wrap import divide_line
from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Markdown

FENCE = re.compile(r"\s*(`{3,}|~{3,})")
TAB = "    "


def whole(text: str) -> int:
    """How many characters at the beginning are whole blocks, which nothing that follows changes."""
    end = at = 0
    fence = ""
    for line in text.splitlines(keepends=True):
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
    """The end of a text, as it was written. What is added is wrapped and drawn, and no more than that."""

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
        self._style = self.rich_style  # put together from those of all ancestors: once for all lines
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y].rstrip() if y < len(self._lines) else ""
        return Strip([Segment(line, self._style)])

    def _wrap_all(self, width: int) -> None:
        self._width, self._lines = width, [""]
        self._wrap(self.text)

    def _wrap(self, text: str) -> None:
        """Go on where the last line ends, which keeps the space at its end for that."""
        if not self._width:
            return
        for line in (self._lines.pop() + text.replace("\t", TAB)).split("\n"):
            cuts = [0, *divide_line(line, self._width), len(line)]
            self._lines += [line[start:end] for start, end in pairwise(cuts)]


class Words(Vertical):
    """Whole paragraphs, lists and blocks of code as Markdown draws them; the last one as written until it is whole.

    Textual makes a block of Markdown anew for each word that it grows by: a list of thirty lines takes 250 ms.
    """

    DEFAULT_CSS = """
    Words { height: auto; }
    Words Markdown { padding: 0; margin: 0; background: transparent; }
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._text = text
        self._settled = Markdown(open_links=False)
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
        """Replace the text by one that is whole."""
        self._put("")
        with self.app.batch_update():
            await self._settled.update(text)
            # A rule for the last child would have Textual look at the styles of all of them whenever one is added.
            for last in self._settled.children[-1:]:
                top, right, _, left = last.styles.margin
                last.styles.margin = (top, right, 0, left)

    async def write(self, text: str) -> None:
        """Add the next piece."""
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
        # By itself: a class of this widget's would have the styles of all blocks looked at.
        self._tail.display = bool(text.strip())
