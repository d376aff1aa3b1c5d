"""The settings: arguments, then environment, then the TOML file, then defaults. Built once, passed in."""

from __future__ import annotations

import os
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableVariable

from core.errors import SettingsError
from core.paths import Paths, find_paths

ENV_PREFIX = "CHARLIE_"
HINT = "Correct it there, or take it out to have the default."


class Role(StrEnum):
    """What a model is for. One file is configured per role."""

    INSTRUCT = "instruct"
    EMBEDDING = "embedding"
    RERANKER = "reranker"


KvType = Literal["f16", "q8_0", "q4_0"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(Section):
    """How the next token is drawn. `seed = -1` draws a new seed for every reply."""

    temperature: Annotated[float, Field(ge=0, le=5)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: Annotated[int, Field(ge=0)] = 40
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.05
    repeat_penalty: Annotated[float, Field(gt=0, le=3)] = 1.0
    max_tokens: Annotated[int, Field(ge=1)] = 512
    seed: Annotated[int, Field(ge=-1, lt=2**32)] = -1


class RoleSettings(Section):
    """One role's model. Unset means: the starter model, its own context (at most 4,096 tokens), every core."""

    file: Path | None = None
    context_length: Annotated[int, Field(ge=64, le=2**22)] | Literal["auto"] | None = None
    """Tokens; "auto" is as many as fit, up to what the model was made for."""
    gpu_layers: Annotated[int, Field(ge=-1)] | Literal["auto"] = "auto"
    """Layers to offload; -1 is all of them, "auto" as many as fit."""
    threads: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=32, le=2**16)] = 512
    """Tokens evaluated in one prefill step."""
    kv_type: KvType = "f16"
    """What the KV cache is stored as: q8_0 takes half as much as f16, q4_0 a quarter."""
    mmap: bool = True
    """Map the weights from the file, or read them into memory of their own."""


class InstructSettings(RoleSettings):
    sampling: Sampling = Sampling()
    system_prompt: str = (
        "You are Charlie, a warm and attentive companion. Listen, answer briefly, and ask one question."
    )


class EmbeddingSettings(RoleSettings):
    pooling: Literal["mean", "cls", "last"] | None = None
    """How token vectors become one; unset takes what the file's header says."""


class RerankerSettings(RoleSettings):
    pass


class MemorySettings(Section):
    """What is left to the rest of the machine; a load never takes it."""

    ram_reserve: ByteSize = ByteSize(512 * 1024**2)
    vram_reserve: ByteSize = ByteSize(256 * 1024**2)


class SessionSettings(Section):
    """The KV caches of conversations, which are kept on the disk while their model is not loaded."""

    limit: ByteSize = ByteSize(1024**3)
    """Of the disk, for all models together; 0 keeps none."""


class WatchdogSettings(Section):
    """How many seconds a worker is given before it is replaced; 0 is for ever."""

    stopped_seconds: Annotated[float, Field(ge=0)] = 0.5
    """While something has stopped it (SIGSTOP)."""
    silence_seconds: Annotated[float, Field(ge=0)] = 15.0
    """Without a sign of life, though the process is there."""
    unload_seconds: Annotated[float, Field(ge=0)] = 20.0
    """For an unload."""
    progress_seconds: Annotated[float, Field(ge=0)] = 300.0
    """For a load or a job of which nothing is heard: no token, no chunk, no part of a file."""


class DatabaseSettings(Section):
    url: str | None = None
    """A Redis or Valkey server that is already there; unset starts the embedded one."""

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("it begins with redis://, rediss:// or unix://")
        return url


class InterfaceSettings(Section):
    theme: str = "textual-dark"
    keys: dict[str, str] = {}
    """Other keys for actions, by the action's id: `"chat.stop" = "ctrl+x"`."""


class Settings(BaseSettings):
    """Everything that can be configured. Frozen: a change is a new start."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__")

    instruct: InstructSettings = InstructSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    reranker: RerankerSettings = RerankerSettings()
    keep_alive: float = 300.0
    """Seconds a model stays warm after its last use; 0 unloads at once, below 0 never."""
    memory: MemorySettings = MemorySettings()
    sessions: SessionSettings = SessionSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    database: DatabaseSettings = DatabaseSettings()
    interface: InterfaceSettings = InterfaceSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, find_paths().config_file)
        return init_settings, env_settings, toml

    def role(self, role: Role) -> InstructSettings | EmbeddingSettings | RerankerSettings:
        match role:
            case Role.INSTRUCT:
                return self.instruct
            case Role.EMBEDDING:
                return self.embedding
            case Role.RERANKER:
                return self.reranker


def load_settings(**arguments: Any) -> Settings:
    """Read the settings from every source.

    Raises SettingsError that names the key, the value and the place.
    """
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
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The file {paths.config_file} cannot be read: {error}.", "Correct or remove it."
        ) from error
    except UnreadableVariable as error:  # the cause says what is wrong with the JSON
        raise SettingsError(f"The environment cannot be read: {error}: {error.__cause__}.", HINT) from error
    except ValidationError as error:
        raise _explain(error, arguments, paths) from error


class SettingsFile:
    """The settings, read again when the file has changed: `charlie models use` counts from the next job on."""

    def __init__(self) -> None:
        self._file = find_paths().config_file
        self._stamp = self._now()
        self._settings = load_settings()

    def usable(self) -> Settings:
        """The settings, or those of before while the file is broken: for what must go on all the same."""
        try:
            return self.current()
        except SettingsError:
            return self._settings

    def current(self) -> Settings:
        """Raises SettingsError when the file has become unusable."""
        if (now := self._now()) != self._stamp:
            self._settings = load_settings()
            self._stamp = now
        return self._settings

    def _now(self) -> tuple[int, int] | None:
        try:
            stat = self._file.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size


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
        # A number or a word: each of the two says why it cannot be.
        words = [
            each["ctx"]["expected"] for each in more if each["type"] == "literal_error" and _keys(each["loc"]) == keys
        ]
        why = ", or ".join([why, *words])
        what = f"The setting {key} = {first['input']!r} in {place} cannot be used: {why}."
    return SettingsError(what, HINT)


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    """The place of an error without what pydantic adds to it for each kind that a value could have been."""
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
    """Whether nested values reach down to a key, or to one above it that is no section."""
    for key in keys:
        if not isinstance(values, dict):
            return True
        if key not in values:
            return False
        values = values[key]
    return True
