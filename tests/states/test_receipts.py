"""The receipt of an unload, and a plan that counts the memory that really came back."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import Planned, Receipt
from core.memory.measured import MeasuredLoads
from core.memory.readings import read_memory
from core.memory.types import Device, Memory
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from states import machine as machine_module
from states import manager as manager_module
from states import reclaim
from states.manager import ModelManager
from states.planner import predict, smaller
from states.reclaim import Taken, await_return, taken, trim
from tests.benchmarks.shapes import Shape, write
from tests.benchmarks.together import RERANKER
from tests.minilm import write_minilm
from tests.waiting import ended

GIB, MIB = 1024**3, 1024**2
SHAPE = Shape(layers=6, width=512, heads=8, kv_heads=8, feed_forward=2048, vocabulary=1000, context=2048)


def receipts(client: Client) -> list[Receipt]:
    return [event for event in client.bus.history() if isinstance(event, Receipt)]


def use(client: Client, tmp_path: Path) -> None:
    """Configure a real model of 50 MB of weights and 24 MB of KV cache, after returning freed memory."""
    file = write(tmp_path / "large.gguf", SHAPE)
    gc.collect()  # memory that comes back during the load would count against the model
    trim()
    client.paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')


def test_an_unload_returns_the_memory_taken(manager: ModelManager, client: Client, tmp_path: Path) -> None:
    use(client, tmp_path)
    with manager.lease(Role.INSTRUCT) as model:
        model.llama.eval(list(range(512)))
    manager.unload_all("asked for")
    (receipt,) = receipts(client)
    assert (receipt.role, receipt.model) == ("instruct", "large")
    assert 60 * MIB < receipt.expected < 150 * MIB
    assert receipt.returned >= 0.75 * receipt.expected
    assert not receipt.short
    assert receipt.before.process_rss > receipt.after.process_rss
    assert 0 < receipt.seconds < 1


def load_twice(file: Path, tokens: int) -> dict[str, int]:
    """What a process of its own measures, in bytes of RAM."""
    command = [sys.executable, "-m", "tests.states.measured_load", str(file), str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_predicted_and_measured_memory_are_recorded(home: Path, tmp_path: Path) -> None:
    found = load_twice(write(tmp_path / "large.gguf", SHAPE), 512)
    assert found["actual"] == pytest.approx(found["predicted"], rel=0.15)
    assert found["needed"] == found["predicted"] + found["missing"]


@pytest.mark.slow
def test_memory_beyond_the_prediction_is_measured(
    manager: ModelManager, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a mapped file, too: here each load takes 20 MB more than predicted."""
    use(client, tmp_path)
    with manager.lease(Role.INSTRUCT):  # the first load may reuse memory of earlier tests
        pass
    manager.unload_all("asked for")
    monkeypatch.setattr(
        machine_module, "predict", lambda *args: replace(found := predict(*args), overhead=found.overhead - 20 * MIB)
    )
    with manager.lease(Role.INSTRUCT) as model:
        model.llama.eval([number % 1000 for number in range(2048)])
    manager.unload_all("asked for")
    measured = manager.measured(manager.plan(Role.INSTRUCT))
    assert measured is not None
    assert 8 * MIB < measured.missing("RAM") < 30 * MIB


@pytest.mark.slow
def test_repacked_weights_are_measured_once(home: Path, tmp_path: Path) -> None:
    """A CPU copies them out of the mapped file, whose pages are then no longer used."""
    found = load_twice(write(tmp_path / "packed.gguf", replace(SHAPE, width=1024, weights="q4_0")), 2048)
    assert found["actual"] == pytest.approx(found["predicted"], rel=0.1)


@pytest.mark.slow
def test_the_first_search_of_a_worker_waits_for_no_memory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compute buffer of the embedding model is at the end of an arena of malloc."""
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")
    monkeypatch.setenv("CHARLIE_EMBEDDING__FILE", str(write_minilm(tmp_path / "minilm.gguf")))
    monkeypatch.setenv("CHARLIE_RERANKER__FILE", str(write(tmp_path / "reranker.gguf", RERANKER)))
    with Runtime(client := Client(load_settings(), find_paths())):
        ended(client.jobs, client.ingest(client.journal.new_entry("Two fillings, and my jaw hurt all day.")).id)
    with Runtime(client := Client(load_settings(), find_paths())):
        seen = len(receipts(client))
        ended(client.jobs, client.search("dentist", 3).id)
        (receipt,) = receipts(client)[seen:]
        assert (receipt.role, receipt.short) == ("embedding", False)
        assert receipt.seconds < 1


@pytest.mark.usefixtures("exclusive")
def test_a_plan_for_a_warm_model_unloads_nothing(manager: ModelManager) -> None:
    with manager.lease(Role.INSTRUCT):
        pass
    plan = manager.plan(Role.INSTRUCT)
    assert (plan.fits, plan.unload, plan.reason) == (True, (), "is warm with 2,048 tokens")
    assert manager.plan(Role.EMBEDDING).unload == ("instruct",)


def test_a_plan_for_a_warm_model_needs_its_loaded_size(
    manager: ModelManager, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when less memory is free by now: the loaded context is not planned again."""
    file = write(tmp_path / "long.gguf", replace(SHAPE, context=8192))
    client.paths.config_file.write_text(f'[instruct]\nfile = "{file}"\ncontext_length = "auto"\n')
    with manager.lease(Role.INSTRUCT) as model:
        assert model.spec.context_length == 8192
    need = manager.plan(Role.INSTRUCT).need.kv_cache
    now = read_memory()
    tight = replace(now, available=load_settings().memory.ram_reserve + 1)
    monkeypatch.setattr("states.manager.read_memory", lambda: tight)
    plan = manager.plan(Role.INSTRUCT)
    assert (plan.spec.context_length, plan.need.kv_cache) == (8192, need)


def test_a_replaced_file_has_its_own_memory_record(manager: ModelManager, client: Client, tmp_path: Path) -> None:
    use(client, tmp_path)
    with manager.lease(Role.INSTRUCT) as model:
        spec = model.spec
    small = write(tmp_path / "small.gguf", replace(SHAPE, layers=1))
    small.replace(spec.path)
    manager.unload_all("asked for")
    loads = MeasuredLoads(client.redis)
    assert loads.find(spec) is not None
    assert loads.find(manager.plan(Role.INSTRUCT).spec) is None


@pytest.mark.usefixtures("exclusive")
def test_unreturned_memory_is_reported_and_not_planned_with(
    manager: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripted readings: the load takes 4 GB, the unload returns 1 GB."""
    monkeypatch.setattr(reclaim, "BACK_SECONDS", 0.1)
    rss = 100 * MIB

    def read() -> Memory:
        return Memory(16 * GIB, 10 * GIB - rss, rss)

    for module in (manager_module, machine_module, reclaim):
        monkeypatch.setattr(module, "read_memory", read)
    with manager.lease(Role.INSTRUCT):
        rss = 4 * GIB + 100 * MIB
    model = manager._registry[Role.INSTRUCT].model
    close = model.close

    def close_by_half() -> None:
        nonlocal rss
        close()
        rss = 3 * GIB + 100 * MIB

    monkeypatch.setattr(model, "close", close_by_half)
    with manager.lease(Role.EMBEDDING):
        pass
    (receipt,) = receipts(client)
    assert (receipt.expected, receipt.returned, receipt.short) == (4 * GIB, GIB, True)
    assert receipt.seconds >= 0.1
    reserve = load_settings().memory.ram_reserve
    hoped = [event for event in client.bus.history() if isinstance(event, Planned)][-1]
    assert hoped.unload == ("instruct",)
    assert hoped.available["RAM"] == 10 * GIB - reserve - 100 * MIB
    assert manager.plan(Role.INSTRUCT).available["RAM"] == 10 * GIB - reserve - rss


def test_waiting_for_memory_ends_when_most_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([900, 700, 300, 200])
    monkeypatch.setattr(reclaim, "read_memory", lambda: Memory(GIB, GIB, next(readings) * MIB))
    assert await_return(Memory(GIB, GIB, 1000 * MIB), Taken(900 * MIB, 0, {})).process_rss == 300 * MIB


def test_taken_memory_is_counted_for_each_kind() -> None:
    gpus = (Device("A", 8, 8, "CUDA0"), Device("B", 8, 6, "CUDA1"))
    before = Memory(100, 90, 10, gpus, process_file=4)
    after = Memory(100, 60, 40, (replace(gpus[0], free=3), replace(gpus[1], free=7)), process_file=14)
    took = taken(before, after)
    assert (took.own, took.mapped, took.devices, took.total) == (20, 10, {"CUDA0": 5, "CUDA1": 0}, 35)


def test_a_mapped_file_is_not_counted_as_returned_twice(manager: ModelManager) -> None:
    """Its pages count as available even while in use."""
    with manager.lease(Role.INSTRUCT):
        pass
    now = manager._registry._last
    grown = replace(now, process_rss=now.process_rss + 5 * GIB, process_file=now.process_file + 4 * GIB)
    (before,), (after,) = (manager._registry.warm_models(each) for each in (now, grown))
    assert after.ram - before.ram == GIB


def test_a_smaller_plan_is_tried_after_memory_ran_out(manager: ModelManager) -> None:
    spec = replace(
        manager.plan(Role.INSTRUCT).spec, context_length=8192, least_context=2048, gpu_layers=32, least_gpu_layers=0
    )
    less = smaller(spec, spec)
    assert less is not None
    assert (less.context_length, less.gpu_layers, less.batch) == (4096, 24, 128)
    fixed = replace(spec, least_context=8192, least_gpu_layers=32)
    less = smaller(fixed, fixed)
    assert less is not None
    assert (less.context_length, less.gpu_layers, less.batch) == (8192, 32, 128)
    assert smaller(replace(fixed, batch=64), replace(fixed, batch=64)) is None
