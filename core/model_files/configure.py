"""Writes a role's model file, and whether it is pinned, into config.toml."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from core.errors import SettingsError
from core.files import write_atomically
from core.model_files.gguf import Header, read_header
from core.model_files.spec import check_role, locate
from core.model_files.trial import try_out
from core.paths import Paths
from core.roles import Role


def use(paths: Paths, role: Role, file: Path) -> Header:
    """Configure `file` for a role; the rest of the configuration file stays as it is, comments included.

    A relative path is looked up in the working directory, then in the models folder. Raises ModelFileError for a
    file that cannot be used, LoadFailedError for one that llama.cpp refuses, SettingsError when the configuration
    cannot be written.
    """
    path = file.expanduser()
    path = path.absolute() if path.exists() else locate(paths, path)
    header = read_header(path)
    check_role(header, role)
    try_out(role, header.path)
    _write(paths, role, "file", str(header.path))
    return header


def pin(paths: Paths, role: Role, pinned: bool) -> None:
    """Configure whether a role's model stays loaded while it is idle. Raises SettingsError."""
    _write(paths, role, "pinned", pinned)


def _write(paths: Paths, role: Role, key: str, value: str | bool) -> None:
    config = paths.config_file
    try:
        text = config.read_text("utf-8-sig") if config.exists() else ""
        config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(config, set_value(text, role, key, value))
    except TOMLKitError as error:
        raise SettingsError(f"The file {config} is not valid TOML: {error}.", "Correct that line.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The file {config} is not text.", "Correct or remove it.") from error
    except OSError as error:
        raise SettingsError(
            f"The file {config} cannot be written: {error.strerror or error}.", "Make it writable."
        ) from error


def set_value(text: str, role: Role, key: str, value: str | bool) -> str:
    """The TOML text with `key` set in the role's section; comments and order stay.

    Raises TOMLKitError when the text is not TOML, SettingsError when the role has no section but a value.
    """
    document = tomlkit.parse(text)
    section = document.setdefault(role.value, tomlkit.table())
    if not isinstance(section, MutableMapping):
        raise SettingsError(f"{role} is not a section of the configuration but a value.", "Correct or remove it.")
    section[key] = value
    return tomlkit.dumps(document)
