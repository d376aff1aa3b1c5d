"""The models that are configured: which file has which role, and with what it is loaded. Never loads llama.cpp."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from core import starter
from core.downloads import fetch, recommended
from core.errors import CharlieError, ModelFileError, SettingsError
from core.gguf import Header, read_header
from core.memory import read_ram
from core.settings import EmbeddingSettings, KvType, Role, RoleSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.paths import Paths

__all__ = [
    "DEFAULT_CONTEXT",
    "ModelSpec",
    "available",
    "check_role",
    "describe",
    "describe_spec",
    "locate",
    "pull",
    "resolve",
    "set_file",
    "use",
]

DEFAULT_CONTEXT = 4096
DEFAULT_ENCODER_CONTEXT = 1024
"""An encoder's memory grows with its context, and entries are split anyway."""
MOST_CONTEXT = 2**20
"""What "auto" stops at; a header may claim anything."""
LEAST_CONTEXT = 2048
"""With `context_length = "auto"`, a model that has no room for this many tokens is refused."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One role's model, ready to be loaded."""

    role: Role
    path: Path
    name: str
    header: Header
    starter: bool
    context_length: int
    """Tokens; the most that is wanted where the settings leave it to the plan."""
    least_context: int
    """Below this many tokens it is not loaded; the same as `context_length` where that is set."""
    gpu_layers: int
    """Layers to offload, the output counted as one; the most that is wanted."""
    least_gpu_layers: int
    threads: int
    batch: int
    """Tokens evaluated in one prefill step."""
    kv_type: KvType
    mmap: bool
    pooling: str | None


def resolve(settings: Settings, paths: Paths, role: Role, file: Path | None = None) -> ModelSpec:
    """What is configured for a role: its file, or the starter model.

    With `file`, what it would be with that file in its place.

    Raises ModelFileError for a file that cannot be used in the role, SettingsError for a context that the
    model does not have.
    """
    configured = settings.role(role)
    file = file or configured.file
    path = locate(paths, file) if file else starter.path_of(role)
    header = read_header(path)
    check_role(header, role)
    return spec_for(configured, header, role)


def spec_for(configured: RoleSettings, header: Header, role: Role) -> ModelSpec:
    """A model file with the settings of a role. Raises SettingsError for a context that it does not have."""
    own = header.context_length or DEFAULT_CONTEXT
    wanted = configured.context_length
    if isinstance(wanted, int) and wanted > own:
        raise SettingsError(
            f"The setting {role}.context_length = {wanted:,} is more than the {own:,} tokens "
            f"that {header.path.name} was made for.",
            f"Set it to {own} or less, or take it out.",
        )
    usual = DEFAULT_CONTEXT if role is Role.INSTRUCT else DEFAULT_ENCODER_CONTEXT
    own = min(own, MOST_CONTEXT)
    context = own if wanted == "auto" else wanted or min(own, usual)
    every = header.layers + 1
    layers = every if configured.gpu_layers in ("auto", -1) else min(int(configured.gpu_layers), every)
    return ModelSpec(
        role=role,
        path=header.path,
        name=header.name,
        header=header,
        starter=header.starter,
        context_length=context,
        least_context=min(own, LEAST_CONTEXT) if wanted == "auto" else context,
        gpu_layers=layers,
        least_gpu_layers=0 if configured.gpu_layers == "auto" else layers,
        # A starter's layers are so small that a second thread would only wait for the first.
        threads=configured.threads or (1 if header.starter else os.cpu_count() or 1),
        batch=configured.batch,
        kv_type=configured.kv_type,
        mmap=configured.mmap,
        pooling=_pooling(configured, header),
    )


def _pooling(configured: RoleSettings, header: Header) -> str | None:
    if header.is_reranker:
        return "rank"
    return (configured.pooling if isinstance(configured, EmbeddingSettings) else None) or header.pooling


def locate(paths: Paths, file: Path) -> Path:
    """A configured file's place: a relative one is in the models folder."""
    return paths.models / file.expanduser()


def available(paths: Paths) -> list[Path]:
    """The GGUF files in the models folder, by name."""
    return sorted(path for path in paths.models.glob("*.gguf") if path.is_file())


def describe(header: Header) -> str:
    """What kind of model a file holds, in words."""
    if header.is_reranker:
        return "a reranker"
    if header.is_encoder or header.pooling is not None:
        return "an embedding model"
    return "a generating model"


def describe_spec(header: Header) -> ModelSpec:
    """A model file with the usual settings, in the role that it can have."""
    if header.is_reranker:
        return spec_for(RoleSettings(), header, Role.RERANKER)
    encoder = header.is_encoder or header.pooling is not None
    return spec_for(RoleSettings(), header, Role.EMBEDDING if encoder else Role.INSTRUCT)


def check_role(header: Header, role: Role) -> None:
    """Raise ModelFileError when a model cannot do what the role needs."""
    if not header.layers:
        raise ModelFileError(
            f"The file {header.path} holds no language model: its header names no layers.", "Choose another file."
        )
    match role:
        case Role.INSTRUCT:
            needs, fits = "a generating model", not header.is_encoder and header.pooling is None
        case Role.EMBEDDING:
            # Some embedding models are decoders; their header names a pooling.
            needs = "an embedding model"
            fits = not header.is_reranker and (header.is_encoder or header.pooling is not None)
        case Role.RERANKER:
            needs, fits = "a reranker", header.is_reranker
        case _:
            assert_never(role)
    if not fits:
        raise ModelFileError(
            f"The file {header.path} holds {describe(header)} ({header.architecture}), and the role {role} "
            f"needs {needs}.",
            f"Choose another with `charlie models use {role} FILE`.",
        )


def use(paths: Paths, role: Role, file: Path) -> Header:
    """Configure `file` for a role, in the configuration file; all else in it stays as it is.

    A relative path is looked for in the present folder, then in the models folder. Raises ModelFileError for a
    file that cannot be used, SettingsError when the configuration cannot be written.
    """
    path = file.expanduser()
    path = path.absolute() if path.exists() else locate(paths, path)
    header = read_header(path)
    check_role(header, role)
    config = paths.config_file
    try:
        text = config.read_text() if config.exists() else ""
        config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(config, set_file(text, role, str(path)))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The file {config} is not valid TOML: {error}.", "Correct that line.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The file {config} is not text.", "Correct or remove it.") from error
    except OSError as error:
        raise SettingsError(
            f"The file {config} cannot be written: {error.strerror or error}.", "Make it writable."
        ) from error
    return header


def pull(
    paths: Paths,
    role: Role,
    repo: str | None = None,
    file: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Download a model into the models folder, going on where an earlier download ended, and configure it.

    Without a repository the model is taken that is recommended for this machine's memory. `on_progress(done, total)`
    counts bytes. Raises CharlieError when the download fails, ModelFileError when the file cannot have the role.
    """
    if repo is None:
        best = recommended(role, read_ram().total)
        repo, file = best.repo, best.file
    if file is None:
        raise CharlieError(f"The file of {repo} is not named.", "Add `--file NAME.gguf`.")
    path = fetch(paths.models, repo, file, on_progress)
    use(paths, role, path)
    return path


def set_file(text: str, role: Role, file: str) -> str:
    """The TOML text with `file` set in the role's section, by lines, so that comments and order stay.

    Raises TOMLDecodeError when the text is not TOML, SettingsError when the section is written in a way that a
    line cannot be put into.
    """
    expected: dict[str, Any] = tomllib.loads(text)
    section = expected.setdefault(role.value, {})
    section["file"] = file
    line = f"file = {_quoted(file)}"
    lines = text.splitlines()
    header = next((n for n, each in enumerate(lines) if re.match(rf"\s*\[\s*{role.value}\s*\]", each)), None)
    if header is None:
        lines += ["", f"[{role.value}]", line] if lines else [f"[{role.value}]", line]
    else:
        end = next((n for n in range(header + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
        old = next((n for n in range(header + 1, end) if re.match(r"\s*file\s*=", lines[n])), None)
        if old is None:
            lines.insert(header + 1, line)
        else:
            lines[old] = line
    changed = "\n".join(lines) + "\n"
    try:
        done = tomllib.loads(changed) == expected
    except tomllib.TOMLDecodeError:
        done = False
    if not done:
        raise SettingsError(
            f"The section {role.value} of the configuration is written in a way that cannot be changed by itself.",
            f"Put this into it: {line}",
        )
    return changed


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".config-")
    part = type(path)(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
