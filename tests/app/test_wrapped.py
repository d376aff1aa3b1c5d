"""Quick wrapping gives what Textual's own gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.document._document import Document
from textual.document._wrapped_document import WrappedDocument

from app.widgets.wrapped import Wrapped

LINES = st.lists(st.text(st.sampled_from("ab \tä漢"), max_size=30), max_size=6)


@given(lines=LINES, width=st.integers(0, 20))
def test_it_is_as_textual_wraps(lines: list[str], width: int) -> None:
    document = Document("\n".join(lines))
    ours, theirs = Wrapped(document, tab_width=4), WrappedDocument(document, tab_width=4)
    for each in (ours, theirs):
        each.wrap(width)
    assert ours.lines == theirs.lines
    assert ours.height == theirs.height
    kept = ("_wrap_offsets", "_tab_width_cache", "_offset_to_line_info", "_line_index_to_offsets", "_width")
    assert [getattr(ours, name) for name in kept] == [getattr(theirs, name) for name in kept]
