"""All uses of private parts of Textual and Rich, each with its reason. Seen in Textual 8.2.8 and Rich 15.0.0."""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import partial, partialmethod
from itertools import chain, pairwise
from typing import Any, Final, cast

from rich._wrap import divide_line
from textual import events
from textual._wrap import compute_wrap_offsets
from textual.app import App
from textual.document._document import Document, EditResult, Location
from textual.document._wrapped_document import WrappedDocument
from textual.drivers import linux_driver
from textual.expand_tabs import get_tab_widths
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Static, TextArea, Tooltip, _text_area
from textual.worker import WorkerFailed

LONGEST_LINE: Final = 4_000
"""Characters of a line in a text area. Wrapping a longer one again at every key would freeze typing."""
SOFT_END: Final = "\udfff"
"""Ends a line in a text area where the text has no line end. A stored text never has this lone surrogate."""
_LINE_ENDS: Final = re.compile(f"(\r\n|[\r\n\v\f\x85\u2028\u2029{SOFT_END}])")
_PIECES: Final = re.compile(rf".{{1,{LONGEST_LINE}}}$|.{{1,{LONGEST_LINE - 1}}}\s|.{{{LONGEST_LINE}}}")
_PICTURES: Final = {
    **{code: 0x2400 + code for code in range(0x20) if code != ord("\t")},
    0x7F: ord("␡"),
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF], ord("▯")),
}


def accept_invalid_utf8() -> None:
    """Have Textual read invalid UTF-8 as �. Its Linux driver decodes strictly: one byte of Latin-1 ends the app."""

    def decoder(encoding: str) -> partial[codecs.IncrementalDecoder]:
        return partial(codecs.getincrementaldecoder(encoding), errors="replace")

    setattr(linux_driver, codecs.getincrementaldecoder.__name__, decoder)


def plain_tooltips() -> None:
    """Show tooltips as text. Textual takes the cells of a table for markup: `[/x]` in a reply would end the app."""
    setattr(Tooltip, Tooltip.__init__.__name__, partialmethod(Static.__init__, markup=False))


def styled_by_app(screen: Screen[Any]) -> None:
    """Spare a screen without CSS of its own what Textual does for it: it would parse the app's CSS again, twice."""
    count = "_css_update_count"
    setattr(screen, count, getattr(screen.app, count))


def cut_line(line: str, width: int) -> list[str]:
    """The pieces of a line, wrapped at words. Rich has no public function that wraps a plain string."""
    return [line[start:end] for start, end in pairwise([0, *divide_line(line, width), len(line)])]


class QuietApp(App[None]):
    """Leaves an unhandled error to its caller. Textual prints pages of it, with what the user wrote in them."""

    @property
    def failure(self) -> Exception | None:
        """The unhandled error that ended the app."""
        error = self._exception
        return error.error if isinstance(error, WorkerFailed) and isinstance(error.error, Exception) else error

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()


def drawn(line: str) -> str:
    """The line with a picture in place of each character that a terminal would obey; as long as the line."""
    return line if line.isprintable() else line.translate(_PICTURES)


def _split(text: str) -> tuple[list[str], list[str]]:
    """The lines of a text, and the ends between them."""
    parts = _LINE_ENDS.split(text)
    lines, ends = list[str](), list[str]()
    for line, end in zip(parts[::2], [*parts[1::2], ""], strict=True):
        pieces = _PIECES.findall(line) if len(line) > LONGEST_LINE else [line]
        lines += pieces
        ends += [*[SOFT_END] * (len(pieces) - 1), "\n" if end in ("\r", "\r\n") else end]
    return lines, ends[:-1]


class ExactDocument(Document):
    """Keeps each character as it is. Textual's replaces all line ends by one kind, and knows eight kinds.

    What Textual reads and draws are lines with visible pictures of control characters, of the same length. A line of
    more than LONGEST_LINE characters is several lines here, since wrapping it again at every key would freeze typing.
    """

    def __init__(self, text: str) -> None:
        super().__init__("")
        self._exact, self._ends = _split(text)
        self._lines = list(map(drawn, self._exact))
        self._text: str | None = text.replace("\r\n", "\n").replace("\r", "\n")

    @property
    def text(self) -> str:
        """Kept until the next change: Textual asks for it with every line that it draws."""
        if self._text is None:
            usual = set(self._ends) <= {"\n"}
            whole = "\n".join(self._exact) if usual else self.get_text_range(self.start, self.end)
            self._text = whole if usual else whole.replace(SOFT_END, "")
        return self._text

    def get_text_range(self, start: Location, end: Location) -> str:
        """Also with SOFT_END, so that an undo brings the same lines back."""
        top, bottom = self._sorted(start, end)
        lines = self._exact[top[0] : bottom[0] + 1]
        lines[-1] = lines[-1][: bottom[1]]
        lines[0] = lines[0][top[1] :]
        return "".join(chain(*zip(lines, [*self._ends[top[0] : bottom[0]], ""], strict=True)))

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        top, bottom = self._sorted(start, end)
        replaced = self.get_text_range(top, bottom)
        lines, ends = _split(text)
        rest = self._exact[bottom[0]][bottom[1] :]
        lines[0] = self._exact[top[0]][: top[1]] + lines[0]
        after = top[0] + len(lines) - 1, len(lines[-1])
        lines[-1] += rest
        self._exact[top[0] : bottom[0] + 1] = lines
        self._lines[top[0] : bottom[0] + 1] = map(drawn, lines)
        self._ends[top[0] : bottom[0]] = ends
        self._text = None
        return EditResult(after, replaced)

    def get_location_from_index(self, index: int) -> Location:
        for row, (line, end) in enumerate(zip(self._exact, [*self._ends, ""], strict=True)):
            length = len(line) + (end != SOFT_END)
            if index < length:
                return row, index
            index -= length
        return self.end

    def _sorted(self, start: Location, end: Location) -> tuple[Location, Location]:
        """Both in order, and within the document."""
        top, bottom = sorted((start, end))
        return min(top, self.end), min(bottom, self.end)


setattr(_text_area, Document.__name__, ExactDocument)


def unprintable_letter(event: events.Key) -> str:
    """The letter of a key that Textual does not insert, as the joiner in an emoji or a no-break space; else empty."""
    letter = event.character or ""
    return "" if letter.isprintable() or unicodedata.category(letter) in ("Cc", "Cs") else letter


class WrappedText(WrappedDocument):
    """Wraps megabytes. Textual's looks at all lines for each shown one and measures all: seconds for 5 MB."""

    @property
    def height(self) -> int:
        return len(self._offset_to_line_info)

    def wrap(self, width: int, tab_width: int | None = None) -> None:
        self._width = width
        self._tab_width = tab_width or self._tab_width
        self._wrap_offsets, self._tab_width_cache = [], []
        self._offset_to_line_info, self._line_index_to_offsets = [], []
        for number, line in enumerate(self.document.lines):
            breaks, tabs = self._measure(line)
            first = len(self._offset_to_line_info)
            self._wrap_offsets.append(breaks)
            self._tab_width_cache.append(tabs)
            self._offset_to_line_info += [(number, section) for section in range(len(breaks) + 1)]
            self._line_index_to_offsets.append(list(range(first, first + len(breaks) + 1)))

    def _measure(self, line: str) -> tuple[list[int], list[int]]:
        """The places at which a line is broken, and the widths of its tabs."""
        if line.isascii() and "\t" not in line and (not self._width or len(line) < self._width):
            return [], [0] * bool(line)
        sections = get_tab_widths(line, self._tab_width)
        widths = [width for _, width in sections]
        if not self._width:
            return [], widths
        return compute_wrap_offsets(line, self._width, self._tab_width, precomputed_tab_sections=sections), widths


class LargeTextArea(TextArea):
    """A text area for megabytes of any characters, of any width."""

    async def _on_key(self, event: events.Key) -> None:
        if letter := unprintable_letter(event):
            event.stop()
            event.prevent_default()
            self._replace_via_keyboard(letter, *self.selection)

    @property
    def selected_text(self) -> str:
        return super().selected_text.replace(SOFT_END, "")

    @property
    def wrapped_document(self) -> WrappedText:
        return self._wrapped

    @wrapped_document.setter
    def wrapped_document(self, made: WrappedDocument) -> None:
        """Textual sets one for each text; ours takes its place."""
        self._wrapped = WrappedText(made.document, tab_width=self.indent_width)

    def location_of(self, index: int) -> Location:
        """The place of a character of `text`."""
        return cast("ExactDocument", self.document).get_location_from_index(index)

    def render_line(self, y: int) -> Strip:
        """Textual fails to wrap a placeholder at a width of 0."""
        return super().render_line(y) if self.content_size.width else Strip.blank(0)
