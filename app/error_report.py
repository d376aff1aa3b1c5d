"""Reports a failed command: one sentence and a hint on stderr; a traceback goes only to the log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from redis.exceptions import RedisError

from core.database import connection
from core.errors import DISK_FULL, CharlieError
from core.paths import find_paths
from core.text import printable


def report(error: Exception) -> None:
    """Print an error; see `explained`."""
    failed = explained(error)
    for line in (f"charlie: {failed.message}", failed.hint):
        if line:
            print(printable(line), file=sys.stderr, flush=True)


def explained(error: Exception) -> CharlieError:
    """The error as a sentence and a hint; an unexpected one is logged as well."""
    match error:
        case CharlieError():
            return error
        case RedisError():
            return connection.explain(error)
        case OSError() if error.errno in DISK_FULL:
            return CharlieError(f"{error.strerror}.", "Make room, then try again; no saved data is lost.")
        case _:
            return _logged(error)


def _logged(error: Exception) -> CharlieError:
    name = type(error).__name__
    sentence = f"Unexpected error: {name}: {error}." if str(error) else f"Unexpected error: {name}."
    try:
        paths = find_paths()
        paths.make()
        log_to(paths.logs / "app.log")
    except (OSError, CharlieError):
        return CharlieError(sentence)
    logging.getLogger("app").error("A command failed.", exc_info=error)
    return CharlieError(sentence, f"The details are in {paths.logs / 'app.log'}.")


def log_to(file: Path) -> None:
    """Send warnings to a file instead of stderr; a second call changes nothing."""
    handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler]
    )
