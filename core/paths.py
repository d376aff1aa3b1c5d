"""Where files live: under `CHARLIE_HOME` when it is set, else where the platform keeps such files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import PlatformDirs

from core.errors import CharlieError


@dataclass(frozen=True, slots=True)
class Paths:
    """Every place Charlie reads or writes. Nothing is created until `make()` is called."""

    config: Path
    data: Path
    models: Path
    logs: Path
    run: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def database(self) -> Path:
        """The folder with the append-only file, and the lock that says who owns it."""
        return self.data / "database"

    @property
    def programs(self) -> Path:
        return self.data / "programs"

    @property
    def sessions(self) -> Path:
        """The KV caches of conversations, as one may delete them."""
        return self.data / "sessions"

    def make(self) -> None:
        """Create the folders, private to the user.

        Raises CharlieError when one cannot be created or written.
        """
        for folder in (self.config, self.data, self.database, self.models, self.logs, self.run):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise _unusable(folder, error) from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise _unusable(folder, PermissionError("it is not writable"))


def _unusable(folder: Path, error: OSError) -> CharlieError:
    return CharlieError(
        f"The folder {folder} cannot be used: {error.strerror or error}.",
        "Set CHARLIE_HOME to a folder that you can write to.",
    )


def find_paths() -> Paths:
    """Resolve the folders from the environment, without touching the disk.

    Raises CharlieError when CHARLIE_HOME names the home of a user who does not exist.
    """
    if home := os.environ.get("CHARLIE_HOME"):
        try:
            root = Path(home).expanduser().absolute()
        except RuntimeError as error:  # `~somebody` who does not exist
            raise CharlieError(
                f"The folder CHARLIE_HOME = {home!r} cannot be found.", "Write its whole path."
            ) from error
        return Paths(root / "config", root / "data", root / "models", root / "logs", root / "run")
    dirs = PlatformDirs("charlie", appauthor=False)
    data = dirs.user_data_path
    return Paths(dirs.user_config_path, data, data / "models", dirs.user_log_path, data / "run")
