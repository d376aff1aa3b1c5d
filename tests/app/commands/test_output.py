"""The tables that commands print."""

from __future__ import annotations

from rich.cells import cell_len

from app.commands.output import table


def test_columns_are_aligned_by_cells() -> None:
    lines = table([("日本語", "a", "x"), ("e\u0301", "bc", "y"), ("👩\u200d👩\u200d👧 long", "", "")]).split("\n")
    assert [cell_len(line[: line.index(end)]) for line, end in zip(lines, "xy", strict=False)] == [13, 13]
    assert lines[2] == "👩\u200d👩\u200d👧 long"
