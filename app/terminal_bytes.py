"""Bytes from the terminal that are no UTF-8 are read as �: one of a Latin-1 terminal, or in what is pasted.

Textual's driver for Linux decodes strictly, and a single such byte would end the interface.
"""

from __future__ import annotations

import codecs
from functools import partial


def tolerate_all() -> None:
    """Have the driver read whatever comes; before the interface starts."""
    from textual.drivers import linux_driver

    def tolerant(encoding: str) -> partial[codecs.IncrementalDecoder]:
        return partial(codecs.getincrementaldecoder(encoding), errors="replace")

    setattr(linux_driver, codecs.getincrementaldecoder.__name__, tolerant)
