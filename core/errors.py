"""The errors that a person sees: one sentence, and a hint."""

from __future__ import annotations

import errno
from typing import Final

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class CharlieError(Exception):
    """An error shown as one sentence and one hint, never as a traceback."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class SettingsError(CharlieError):
    """A setting is unknown or has a value that cannot be used."""


class ModelFileError(CharlieError):
    """A model file is missing, damaged, of an unknown architecture, or of the wrong kind for its role."""


class NoModelError(CharlieError):
    """A role has no model: none is configured, and none comes with Charlie."""


class MemoryRefusedError(CharlieError):
    """A model does not fit into the free memory; nothing was loaded."""


class LoadFailedError(CharlieError):
    """A load failed although its plan fitted; its memory was freed."""


class OutOfMemoryError(LoadFailedError):
    """A load failed because an allocation failed."""


class CancelledError(CharlieError):
    """The work was cancelled on request."""

    def __init__(self, message: str = "Cancelled.", hint: str = "") -> None:
        super().__init__(message, hint)


class DatabaseError(CharlieError):
    """The database cannot be started or reached."""


class NotFoundError(CharlieError):
    """The conversation, entry or job does not exist."""
