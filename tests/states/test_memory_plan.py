"""The plan for scripted memory readings, models and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.memory.footprint import CONTEXT_STEP, RAM, Footprint, estimate
from core.memory.types import Device, Memory
from core.model_files.gguf import FileKind, Header
from core.model_files.layers import Layer
from core.model_files.spec import ModelSpec
from core.roles import Role
from core.settings import MemorySettings
from states.memory_plan import Plan, WarmModel, make_plan, missing, needed

GIB, MIB = 1024**3, 1024**2
LAYERS, OWN = 31, 32_768
RESERVE = MemorySettings(ram_reserve=512 * MIB, vram_reserve=256 * MIB)
HEADER = Header(
    path=Path("model.gguf"),
    file_bytes=33 * 128 * MIB,
    files=(),
    kind=FileKind.MODEL,
    architecture="llama",
    name="scripted",
    layers=LAYERS,
    memory=(Layer(values=8 * (128 + 128), windowed=False, state=0),) * LAYERS,
    window=0,
    context_length=OWN,
    embedding_length=4096,
    heads=32,
    kv_heads=8,
    per_layer_embedding=0,
    feed_forward=11_008,
    experts_used=0,
    head_dim_key=128,
    head_dim_value=128,
    vocab_size=32_000,
    tokenizer="llama",
    pooling=None,
    quantization="Q4_0",
    chat_template=None,
    tensor_bytes=33 * 128 * MIB,
    layer_bytes=(128 * MIB,) * LAYERS,
    output_bytes=128 * MIB,
    embedding_bytes=128 * MIB,
    repacked=False,
    draft_bytes=0,
    parameters=7_000_000_000,
    is_reranker=False,
    is_encoder=False,
)
"""4.125 GB of weights, 128 MB in each layer, in the output and in the embeddings; 124 KB of KV cache for each token.

Compute takes 512 · (4 · 4096 + 3 · 11008) floats, 96.5 MB, and 1 KB for each token of context: so with 5.5 GB free
there is room for (5632 - 4224 - 8 - 96.5) MB / 125 KB = 10,678 tokens, which is 10,496 in steps of 256.
"""
SPEC = ModelSpec(
    role=Role.INSTRUCT,
    path=HEADER.path,
    name=HEADER.name,
    header=HEADER,
    bundled=False,
    context_length=4096,
    least_context=4096,
    gpu_layers=LAYERS + 1,
    least_gpu_layers=0,
    threads=4,
    prefill_threads=4,
    batch=512,
    kv_type="f16",
    mmap=True,
    pooling=None,
)
AUTO_CONTEXT = replace(SPEC, context_length=OWN, least_context=2048)
ALL_LAYERS = replace(SPEC, least_gpu_layers=LAYERS + 1)
LONG = replace(SPEC, context_length=OWN, least_context=OWN)


def ram(available: float, *devices: Device) -> Memory:
    return Memory(16 * GIB, round(available * GIB), 0, devices)


def gpu(free: float, number: int = 0, *, unified: bool = False) -> Device:
    return Device("GPU", 24 * GIB, round(free * GIB), f"CUDA{number}", unified=unified)


def decide(spec: ModelSpec, now: Memory, warm: Sequence[WarmModel] = (), reserve: MemorySettings = RESERVE) -> Plan:
    return make_plan(spec, lambda each: measure(each, now), now, reserve, warm)


def measure(spec: ModelSpec, now: Memory) -> Footprint:
    return estimate(spec, now.devices)


@dataclass(frozen=True)
class Case:
    spec: ModelSpec
    now: Memory
    fits: bool
    layers: int = 0
    context: int = 4096
    warm: tuple[WarmModel, ...] = ()
    reserve: MemorySettings = field(default=RESERVE)


TABLE = {
    "no GPU, room": Case(SPEC, ram(8), True),
    "no GPU, layers are asked for in vain": Case(ALL_LAYERS, ram(8), True),
    "no GPU, no room": Case(SPEC, ram(4), False),
    "no GPU, room but for the reserve": Case(
        SPEC, ram(8), False, reserve=MemorySettings(ram_reserve=4 * GIB, vram_reserve=0)
    ),
    "no GPU, a long context does not fit": Case(LONG, ram(8), False, context=OWN),
    "no GPU, any context: all of it": Case(AUTO_CONTEXT, ram(12), True, context=OWN),
    "no GPU, any context: a part": Case(AUTO_CONTEXT, ram(6), True, context=10_496),
    "no GPU, any context: not the least": Case(AUTO_CONTEXT, ram(4.5), False, context=2048),
    "a cgroup's limit": Case(SPEC, replace(ram(3), total=4 * GIB), False),
    "the warm one gives its memory back": Case(SPEC, ram(2), True, warm=(WarmModel(Role.EMBEDDING, 4 * GIB),)),
    "the warm one does not give enough": Case(SPEC, ram(2), False, warm=(WarmModel(Role.EMBEDDING, 2 * GIB),)),
    "two warm ones give it together": Case(
        SPEC, ram(2), True, warm=(WarmModel(Role.EMBEDDING, 2 * GIB), WarmModel(Role.RERANKER, 2 * GIB))
    ),
    "one GPU with room": Case(SPEC, ram(8, gpu(20)), True, layers=32),
    "one GPU with room for some layers": Case(SPEC, ram(8, gpu(3)), True, layers=18),
    "one GPU with room for some, all are asked for": Case(ALL_LAYERS, ram(8, gpu(3)), False, layers=32),
    "one full GPU": Case(SPEC, ram(8, gpu(0.2)), True, layers=0),
    "one full GPU and little RAM": Case(SPEC, ram(2, gpu(0.2)), False),
    "a GPU takes what RAM has no room for": Case(SPEC, ram(1.2, gpu(20)), True, layers=32),
    "VRAM comes back too": Case(
        SPEC, ram(8, gpu(1)), True, layers=32, warm=(WarmModel(Role.RERANKER, 0, {"CUDA0": 20 * GIB}),)
    ),
    "any context on a GPU: all layers come first": Case(AUTO_CONTEXT, ram(8, gpu(6)), True, layers=32, context=13_824),
    "any context on a small GPU: the least of it": Case(AUTO_CONTEXT, ram(8, gpu(3)), True, layers=20, context=2048),
    "two unequal GPUs": Case(SPEC, ram(8, gpu(4), gpu(3, 1)), True, layers=32),
    "two unequal small GPUs": Case(SPEC, ram(8, gpu(2), gpu(1, 1)), True, layers=14),
    "unified memory counts once: room": Case(SPEC, ram(8, gpu(8, unified=True)), True, layers=32),
    "unified memory comes back to both": Case(
        SPEC, ram(4, gpu(4, unified=True)), True, layers=32, warm=(WarmModel(Role.EMBEDDING, 0, {"CUDA0": 4 * GIB}),)
    ),
    "unified memory counts once: the GPU's share is not there": Case(
        SPEC, ram(4, gpu(12, unified=True)), False, layers=0
    ),
}


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_layers_and_context_chosen_in_each_case(case: Case) -> None:
    plan = decide(case.spec, case.now, case.warm, case.reserve)
    assert (plan.fits, plan.spec.gpu_layers, plan.spec.context_length) == (case.fits, case.layers, case.context)
    assert plan.unload == (tuple(each.role.value for each in case.warm) if case.fits else ())
    assert plan.needed.keys() == plan.available.keys() == {RAM, *(each.id for each in case.now.devices)}
    over = {device for device, size in plan.needed.items() if size > plan.available[device]}
    assert bool(over) is not plan.fits
    assert bool(plan.hint) is not plan.fits


MEMORIES = st.builds(
    lambda available, frees: ram(available, *(gpu(free, number) for number, free in enumerate(frees))),
    st.floats(0, 16),
    st.lists(st.floats(0, 12), max_size=2),
)


@given(MEMORIES, st.sampled_from([SPEC, AUTO_CONTEXT, ALL_LAYERS, LONG]))
def test_the_chosen_plan_is_the_largest_that_fits(now: Memory, spec: ModelSpec) -> None:
    plan = decide(spec, now)
    chosen = plan.spec
    most_layers = spec.gpu_layers if now.devices else 0
    assert spec.least_context <= chosen.context_length <= spec.context_length
    assert min(spec.least_gpu_layers, most_layers) <= chosen.gpu_layers <= most_layers
    if not plan.fits:
        assert missing(plan.need, now, plan.available)
        return
    assert not missing(plan.need, now, plan.available)
    assert plan.needed == needed(measure(chosen, now), now)
    if chosen.gpu_layers < most_layers:
        more = replace(chosen, gpu_layers=chosen.gpu_layers + 1)
        assert missing(measure(more, now), now, plan.available)
    elif chosen.context_length < spec.context_length:
        longer = replace(chosen, context_length=chosen.context_length + CONTEXT_STEP)
        assert missing(measure(longer, now), now, plan.available)


def test_a_refusal_has_every_number_and_what_would_help() -> None:
    plan = decide(LONG, ram(8))
    assert plan.reason == (
        "scripted does not fit: with 32,768 tokens of context it needs 8.14 GiB of RAM (weights 4.12 GiB, KV cache "
        "3.88 GiB, compute 129 MiB in all), and 7.50 GiB are free, 512 MiB of 16.0 GiB being kept."
    )
    assert plan.hint == (
        "It would fit with instruct.context_length = 27392, with 651 MiB more RAM free, "
        "or with a model file of at most 3.49 GiB (`charlie models use instruct FILE`)."
    )
    assert decide(replace(SPEC, context_length=27_392, least_context=27_392), ram(8)).fits
    assert decide(LONG, ram(8.64)).fits


@pytest.mark.parametrize(("own", "chosen"), [(2100, 2048), (3000, 2816), (2560, 2304)])
def test_the_context_chosen_just_below_the_models_own(own: int, chosen: int) -> None:
    """One token less than the model's own context fits."""
    spec = replace(AUTO_CONTEXT, context_length=own)
    now = ram(8)
    need = measure(replace(spec, gpu_layers=0, context_length=own), now).total
    plan = decide(spec, replace(now, available=need + RESERVE.ram_reserve - 1))
    assert plan.fits
    assert plan.spec.context_length == chosen


def test_a_reserve_that_is_too_large_is_named() -> None:
    plan = decide(SPEC, ram(5))
    assert not plan.fits
    assert "with memory.ram_reserve = " in plan.hint
    number = int(plan.hint.partition("memory.ram_reserve = ")[2].partition(",")[0])
    assert decide(SPEC, ram(5), reserve=MemorySettings(ram_reserve=number, vram_reserve=0)).fits
    beyond = decide(SPEC, ram(5), reserve=MemorySettings(ram_reserve=40 * GIB, vram_reserve=0))
    assert beyond.available == {RAM: 0}
    assert "40.0 GiB of 16.0 GiB being kept" in beyond.reason
    assert f"memory.ram_reserve = {number}" in beyond.hint


def test_a_refusal_of_a_gpu_names_its_layers() -> None:
    plan = decide(ALL_LAYERS, ram(8, gpu(3)))
    assert "on GPU it needs 4." in plan.reason
    assert "2.75 GiB are free, 256 MiB of 24.0 GiB being kept" in plan.reason
    assert "instruct.gpu_layers = 18" in plan.hint
    assert decide(replace(ALL_LAYERS, gpu_layers=18, least_gpu_layers=18), ram(8, gpu(3))).fits


def test_memory_of_a_unified_device_counts_as_ram() -> None:
    now = ram(8, gpu(8, unified=True))
    plan = decide(SPEC, now)
    assert plan.needed[RAM] == plan.need.total
    assert 0 < plan.needed["CUDA0"] < plan.need.total
