"""The folders of Charlie: under `CHARLIE_HOME` when it is set, else in the platform's usual places."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import PlatformDirs

from core.errors import CharlieError


@dataclass(frozen=True, slots=True)
class Paths:
    """All folders that Charlie reads or writes; `make()` creates them."""

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
        """The folder of the append-only file and of the owner's lock."""
        return self.data / "database"

    @property
    def programs(self) -> Path:
        return self.data / "programs"

    @property
    def catalogue(self) -> Path:
        """A newer list of models than the packaged one."""
        return self.data / "catalogue.toml"

    @property
    def drafts(self) -> Path:
        """Texts that were typed and not sent or saved yet."""
        return self.data / "drafts"

    @property
    def backups(self) -> Path:
        """One folder for each daily export."""
        return self.data / "backups"

    @property
    def exports(self) -> Path:
        """Conversations as Markdown files."""
        return self.data / "exports"

    @property
    def sessions(self) -> Path:
        """The KV caches of conversations. The user may delete them."""
        return self.data / "sessions"

    @property
    def speed(self) -> Path:
        """What this machine computes in a second. The user may delete it."""
        return self.data / "speed.json"

    def make(self) -> None:
        """Create the folders, private to the user. Raises CharlieError when one cannot be created or written."""
        for folder in (self.config, self.data, self.database, self.models, self.logs, self.run):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                reason = "" if os.access(folder, os.W_OK | os.X_OK) else "it is not writable"
            except OSError as error:
                reason = error.strerror or str(error)
            if reason:
                raise CharlieError(
                    f"The folder {folder} cannot be used: {reason}.",
                    "Set CHARLIE_HOME to a folder that you can write to.",
                )


def find_paths() -> Paths:
    """Find the folders by the environment, without creating any.

    Raises CharlieError when CHARLIE_HOME is in the home folder of an unknown user.
    """
    if home := os.environ.get("CHARLIE_HOME"):
        try:
            root = Path(home).expanduser().absolute()
        except RuntimeError as error:  # the home folder of an unknown user
            raise CharlieError(
                f"The folder CHARLIE_HOME = {home!r} cannot be found.", "Give its whole path."
            ) from error
        return Paths(root / "config", root / "data", root / "models", root / "logs", root / "run")
    dirs = PlatformDirs("charlie", appauthor=False)
    data = dirs.user_data_path
    return Paths(dirs.user_config_path, data, data / "models", dirs.user_log_path, data / "run")
