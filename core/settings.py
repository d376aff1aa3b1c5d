"""The settings: arguments win over the environment, this over the TOML file, and this over the defaults."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from core.paths import find_paths
from core.roles import Role

ENV_PREFIX = "CHARLIE_"

KvType = Literal["f16", "q8_0", "q4_0"]


class Thinking(StrEnum):
    """Whether a model thinks before it answers, where its chat template has a switch for that."""

    AUTO = "auto"
    """As the template has it, which mostly is to think."""
    ON = "on"
    OFF = "off"


class Policy(StrEnum):
    """Whether several models may be loaded at once."""

    EXCLUSIVE = "exclusive"
    """At most one."""
    FITTING = "fitting"
    """As many as fit, with the reserves; room is made by unloading the least recently used."""
    AUTO = "auto"
    """Fitting while the models of all roles fit at once, else exclusive."""


def read_config(file: Path) -> dict[str, Any]:
    """The content of config.toml, also with a byte order mark at its beginning; empty without the file."""
    return tomllib.loads(file.read_bytes().decode("utf-8-sig")) if file.exists() else {}


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(Section):
    """How the model chooses the next token. `seed = -1` draws a new seed for every reply."""

    temperature: Annotated[float, Field(ge=0, le=5)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: Annotated[int, Field(ge=0)] = 40
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.05
    repeat_penalty: Annotated[float, Field(gt=0, le=3)] = 1.0
    max_tokens: Annotated[int, Field(ge=1)] = 512
    """Of the answer alone."""
    thinking_tokens: Annotated[int, Field(ge=0)] = 2048
    """The most of a thought, which then is closed for the answer to begin."""
    seed: Annotated[int, Field(ge=-1, lt=2**32)] = -1


class RoleSettings(Section):
    """One role's model.

    Without `file`, the bundled model, and no reranker; without `context_length`, the model's own, but at most 4,096
    tokens (of an embedding model or reranker 512).
    """

    file: Path | None = None
    context_length: Annotated[int, Field(ge=64, le=2**22)] | Literal["auto"] | None = None
    """Tokens; "auto" is as many as fit in memory, up to the model's trained context length."""
    gpu_layers: Annotated[int, Field(ge=-1)] | Literal["auto"] = "auto"
    """Layers to offload; -1 is all of them, "auto" as many as fit in VRAM."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """At most, for prefill and decoding; unset, every core. Cores that other programs use are left to them."""
    batch: Annotated[int, Field(ge=32, le=2**16)] = 512
    """Tokens evaluated in one prefill step."""
    kv_type: KvType = "f16"
    """The number format of the KV cache: q8_0 takes half the memory of f16, q4_0 a quarter."""
    mmap: bool = True
    """Map the weights from the file; off reads them into memory."""
    device: Literal["auto", "cpu"] = "auto"
    """"cpu" keeps the model off every accelerator, whatever `gpu_layers` says."""
    keep_alive: float | None = None
    """Seconds the model stays warm after its last use; unset takes the general `keep_alive`."""
    pinned: bool = False
    """Never unload the model for being idle, and for another model only when nothing else makes room."""
    preload: bool = False
    """Load the model when the worker starts."""

    @field_validator("file")
    @classmethod
    def _is_no_old_default(cls, file: Path | None) -> Path | None:
        """The default models of an earlier version were in its own folder."""
        return None if file and "/core/starter/starter-" in str(file) and not file.exists() else file


class InstructSettings(RoleSettings):
    lora: Path | None = None
    """A LoRA adapter that is applied to the model."""
    sampling: Sampling = Sampling()
    thinking: Thinking = Thinking.AUTO
    """Whether the model thinks before it answers in a chat: "on", "off", or "auto" as its template has it."""
    system_prompt: str = (
        "You are Charlie, a warm and attentive companion. Listen, answer briefly, and ask one question."
    )


class EmbeddingSettings(RoleSettings):
    pooling: Literal["mean", "cls", "last"] | None = None
    """How token vectors become one vector; unset takes the pooling in the file's header."""


class MemorySettings(Section):
    """Memory left to other programs, which no load takes, and whether models share the rest."""

    policy: Policy = Policy.AUTO
    """Keep one model loaded ("exclusive"), as many as fit ("fitting"), or the latter if all fit at once ("auto")."""
    ram_reserve: ByteSize = ByteSize(512 * 1024**2)
    vram_reserve: ByteSize = ByteSize(256 * 1024**2)


class SessionSettings(Section):
    """The KV caches of conversations, kept on the disk while their model is not loaded."""

    limit: ByteSize = ByteSize(1024**3)
    """Disk space for all models together; 0 keeps no cache."""


class WatchdogSettings(Section):
    """Seconds until a worker that hangs is replaced; 0 waits for ever."""

    stopped_seconds: Annotated[float, Field(ge=0)] = 0.5
    """While it is stopped (SIGSTOP)."""
    silence_seconds: Annotated[float, Field(ge=0)] = 15.0
    """Without a heartbeat, although the process exists."""
    unload_seconds: Annotated[float, Field(ge=0)] = 20.0
    """During an unload."""
    progress_seconds: Annotated[float, Field(ge=0)] = 300.0
    """During a load or a job without progress: no token, no chunk, no part of a file."""


class DatabaseSettings(Section):
    url: str | None = None
    """The URL of a running Redis or Valkey server; unset starts the embedded one."""

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("it must begin with redis://, rediss:// or unix://")
        return url


class BackupSettings(Section):
    daily: bool = True
    """Export the library into data/backups once a day, while Charlie is idle or when it ends."""


class SupportSettings(Section):
    line: str = (
        "If you are in danger or thinking of ending your life: please talk to someone now. "
        "findahelpline.com lists free lines by country."
    )
    """Shown under a reply or an entry when a person's words tell of such distress; empty shows nothing."""


class InterfaceSettings(Section):
    theme: str = "textual-dark"
    keys: dict[str, str] = {}
    """Keys that replace an action's own, by its id: `"chat.stop" = "ctrl+x"`."""


class Settings(BaseSettings):
    """All settings. Frozen: a changed file gives a new object (see `SettingsFile`)."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__")

    instruct: InstructSettings = InstructSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    reranker: RoleSettings = RoleSettings()
    keep_alive: float = 300.0
    """Seconds a model stays warm after its last use; 0 unloads at once, below 0 never."""
    memory: MemorySettings = MemorySettings()
    sessions: SessionSettings = SessionSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    database: DatabaseSettings = DatabaseSettings()
    backup: BackupSettings = BackupSettings()
    support: SupportSettings = SupportSettings()
    interface: InterfaceSettings = InterfaceSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic gives the signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = InitSettingsSource(settings_cls, read_config(find_paths().config_file))
        return init_settings, env_settings, toml

    def role(self, role: Role) -> RoleSettings:
        """The section of a role has its name."""
        section: RoleSettings = getattr(self, role)
        return section
