"""The estimate by formula, llama.cpp's simulation, and the measured memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import gguf
import pytest

from core.llama.simulate import _read, simulate
from core.memory.footprint import MAX_OUTPUTS, estimate, split_layers
from core.memory.measured import Measured, MeasuredLoads
from core.memory.types import Device, Memory
from core.roles import Role
from states.planner import predict
from tests.architectures.families import ARCHITECTURES, EMBEDDING, RERANKING
from tests.architectures.recurrent import lfm2, qwen35
from tests.benchmarks.accuracy import CASES, spec_of
from tests.benchmarks.shapes import Shape, write
from tests.core.conftest import spec_of as model_spec

if TYPE_CHECKING:
    from pathlib import Path

    from app.client import Client

MIB = 1024**2
SMALL = Shape(layers=3, width=256, heads=4, kv_heads=2, feed_forward=512, vocabulary=1000, context=1024)
SHAPES = {
    "grouped queries": SMALL,
    "one KV head": replace(SMALL, kv_heads=1),
    "a quantized KV cache": replace(SMALL, kv="q8_0"),
    "quantized weights": replace(SMALL, weights="q8_0"),
    "mixed weights": replace(SMALL, weights="mixed"),
    "experts": replace(SMALL, experts=4),
    "a small batch": replace(SMALL, batch=64),
    "a long context": replace(SMALL, context=8192),
    "an embedding model": replace(SMALL, architecture="bert", role=Role.EMBEDDING, kv_heads=4),
    "a reranker": replace(SMALL, architecture="bert", role=Role.RERANKER, kv_heads=4),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_formula_agrees_with_llama_cpp(tmp_path: Path, shape: Shape) -> None:
    spec = spec_of(write(tmp_path / "model.gguf", shape), shape)
    computed, simulated = estimate(spec), simulate(spec)
    assert computed.weights == simulated.weights
    assert computed.kv_cache == pytest.approx(simulated.kv_cache, abs=0.02 * MIB)
    assert computed.compute == pytest.approx(simulated.compute, rel=0.1, abs=0.5 * MIB)
    assert computed.ram == computed.total
    assert simulated.ram == simulated.total


REAL_CONTEXT = 32_768


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_formula_agrees_with_llama_cpp_at_real_sizes(tmp_path: Path, name: str) -> None:
    """Headers over holes."""
    architecture = ARCHITECTURES[name]
    size = replace(architecture.REAL, weights=gguf.GGMLQuantizationType.Q8_0)
    role = Role.EMBEDDING if name in EMBEDDING else Role.RERANKER if name in RERANKING else Role.INSTRUCT
    file = architecture.write(tmp_path / "model.gguf", size)
    context = 512 if role is not Role.INSTRUCT else min(size.context, REAL_CONTEXT)
    spec = model_spec(file, role, context)
    computed, simulated = estimate(spec), simulate(spec)
    assert computed.weights == simulated.weights
    assert computed.kv_cache == pytest.approx(simulated.kv_cache, abs=0.02 * MIB)
    assert computed.total == pytest.approx(simulated.total, rel=0.05)


def test_layers_that_draft_tokens_are_not_counted(tmp_path: Path) -> None:
    plain = model_spec(qwen35.write(tmp_path / "plain.gguf"), Role.INSTRUCT, 1024)
    drafts = model_spec(qwen35.write(tmp_path / "drafts.gguf", drafts=1), Role.INSTRUCT, 1024)
    assert drafts.header.tensor_bytes > plain.header.tensor_bytes
    assert estimate(drafts).total == estimate(plain).total
    assert simulate(drafts).total == pytest.approx(simulate(plain).total, abs=0.02 * MIB)


def test_a_tied_output_that_a_cpu_repacks_is_counted_twice(tmp_path: Path) -> None:
    size = replace(lfm2.SMALL, width=256, head=64, tied=True)
    plain = lfm2.write(tmp_path / "plain.gguf", replace(size, weights=gguf.GGMLQuantizationType.Q4_1))
    packed = lfm2.write(tmp_path / "packed.gguf", replace(size, weights=gguf.GGMLQuantizationType.Q4_0))
    for file, copies in ((plain, 0), (packed, 1)):
        spec = model_spec(file, Role.INSTRUCT, 1024)
        expected = spec.header.tensor_bytes + copies * spec.header.embedding_bytes
        assert estimate(spec).weights == simulate(spec).weights == expected


def test_the_kv_cache_by_its_formula(tmp_path: Path) -> None:
    spec = spec_of(write(tmp_path / "model.gguf", SMALL), SMALL)
    assert estimate(spec).kv_cache == 3 * 2 * (64 + 64) * 1024 * 2  # layers · KV heads · (key + value) · tokens · f16
    assert estimate(replace(spec, context_length=1000)).kv_cache == estimate(spec).kv_cache


def test_the_kv_cache_of_a_sliding_window_is_simulated(tmp_path: Path) -> None:
    shape = replace(SMALL, architecture="gemma3", window=128, layers=6, context=4096)
    spec = spec_of(write(tmp_path / "model.gguf", shape), shape)
    # Five layers of six hold the window and one batch, rounded up.
    assert simulate(spec).kv_cache == pytest.approx(2 * 128 * (4096 + 5 * 768) * 2, abs=0.02 * MIB)


def test_encoders_have_no_kv_cache(tmp_path: Path) -> None:
    spec = spec_of(write(tmp_path / "model.gguf", SHAPES["an embedding model"]), SHAPES["an embedding model"])
    assert estimate(spec).kv_cache == simulate(spec).kv_cache == 0


def test_a_simulation_loads_nothing_and_takes_milliseconds(tmp_path: Path) -> None:
    """A sparse file of a gigabyte; only its header is read."""
    shape = Shape(layers=16, width=2048, heads=16, kv_heads=16, feed_forward=5632, vocabulary=32_000, weights="q8_0")
    path = write(tmp_path / "model.gguf", shape, hollow=True)
    assert path.stat().st_size > 1000**3
    spec = spec_of(path, shape)
    simulate(spec)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        simulate(spec)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.1  # about 0.015 on an idle machine, as the benchmark shows


LOG = """load_tensors: layer   0 assigned to device CPU, is_swa = 0
load_tensors: layer   1 assigned to device CUDA0, is_swa = 0
load_tensors: layer   2 assigned to device CUDA1, is_swa = 0
load_tensors: layer   3 assigned to device CUDA1, is_swa = 0
llama_context:  CUDA_Host  output buffer size =     0.50 MiB
llama_kv_cache: layer   0: dev = CPU
llama_kv_cache: layer   1: dev = CUDA0
llama_kv_cache: layer   2: dev = CUDA1
llama_kv_cache: size =    3.00 MiB (  1024 cells,   3 layers,  1/1 seqs), K (f16):    1.50 MiB, V (f16):    1.50 MiB
sched_reserve:      CUDA0 compute buffer size =     4.00 MiB
sched_reserve:      CUDA1 compute buffer size =     5.00 MiB
sched_reserve:  CUDA_Host compute buffer size =     2.00 MiB"""


def test_the_memory_of_each_device_is_read_from_the_log(tmp_path: Path) -> None:
    """llama.cpp's log with two GPUs."""
    spec = spec_of(write(tmp_path / "model.gguf", SMALL), SMALL)
    layer, output = spec.header.layer_bytes[0], spec.header.output_bytes
    found = _read(spec, spec.header.tensor_bytes, LOG.splitlines())
    assert found.devices == {"CUDA0": layer + 5 * MIB, "CUDA1": layer + output + 6 * MIB}
    assert (found.kv_cache, found.compute) == (3 * MIB, round(11.5 * MIB))


def test_tied_embeddings_are_counted_on_the_device_too(tmp_path: Path) -> None:
    spec = spec_of(write(tmp_path / "model.gguf", SMALL), SMALL)
    own = spec.header
    header = replace(own, output_bytes=1024, tensor_bytes=own.tensor_bytes - own.output_bytes + 1024)
    tied = replace(spec, header=header)
    found = _read(tied, header.tensor_bytes, LOG.splitlines())
    assert found.weights == header.tensor_bytes + header.embedding_bytes
    assert found.devices["CUDA1"] == header.layer_bytes[2] + 1024 + header.embedding_bytes + 6 * MIB
    assert found.ram == _read(spec, own.tensor_bytes, LOG.splitlines()).ram


def test_layers_are_shared_by_free_memory() -> None:
    two = (Device("", 3, 3, "CUDA0"), Device("", 1, 1, "CUDA1"))
    assert split_layers(7, 8, two) == {"CUDA0": [0, 1, 2, 3, 4, 5], "CUDA1": [6, 7]}
    assert split_layers(7, 2, two) == {"CUDA0": [6, 7]} or split_layers(7, 2, two) == {"CUDA0": [6], "CUDA1": [7]}
    assert split_layers(7, 0, two) == split_layers(7, 8, ()) == {}


def test_offloaded_layers_are_counted_on_the_device(tmp_path: Path) -> None:
    spec = replace(spec_of(write(tmp_path / "model.gguf", SMALL), SMALL), gpu_layers=4)
    header, none = spec.header, estimate(spec)
    need = estimate(spec, [Device("", 1, 1, "CUDA0")])
    activations = none.compute - MAX_OUTPUTS * header.vocab_size * 4
    assert need.vram == header.tensor_bytes - header.embedding_bytes + none.kv_cache + activations
    assert need.ram == need.total - need.vram
    assert none.vram == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [9, 19, 27])
def test_the_estimate_is_near_the_measured_memory(number: int) -> None:
    """Three cases of tests/benchmarks/accuracy.py, each in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.accuracy", str(number)],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["predicted"] == pytest.approx(found["measured"], rel=0.1), CASES[number].label


def test_measured_loads_correct_the_estimate(tmp_path: Path, client: Client) -> None:
    spec = spec_of(write(tmp_path / "model.gguf", SMALL), SMALL)
    loads = MeasuredLoads(client.redis)
    predicted = replace(simulate(spec), devices={"CUDA0": 2 * MIB})
    estimated = {"RAM": predicted.ram, "CUDA0": 2 * MIB}
    assert loads.correct(spec, predicted) == predicted
    loads.record(spec, estimated, {"RAM": predicted.ram - MIB, "CUDA0": 3 * MIB})
    corrected = loads.correct(spec, predicted)
    assert (corrected.ram, corrected.devices) == (predicted.ram, {"CUDA0": 3 * MIB})
    loads.record(spec, estimated, {"RAM": predicted.ram + MIB, "CUDA0": MIB})  # the largest measurement counts
    corrected = loads.correct(spec, predicted)
    assert (corrected.ram, corrected.devices) == (predicted.ram + MIB, {"CUDA0": 3 * MIB})
    assert corrected.overhead == predicted.overhead + 2 * MIB
    rewritten = replace(spec, header=replace(spec.header, files=()))
    for other in (replace(spec, context_length=512), replace(spec, pooling="mean"), rewritten):
        assert loads.correct(other, predicted) == predicted


@pytest.mark.parametrize(("actual", "missing"), [(500, 0), (1000, 0), (1300, 300), (5000, 1000)])
def test_a_correction_has_bounds(actual: int, missing: int) -> None:
    assert Measured("m", {"RAM": 1000}, {"RAM": actual}).missing("RAM") == missing


@pytest.mark.slow
def test_a_simulation_out_of_memory_falls_back_to_the_formula(tmp_path: Path) -> None:
    """llama-cpp-python allocates batch · vocabulary floats even in a simulation: here 19 TB."""
    shape = replace(SMALL, vocabulary=300_000)
    spec = spec_of(write(tmp_path / "model.gguf", shape, hollow=True), shape)
    huge = replace(spec, batch=2**24)
    assert predict(huge, Memory()) == estimate(huge)
