"""Shared by commands: the attached Charlie, and the text of an argument or standard input."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from typer import BadParameter

from core.errors import CharlieError
from core.library.text_input import as_stored, decode

if TYPE_CHECKING:
    from app.commands.attach import Session


def session(*, worker: bool, patient: bool = True) -> AbstractContextManager[Session]:
    """Attach to a running Charlie, or run one for the block; without `worker`, only its database.

    At an orderly end a patient session waits for the running job, which another command has submitted.
    """
    from app.commands.attach import attach  # imports Redis and Huey, which `--help` does not need

    return attach(worker=worker, patient=patient)


def read_text(text: str | None, what: str) -> str:
    """The argument; standard input for `-`, or in a pipe without an argument.

    Raises CharlieError for an empty text and for one that cannot be stored, BadParameter without any.
    """
    if text is None and sys.stdin.isatty():
        raise BadParameter(f"Give the {what}, or `-` and pipe it in.")
    text = decode(sys.stdin.buffer.read()) if text in (None, "-") else as_stored(text)
    if not text.strip():
        raise CharlieError(f"The {what} is empty.", "Write something first.")
    return text
