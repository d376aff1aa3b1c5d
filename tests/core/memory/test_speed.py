"""Predicted speed: shapes whose time can be computed by hand, the correction, and the rates of this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.memory import rates as rates_module
from core.memory.rates import Rates, known_rates, rates
from core.memory.speed import LAYER, SCATTERED, STATE, WORD, Speed, answer_seconds, learn, predict, roughly, suits
from core.model_files.gguf import EXPERTS, OUTPUT, read_header
from core.model_files.layers import Layer
from core.model_files.spec import default_spec
from tests.architectures.attention import qwen3moe
from tests.architectures.sized_file import Size
from tests.model_files import write_random

if TYPE_CHECKING:
    from pathlib import Path

    from core.memory.rates import Kernels
    from core.model_files.gguf import Header
    from core.paths import Paths

F32, F16, Q4_K = 0, 1, 12
CPU: Kernels = {
    "one": {F32: 1e9, F16: 2e9, Q4_K: 5e9},
    "many": {F32: 1e10, F16: 2e10, Q4_K: 4e10},
    "experts": {F32: 5e9, F16: 1e10, Q4_K: 2e10},
}
GPU: Kernels = {name: {kind: 100 * rate for kind, rate in of.items()} for name, of in CPU.items()}
HERE = Rates("this one", CPU, None, (), {})


@pytest.fixture
def plain(tmp_path: Path) -> Header:
    """No attention, no states: only what a test adds to it."""
    header = read_header(write_random(tmp_path / "model.gguf"))
    return replace(header, layers=10, memory=(), vocab_size=1000, heads=8, head_dim_key=64, head_dim_value=64)


OVERHEAD = 10 * LAYER + 1000 * WORD


def test_dense(plain: Header) -> None:
    header = replace(plain, matrices=((Q4_K, "", 1_000_000_000), (F16, OUTPUT, 300_000_000)))
    speed = predict(header, 500, 0, HERE)
    assert 1 / speed.decode == pytest.approx(1 / 5 + 0.3 / 2 + OVERHEAD)
    assert 1 / speed.prefill == pytest.approx(1 / 40 + 0.3 / 20 / 300)  # the output once for the prompt


def test_experts(plain: Header) -> None:
    header = replace(plain, matrices=((Q4_K, EXPERTS, 8_000_000_000), (Q4_K, "", 500_000_000)), expert_share=1 / 8)
    speed = predict(header, 500, 0, HERE)
    assert 1 / speed.decode == pytest.approx(SCATTERED / 5 + 0.5 / 5 + OVERHEAD)
    assert 1 / speed.prefill == pytest.approx(1 / 20 + 0.5 / 40)


def test_the_kv_cache_and_states_cost_time(plain: Header) -> None:
    full, windowed, state = Layer(512, False, 0), Layer(512, True, 0), Layer(0, False, 1_000_000)
    header = replace(plain, memory=(full, windowed, state), window=1000)
    attended = 8 * (64 + 64) * (30_000 + 1000) / 2e9
    assert 1 / predict(header, 30_000, 0, HERE).decode == pytest.approx(
        attended + STATE * 1e6 / 1e9 + OVERHEAD, rel=0.05
    )
    assert predict(header, 300, 0, HERE).decode > 1.2 * predict(header, 30_000, 0, HERE).decode


def test_what_is_offloaded_takes_the_time_of_the_gpu(plain: Header) -> None:
    header, here = replace(plain, matrices=((Q4_K, "", 1_000_000_000),)), replace(HERE, gpu=GPU)
    decode = [1 / predict(header, 500, layers, here).decode - OVERHEAD for layers in (0, 11, 99)]
    assert decode == pytest.approx([0.2, 0.002, 0.002])
    assert predict(header, 500, 11, HERE) == predict(header, 500, 0, HERE)  # there is none


def test_the_matrices_of_a_header_are_those_that_a_token_meets(tmp_path: Path) -> None:
    size = Size(layers=2, width=64, heads=4, kv_heads=2, head=16, feed_forward=96, experts=4, used=2)
    header = read_header(qwen3moe.write(tmp_path / "moe.gguf", size))
    found = {(kind, what): weights for kind, what, weights in header.matrices}
    assert found[F16, EXPERTS] == 2 * 4 * 3 * 96 * 64
    assert found[F16, OUTPUT] == header.vocab_size * 64
    assert found[F16, ""] == 2 * (2 * 64 * 64 + 2 * 32 * 64)
    assert found[F32, ""] == 2 * 4 * 64
    assert header.expert_share == 0.5


def test_a_few_numbers_are_enough_for_a_rough_guess() -> None:
    guess = roughly(4_500_000_000, 8e9, 1.0, 0, HERE)  # 0.56 bytes for each weight, as Q4_K
    assert (guess.decode, guess.prefill) == pytest.approx((5 / 8, 5))
    sparse = roughly(4_500_000_000, 8e9, 1 / 8, 0, HERE)
    assert (sparse.decode, sparse.prefill) == pytest.approx((5 / SCATTERED, 20))


def test_a_model_suits_that_answers_within_half_a_minute() -> None:
    assert answer_seconds(Speed(30, 10), 0) == 30
    assert suits(Speed(30, 10), 0)
    assert not suits(Speed(30, 9.9), 0)
    assert not suits(Speed(30, 10), 1)


def test_predictions_are_corrected_by_what_earlier_models_reached(paths: Paths, plain: Header) -> None:
    header = replace(plain, matrices=((Q4_K, "", 1_000_000_000),), file_bytes=10**9)
    spec = default_spec(header)
    learn(paths, spec, 300, 1, 100, 1)  # before any rates
    assert known_rates(paths) is None
    here = replace(HERE, machine=rates_module.machine())
    paths.speed.write_bytes(rates_module.FORM.dump_json(here))
    before = predict(header, 400, 0, here)
    for name, share in (("a", 0.5), ("b", 0.8), ("c", 0.1), ("b", 0.7)):
        model = replace(spec, name=name, gpu_layers=0)
        learn(paths, model, 300, 300 / (share * before.prefill), 100, share * 2 * before.decode)
    learn(paths, replace(spec, name="short"), 63, 1, 100, 1)
    learn(paths, replace(spec, name="small", header=replace(header, file_bytes=10**8)), 300, 1, 100, 1)
    known = known_rates(paths)
    assert known is not None
    assert {name: round(shares[0], 6) for name, shares in known.models.items()} == {"a": 0.5, "c": 0.1, "b": 0.7}
    after = predict(header, 400, 0, known)
    assert (after.prefill, after.decode) == pytest.approx((0.5 * before.prefill, before.decode))


def test_a_machine_is_measured_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rates(paths)
    assert found.cpu["one"].keys() == found.cpu["many"].keys() >= {F32, F16, Q4_K}
    assert all(1e8 < rate < 1e13 for of in found.cpu.values() for rate in of.values())
    assert found.cpu["one"][Q4_K] > found.cpu["one"][F32]  # fewer bytes
    assert found.reached == (1, 1)
    kept = paths.speed.read_bytes()
    assert rates(paths) == found
    assert paths.speed.read_bytes() == kept
    monkeypatch.setattr(rates_module, "machine", lambda: "another one")
    assert known_rates(paths) is None
