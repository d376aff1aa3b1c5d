"""The memory of a model by llama.cpp's own simulation of its load, in bytes."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from core.errors import CharlieError, LoadFailedError, OutOfMemoryError
from core.llama.calls import ignore, llama_cpp, never
from core.llama.engine import load_failure
from core.llama.load_options import arguments, llama_class
from core.llama.log import llama_log
from core.memory.footprint import F32, MAX_OUTPUTS, Footprint, kept_for, overhead
from core.model_files.gguf import read_header
from core.model_files.spec import ModelSpec, spec_for
from core.roles import Role
from core.settings import RoleSettings

MIB = 1024**2
LAYER = re.compile(r"load_tensors: layer +(\d+) assigned to device (\S+?),")
KV_LAYER = re.compile(r"llama_(?:kv_cache:|memory_recurrent,) layer +\d+: dev = (\S+)")
KV_SIZE = re.compile(r"llama_kv_cache: size = +([\d.]+) MiB \( *(\d+) cells")
WINDOWED = "llama_kv_cache_iswa: creating     SWA"
"""The KV cache of layers with a sliding window follows."""
COMPUTE = re.compile(r"(\S+) compute buffer size = +([\d.]+) MiB")
OUTPUT = re.compile(r"(\S+) +output buffer size = +([\d.]+) MiB")
RECURRENT = re.compile(r"llama_memory_recurrent: size = +([\d.]+) MiB")
MEMORY_LINES = (
    "load_tensors: layer",
    "llama_kv_cache",
    "llama_memory_recurrent",
    "llama_context: ",
    "sched_reserve: ",
)
"""Prefixes of the lines about memory, among a thousand others."""
HOST = ("CPU", "CUDA_Host", "Vulkan_Host", "SYCL_Host", "ROCm_Host")
"""Buffers in RAM."""


def simulate(spec: ModelSpec) -> Footprint:
    """Ask llama.cpp for the footprint of a spec; takes milliseconds and about a megabyte.

    `no_alloc` (llama.h) makes llama.cpp plan every buffer and allocate none. Without the vocabulary, which would take
    most of the time; its memory is computed. Raises LoadFailedError when llama.cpp refuses the file.
    """
    own = f"{spec.header.architecture}.vocab_size"
    try:
        return _simulate(spec, {"tokenizer.ggml.model": "no_vocab", own: spec.header.vocab_size})
    except OutOfMemoryError:
        raise
    except LoadFailedError:
        return _simulate(spec, None)  # the vocabulary that is missing may be the reason


def _simulate(spec: ModelSpec, overrides: dict[str, str | int] | None, *, verbose: bool = False) -> Footprint:
    kind = llama_class(spec.role, ignore, never, simulated=True)
    with llama_log().listen(quiet=True) as log:
        try:
            own = {"use_mmap": False, "lora_path": None, "kv_overrides": overrides, "verbose": verbose}
            llama = kind(**arguments(spec) | own)
        except (ValueError, RuntimeError, MemoryError, AssertionError) as error:
            traceback.clear_frames(error.__traceback__)  # they hold the half-made model
            raise load_failure(spec, log.errors, error) from error
        weights = llama_cpp.llama_model_size(llama.model) - spec.header.draft_bytes
        weights += spec.lora.tensor_bytes if spec.lora else 0
        window = llama_cpp.llama_model_n_swa(llama.model)
        llama.close()
        lines = log.lines
    return _read(spec, weights, lines, window)


def _read(spec: ModelSpec, weights: int, lines: Sequence[str], window: int = 0) -> Footprint:
    lines = [line for line in lines if line.startswith(MEMORY_LINES)]
    on, copied = _layers(spec, lines)
    kv_cache = compute = 0
    waiting: list[str] = []
    for line in lines:
        if found := KV_LAYER.search(line):
            waiting.append(found[1])
        elif found := KV_SIZE.search(line) or RECURRENT.search(line):
            size = round(float(found[1]) * MIB)
            kv_cache += size
            for device in waiting:
                on[device] += size // len(waiting)
            waiting = []
        elif found := COMPUTE.search(line) or OUTPUT.search(line):
            size = round(float(found[2]) * MIB)
            compute += size
            on[found[1]] += size
    compute += _late_outputs(spec, lines)
    return Footprint(
        weights=weights + copied,
        kv_cache=kv_cache,
        compute=compute,
        overhead=overhead(spec) + (_checkpoints(lines, window) if spec.role is Role.INSTRUCT else 0),
        devices={device: size for device, size in on.items() if device not in HOST},
    )


def _checkpoints(lines: Sequence[str], window: int) -> int:
    """Bytes of all checkpoints, which are in RAM: of the recurrent state, and of the last `window` tokens."""
    size, windowed = 0.0, False
    for line in lines:
        windowed = windowed or line.startswith(WINDOWED)
        if found := RECURRENT.search(line):
            size += float(found[1]) * MIB
        elif windowed and (found := KV_SIZE.search(line)) and window < (cells := int(found[2])):
            size += float(found[1]) * MIB * window / cells
    return round(size) * kept_for(round(size))


def _layers(spec: ModelSpec, lines: Sequence[str]) -> tuple[Counter[str], int]:
    """Bytes of weights on each device, and of those that exist twice."""
    header = spec.header
    on: Counter[str] = Counter()
    copied = header.copied_bytes(offloaded=False)
    for line in lines:
        found = LAYER.search(line)
        if found is None:
            continue
        layer, device = int(found[1]), found[2]
        if layer < header.layers:
            loaded = layer < min(len(header.memory), len(header.layer_bytes))
            on[device] += header.layer_bytes[layer] if loaded else 0
        elif device not in HOST:
            copied = header.copied_bytes(offloaded=True)
            on[device] += header.output_bytes + copied
    return on, copied


def _late_outputs(spec: ModelSpec, lines: Sequence[str]) -> int:
    """Growth of the output buffer; llama_context::output_reserve. At first it holds one token of each sequence.

    At an encoder's first long text: logits and embeddings of every token. At an instruct model's first proposed tokens
    (core/llama/speculation.py): their logits.
    """
    reserved = sum(float(found[2]) for line in lines if (found := OUTPUT.search(line))) * MIB
    whole = spec.context_length * (spec.header.vocab_size + spec.header.embedding_length) * F32
    if spec.role is Role.INSTRUCT:
        whole = MAX_OUTPUTS * spec.header.vocab_size * F32
    return max(0, whole - round(reserved))


if __name__ == "__main__":  # for core/model_files/trial.py
    role = Role(sys.argv[1])
    try:
        _simulate(spec_for(RoleSettings(), read_header(Path(sys.argv[2])), role), None, verbose=True)
    except OutOfMemoryError:
        pass
    except CharlieError as error:
        print(json.dumps([error.message, error.hint]))
        sys.exit(1)
