"""Textual's wrapping of a text area, for texts of megabytes."""

from __future__ import annotations

from textual._wrap import compute_wrap_offsets
from textual.document._wrapped_document import WrappedDocument
from textual.expand_tabs import get_tab_widths


class Wrapped(WrappedDocument):
    """Textual's looks at all lines for each that it shows, and measures those that fit as well: seconds for 5 MB."""

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
        """Where a line is broken, and how wide its tabs are."""
        if line.isascii() and "\t" not in line and (not self._width or len(line) < self._width):
            return [], [0] * bool(line)
        sections = get_tab_widths(line, self._tab_width)
        widths = [width for _, width in sections]
        if not self._width:
            return [], widths
        return compute_wrap_offsets(line, self._width, self._tab_width, precomputed_tab_sections=sections), widths
