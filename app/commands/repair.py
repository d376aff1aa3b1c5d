"""`charlie repair`: goes on with what can be read of a damaged database file."""

from __future__ import annotations


def repair() -> None:
    """Mend a damaged database file: what can be read is kept, and the damaged file is set aside."""
    import os

    from app.output import talk
    from core import appendonly
    from core.database import APPEND_ONLY, take_lock
    from core.errors import DatabaseError
    from core.paths import find_paths

    paths = find_paths()
    paths.make()
    lock = take_lock(paths)
    if lock is None:
        raise DatabaseError("Charlie is running, so its database is in use and whole.", "Quit it first.")
    try:
        done = appendonly.repair(paths.database / APPEND_ONLY)
    finally:
        os.close(lock)
    if done is None:
        talk("The database file is whole; there is nothing to repair.")
        return
    talk(f"{done.damaged:,} of {done.size:,} bytes could not be read; {done.commands:,} writes are kept.")
    talk(f"The damaged file is {done.aside} now.")
