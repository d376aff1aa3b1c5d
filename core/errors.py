"""The errors a person can cause or meet: one sentence, and one hint of what to do."""

from __future__ import annotations


class CharlieError(Exception):
    """A failure that is told in one sentence, with one hint; never shown as a traceback."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class SettingsError(CharlieError):
    """A setting is unknown or has a value that cannot be used."""


class ModelFileError(CharlieError):
    """A model file is missing, damaged, of an unknown kind, or of the wrong kind for its role."""


class MemoryRefusedError(CharlieError):
    """A model does not fit the memory that is free now; nothing was loaded."""


class LoadFailedError(CharlieError):
    """A model could not be loaded although its plan fitted; everything was given back."""


class OutOfMemoryError(LoadFailedError):
    """A load failed because an allocation did."""


class CancelledError(CharlieError):
    """Somebody asked for the work to stop, and it did."""

    def __init__(self, message: str = "Cancelled.", hint: str = "") -> None:
        super().__init__(message, hint)


class DatabaseError(CharlieError):
    """The database cannot be started or reached."""


class NotFoundError(CharlieError):
    """A conversation, entry or job that was asked for does not exist."""
