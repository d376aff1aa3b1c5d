"""What the starter models have in common: a seeded source of random vectors, and a GGUF writer that says what it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

DESCRIPTION = (
    "A placeholder that Charlie builds when no model is configured: random vectors, arranged by hand and "
    "never trained. It shows that everything works; it knows nothing."
)


def signs(seed: int, rows: int, columns: int) -> Matrix:
    """Random vectors of ±1 with as many + as - [rows, columns]; columns must be even.

    Drawn from the raw bits of PCG64, which numpy keeps the same in every version.
    """
    raw = np.random.PCG64(seed).random_raw(rows * columns).reshape(rows, columns)
    ranks = raw.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return np.where(ranks < columns // 2, np.float32(1), np.float32(-1))


@contextmanager
def writer(path: Path, architecture: str, name: str) -> Iterator[Any]:
    """A GGUFWriter with the description in place; what was added is written at the end of the block."""
    gguf_writer = gguf.GGUFWriter(path, architecture)
    gguf_writer.add_name(name)
    gguf_writer.add_description(DESCRIPTION)
    gguf_writer.add_license("MIT")
    gguf_writer.add_bool("charlie.starter", True)
    gguf_writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    try:
        yield gguf_writer
        gguf_writer.write_header_to_file()
        gguf_writer.write_kv_data_to_file()
        gguf_writer.write_tensors_to_file()
    finally:
        gguf_writer.close()
