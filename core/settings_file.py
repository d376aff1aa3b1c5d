"""Loads the settings, follows changes of config.toml, and explains errors in it."""

from __future__ import annotations

import os
import tomllib
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as UnreadableVariable

from core.errors import SettingsError
from core.files import stamp
from core.paths import Paths, find_paths
from core.settings import ENV_PREFIX, Settings

HINT = "Correct it, or remove it to use the default."


def load_settings(**arguments: Any) -> Settings:
    """Read the settings from every source. Raises SettingsError with the key, the value and the place."""
    paths = find_paths()
    _refuse_unknown_variables()
    if paths.config_file.exists() and not paths.config_file.is_file():
        raise SettingsError(f"{paths.config_file} is not a file.", "Move it out of the way.")
    try:
        return Settings(**arguments)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"The file {paths.config_file} is not valid TOML: {error}.", "Correct that line."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The file {paths.config_file} is not UTF-8.", "Save it as UTF-8.") from error
    except OSError as error:
        raise SettingsError(
            f"The file {paths.config_file} cannot be read: {error.strerror}.", "Correct or remove it."
        ) from error
    except UnreadableVariable as error:  # the cause names the error in the JSON
        raise SettingsError(f"The environment cannot be read: {error}: {error.__cause__}.", HINT) from error
    except ValidationError as error:
        raise _explain(error, arguments, paths) from error


class SettingsFile:
    """The settings, read again when the file has changed: `charlie models use` takes effect with the next job."""

    def __init__(self) -> None:
        self._file = find_paths().config_file
        self._stamp = stamp(self._file)
        self._settings = load_settings()

    def usable(self) -> Settings:
        """The settings, or the last good ones while the file is broken."""
        try:
            return self.current()
        except SettingsError:
            return self._settings

    def current(self) -> Settings:
        """Raises SettingsError when the file is broken."""
        if (now := stamp(self._file)) != self._stamp:
            self._settings = load_settings()
            self._stamp = now
        return self._settings


def _refuse_unknown_variables() -> None:
    for name in os.environ:
        if not name.startswith(ENV_PREFIX) or name == "CHARLIE_HOME":
            continue
        if name.removeprefix(ENV_PREFIX).split("__")[0].lower() not in Settings.model_fields:
            raise SettingsError(
                f"The environment variable {name} = {os.environ[name]!r} is not a setting of Charlie.",
                "Unset it; `charlie doctor` lists the settings.",
            )


def _explain(error: ValidationError, arguments: dict[str, Any], paths: Paths) -> SettingsError:
    first, *more = error.errors(include_url=False)
    keys = _keys(first["loc"])
    key = ".".join(keys)
    # A variable may hold a whole section, as JSON.
    variables = (ENV_PREFIX + "__".join(keys[:length]).upper() for length in range(len(keys), 0, -1))
    variable = next((name for name in variables if name in os.environ), None)
    if keys and _holds(arguments, keys):
        place = "the arguments"
    elif variable is not None:
        place = f"the environment variable {variable}"
    else:
        place = str(paths.config_file)
    if first["type"] == "extra_forbidden":
        what = f"The setting {key} = {first['input']!r} in {place} is unknown."
    else:
        why = first["msg"].removeprefix("Value error, ")
        # A setting that takes a number or a word: name the words too.
        words = [
            each["ctx"]["expected"] for each in more if each["type"] == "literal_error" and _keys(each["loc"]) == keys
        ]
        why = ", or ".join([why, *words])
        what = f"The setting {key} = {first['input']!r} in {place} cannot be used: {why}."
    return SettingsError(what, HINT)


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    """The key of an error, without the parts that pydantic adds for each type of a union."""
    keys: list[str] = []
    section: type[BaseModel] | None = Settings
    for part in map(str, loc):
        keys.append(part)
        field = section.model_fields.get(part) if section else None
        kind = field.annotation if field else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            section = kind
        elif section is None or kind != dict[str, str]:
            break
        else:
            section = None
    return keys


def _holds(values: Any, keys: list[str]) -> bool:
    """Whether nested values contain a key, or a plain value in place of one of its sections."""
    for key in keys:
        if not isinstance(values, dict):
            return True
        if key not in values:
            return False
        values = values[key]
    return True
