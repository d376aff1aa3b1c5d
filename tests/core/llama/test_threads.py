"""Decoding leaves the cores to the programs that use them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import psutil
import pytest

from core.llama import threads
from core.llama.calls import Llama, llama_cpp
from core.llama.engine import InstructModel, load_as
from core.llama.threads import LOOK_SECONDS, DecodingThreads
from core.roles import Role
from tests.core.conftest import spec_of
from tests.waiting import PATIENCE


class Times(NamedTuple):
    user: float
    nice: float
    system: float


@dataclass
class Machine:
    """Eight cores; time passes when a test says so."""

    now: float = 0.0
    others: float = 0.0
    own: float = 0.0
    readings: int = 0

    def cpu_times(self) -> Times:
        self.readings += 1
        return Times(0.5 * self.others + self.own, 0.3 * self.others, 0.2 * self.others)

    def run(self, others: float, own: float = 0.0, seconds: float = 1.0) -> None:
        """Let so many cores be used."""
        self.now += seconds
        self.others += others * seconds
        self.own += own * seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(psutil, "cpu_times", found.cpu_times)
    monkeypatch.setattr(threads, "monotonic", lambda: found.now)
    monkeypatch.setattr(threads, "process_time", lambda: found.own)
    return found


@pytest.fixture
def llama(tiny: dict[Role, Path]) -> Iterator[Llama]:
    spec = replace(spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT, 256), threads=6, prefill_threads=8)
    model = load_as(InstructModel, spec)
    yield model.llama
    model.close()


def used(llama: Llama) -> tuple[int, int]:
    return llama_cpp.llama_n_threads(llama.ctx), llama_cpp.llama_n_threads_batch(llama.ctx)


def test_cores_that_others_use_are_left_to_them(machine: Machine, llama: Llama) -> None:
    chosen = DecodingThreads(llama)
    # A little is not worth a thread; a program that is squeezed by ours shows less than it would use.
    by_load = ((0, (6, 8)), (0.3, (6, 8)), (0.6, (6, 7)), (1, (6, 7)), (3, (5, 5)), (20, (1, 1)), (0, (6, 8)))
    for others, expected in by_load:
        machine.run(others)
        chosen.look()
        assert used(llama) == expected, others


def test_a_load_that_may_have_ended_in_a_pause_takes_no_core(machine: Machine, llama: Llama) -> None:
    chosen = DecodingThreads(llama)
    for seconds in (100, LOOK_SECONDS / 2):
        machine.run(others=5, seconds=seconds)
        chosen.begin()
        assert used(llama) == (6, 8)
    machine.run(others=0, seconds=LOOK_SECONDS / 2)  # what was before the prompt does not count
    chosen.look()
    assert used(llama) == (6, 8)
    machine.run(others=5)
    chosen.look()
    assert used(llama) == (3, 3)
    for others, seconds in ((5, 1.0), (0, LOOK_SECONDS / 2)):  # the second is too short to tell
        machine.run(others, seconds=seconds)
        chosen.begin()
        assert used(llama) == (3, 3)
    machine.run(others=0)
    chosen.begin()
    assert used(llama) == (6, 8)


def test_the_own_time_is_not_that_of_others(machine: Machine, llama: Llama) -> None:
    chosen = DecodingThreads(llama)
    machine.run(others=0, own=6)
    chosen.look()
    assert used(llama) == (6, 8)


def test_two_that_use_one_context_see_each_other(machine: Machine, llama: Llama) -> None:
    chat, program = DecodingThreads(llama), DecodingThreads(llama)
    machine.run(others=5)
    program.look()
    assert used(llama) == (3, 3)
    machine.run(others=0, seconds=100)
    chat.look()
    assert used(llama) == (6, 8)


def test_the_machine_is_read_a_few_times_a_second(machine: Machine, llama: Llama) -> None:
    chosen = DecodingThreads(llama)
    first = machine.readings  # the model's own have read it too
    for _ in range(1000):
        machine.run(others=2, seconds=0.001)
        chosen.look()
    assert 1 < machine.readings - first <= 1 / LOOK_SECONDS
    assert used(llama) == (6, 6)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_a_busy_program_gets_a_core(tiny: dict[Role, Path]) -> None:
    cores = os.cpu_count() or 1
    spec = replace(spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT, 256), threads=cores, prefill_threads=cores)
    model = load_as(InstructModel, spec)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        chosen, end = DecodingThreads(model.llama), monotonic() + PATIENCE
        while used(model.llama)[0] == cores and monotonic() < end:
            chosen.look()
        assert used(model.llama)[0] < cores
    finally:
        busy.kill()
        busy.wait()
        model.close()
