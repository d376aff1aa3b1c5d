"""Numbers as people read them, and bars of text."""

from __future__ import annotations

FULL, REST = "▇", "▁"


def gigabytes(amount: int) -> str:
    """Bytes as a number of GB (of 1024³ bytes), without the unit; one decimal below ten."""
    value = amount / 1024**3
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def size(amount: int) -> str:
    """Bytes with the unit that suits them, in steps of 1024."""
    value = float(amount)
    for unit in ("B", "KB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 9.95 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def duration(milliseconds: float) -> str:
    """Milliseconds below a second, seconds below a minute, then minutes."""
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"


def bar(fraction: float, width: int) -> tuple[str, str]:
    """The full and the empty part of a bar; something that is not nothing shows at least one cell."""
    fraction = min(max(fraction, 0.0), 1.0)
    full = min(width, max(round(fraction * width), 1 if fraction > 0 else 0))
    return FULL * full, REST * (width - full)
