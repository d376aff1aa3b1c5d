"""From the settings to a role's model: its file and the options of its load. Never loads llama.cpp."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from core.errors import ModelFileError, SettingsError
from core.files import stamp
from core.model_files.bundled import path_of
from core.model_files.families import Pooling
from core.model_files.gguf import FileKind, Header, read_header
from core.model_files.parts import parts_of
from core.paths import Paths
from core.roles import Role
from core.settings import EmbeddingSettings, InstructSettings, KvType, RoleSettings, Settings

DEFAULT_CONTEXT = 4096
DEFAULT_ENCODER_CONTEXT = 512
"""Entries are split into short chunks, and llama.cpp may need a megabyte for each token: all its logits."""
MAX_CONTEXT = 2**20
"""Limit of "auto"; a header may claim anything."""
MIN_CONTEXT = 2048
"""With `context_length = "auto"`, a model is refused if this many tokens do not fit."""
KV_BLOCK = 32
"""Values of a head that a quantized KV cache stores together; llama.cpp refuses heads that it does not divide."""
ONE_THREAD_BYTES = 4 * 1024**2
"""Layers of a smaller model are so short that a second thread gains almost nothing, and takes a core."""
NO_FLASH_ATTENTION = frozenset({"grok"})
"""Architectures whose KV cache cannot be quantized; llama.cpp, llama_init_from_model."""

KINDS = {Role.INSTRUCT: "a generating model", Role.EMBEDDING: "an embedding model", Role.RERANKER: "a reranker"}
NO_MODELS = {
    FileKind.PROJECTOR: ("an image or sound projector (mmproj)", "Choose the model that it came with."),
    FileKind.ADAPTER: ("an adapter (LoRA)", "Choose its model, and name this file in instruct.lora."),
    FileKind.IMATRIX: ("an importance matrix", "Choose a model; this only helps to quantize one."),
    FileKind.VOCABULARY: ("a vocabulary without a model", "Choose a file with weights."),
}
"""Files that are no models of their own: their kind in words, and what to do instead."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One role's model and the options of its load."""

    role: Role
    path: Path
    name: str
    header: Header
    bundled: bool
    """Whether it is the model that comes with Charlie."""
    context_length: int
    """Tokens; the maximum if the plan chooses."""
    least_context: int
    """The minimum; equal to `context_length` if the settings fix it."""
    gpu_layers: int
    """Layers to offload, the output counted as one; the maximum if the plan chooses."""
    least_gpu_layers: int
    threads: int
    """For decoding, one token at a time; at most."""
    prefill_threads: int
    """For the prefill, and for encoders."""
    batch: int
    """Tokens of one prefill step."""
    kv_type: KvType
    mmap: bool
    pooling: Pooling | None
    lora: Header | None = None
    """The adapter, whose files and bytes are in `header`, too."""
    cpu_only: bool = False
    """Whether nothing of it, its KV cache and its long prefills included, goes to an accelerator."""


def resolve(settings: Settings, paths: Paths, role: Role, file: Path | None = None) -> ModelSpec:
    """The spec of a role: of `file`, else of the configured file, else of the bundled model.

    Raises ModelFileError for a file that does not fit the role, SettingsError for a context longer than the model's,
    NoModelError.
    """
    configured = settings.role(role)
    file = file or configured.file
    path = locate(paths, file) if file else path_of(role, paths)
    header = read_header(path)
    check_role(header, role)
    lora = configured.lora if isinstance(configured, InstructSettings) else None
    adapter = read_header(locate(paths, lora)) if lora else None
    return spec_for(configured, header, role, adapter, bundled=file is None)


def spec_for(
    configured: RoleSettings, header: Header, role: Role, lora: Header | None = None, *, bundled: bool = False
) -> ModelSpec:
    """A model file with the settings of a role. Raises SettingsError for one that cannot go with the model."""
    if lora is not None:
        if lora.kind is not FileKind.ADAPTER or lora.architecture != header.architecture:
            raise SettingsError(
                f"The setting {role}.lora names {lora.path}, which holds {describe(lora)} ({lora.architecture}), and "
                f"{header.path.name} needs an adapter for {header.architecture}.",
                f"Correct or remove {role}.lora.",
            )
        header = header.with_adapter(lora)
    _check_kv_type(configured, header, role)
    own = header.context_length or DEFAULT_CONTEXT
    wanted = configured.context_length
    if isinstance(wanted, int) and wanted > own:
        raise SettingsError(
            f"The setting {role}.context_length = {wanted:,} is more than the {own:,} tokens "
            f"that {header.path.name} was trained for.",
            f"Set it to {own} or less, or remove it.",
        )
    usual = DEFAULT_CONTEXT if role is Role.INSTRUCT else DEFAULT_ENCODER_CONTEXT
    own = min(own, MAX_CONTEXT)
    context = own if wanted == "auto" else wanted or min(own, usual)
    every = header.layers + 1
    cores = 1 if header.tensor_bytes < ONE_THREAD_BYTES else os.cpu_count() or 1
    pooling = configured.pooling if isinstance(configured, EmbeddingSettings) else None
    cpu_only = configured.device == "cpu"
    layers = every if configured.gpu_layers in ("auto", -1) else min(int(configured.gpu_layers), every)
    layers = 0 if cpu_only else layers
    return ModelSpec(
        role=role,
        path=header.path,
        name=f"{header.name} + {lora.name}" if lora else header.name,
        header=header,
        bundled=bundled,
        context_length=context,
        least_context=min(own, MIN_CONTEXT) if wanted == "auto" else context,
        gpu_layers=layers,
        least_gpu_layers=0 if configured.gpu_layers == "auto" else layers,
        threads=configured.threads or cores,  # less those that others use; core/llama/threads.py
        prefill_threads=configured.threads or cores,
        batch=configured.batch,
        kv_type=configured.kv_type,
        mmap=configured.mmap,
        pooling="rank" if header.is_reranker else pooling or header.pooling,
        lora=lora,
        cpu_only=cpu_only,
    )


def _check_kv_type(configured: RoleSettings, header: Header, role: Role) -> None:
    odd = next((size for size in (header.head_dim_key, header.head_dim_value) if size % KV_BLOCK), 0)
    if configured.kv_type == "f16" or not (odd or header.architecture in NO_FLASH_ATTENTION):
        return
    why = f"its heads have {odd} values, not a multiple of {KV_BLOCK}" if odd else "it has no flash attention"
    raise SettingsError(
        f'The setting {role}.kv_type = "{configured.kv_type}" cannot be used with {header.path.name}: {why}.',
        f'Set {role}.kv_type = "f16", or remove it.',
    )


def locate(paths: Paths, file: Path) -> Path:
    """The path of a configured file: a relative one is in the models folder."""
    return paths.models / file.expanduser()


def available(paths: Paths) -> list[Path]:
    """The models in the models folder, by name: of several parts the first, and of links to one file one."""
    found: dict[object, Path] = {}
    for path in sorted(paths.models.glob("*.gguf"), key=lambda path: (path.is_symlink(), path)):
        first = parts_of(path)[0]
        if path.is_file() and (path == first or not first.is_file()):
            found.setdefault(stamp(path), path)
    return sorted(found.values())


def role_of(header: Header) -> Role:
    """The role that a model fits. Some embedding models are decoders; their header names a pooling."""
    if header.is_reranker:
        return Role.RERANKER
    return Role.EMBEDDING if header.is_encoder or header.pooling is not None else Role.INSTRUCT


def describe(header: Header) -> str:
    """The kind of a file, in words."""
    return KINDS[role_of(header)] if header.kind is FileKind.MODEL else NO_MODELS[header.kind][0]


def default_spec(header: Header) -> ModelSpec:
    """A model file with default settings, in the role that it fits."""
    return spec_for(RoleSettings(), header, role_of(header))


def check_role(header: Header, role: Role) -> None:
    """Raise ModelFileError when a file is no model, or one that does not fit a role."""
    if header.kind is not FileKind.MODEL:
        kind, hint = NO_MODELS[header.kind]
        raise ModelFileError(f"The file {header.path} holds no language model but {kind}.", hint)
    if not header.layers:
        raise ModelFileError(
            f"The file {header.path} holds no language model: its header names no layers.", "Choose another file."
        )
    if role_of(header) is not role:
        raise ModelFileError(
            f"The file {header.path} holds {describe(header)} ({header.architecture}), and the role {role} "
            f"needs {KINDS[role]}.",
            f"Choose another with `charlie models use {role} FILE`.",
        )
