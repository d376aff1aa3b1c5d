"""Predicts a model's tokens per second from its header, before it is loaded or downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.model_files.gguf import EXPERTS, OUTPUT
from core.model_files.gguf_types import BLOCKS

if TYPE_CHECKING:
    from core.memory.rates import Kernels, Rates
    from core.model_files.gguf import Header

PROMPT, ANSWER, SECONDS = 300, 200, 30.0
"""Tokens of a usual prompt and answer, and the longest time for both in which a model suits."""
THOUGHTS = 500
"""Tokens of a model that thinks, before a usual answer."""
F32, F16 = 0, 1
STATE_DECODE, STATE_PREFILL = 3.0, 6.0
"""How often a token goes through the recurrent state."""
LAYER, WORD = 15e-6, 10e-9
"""Seconds for a layer's small steps in decode, and for a word of the vocabulary in sampling."""
ACTIVATION = 3.0
"""Small steps of the prefill, in passes through a layer's activations."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second."""

    prefill: float
    decode: float


def predict(header: Header, context_length: int, gpu_layers: int, rates: Rates) -> Speed:
    """The speed with `context_length` tokens in the KV cache at the end, corrected by what earlier models reached."""
    offloaded = min(1.0, gpu_layers / (header.layers + 1)) if rates.gpu else 0.0
    shares = [(rates.cpu, 1 - offloaded), (rates.gpu or rates.cpu, offloaded)]
    prefill, decode = (
        sum(seconds(header, context_length, kernels) * share for kernels, share in shares if share)
        for seconds in (_prefill, _decode)
    )
    return Speed(rates.reached[0] / prefill, rates.reached[1] / decode)


def roughly(file_bytes: int, parameters: float, active: float, layers: int, rates: Rates) -> Speed:
    """The speed of a model of which only this is known; `active` is the share of its parameters that a token uses."""
    width, used = file_bytes / parameters, parameters * active
    decode = used / _nearest(rates.cpu.one, width) + layers * LAYER
    prefill = used / _nearest(rates.cpu.experts if active < 1 else rates.cpu.many, width)
    return Speed(rates.reached[0] / prefill, rates.reached[1] / decode)


def answer_seconds(speed: Speed, thoughts: int) -> float:
    """The time for a usual answer to a usual prompt, with so many tokens of thought before."""
    return PROMPT / speed.prefill + (thoughts + ANSWER) / speed.decode


def suits(speed: Speed, thoughts: int) -> bool:
    """Whether a usual answer comes soon enough."""
    return answer_seconds(speed, thoughts) <= SECONDS


def _decode(header: Header, context: int, kernels: Kernels) -> float:
    """Seconds for a token with all others in the KV cache."""
    shares = {EXPERTS: header.expert_share}
    weights = sum(n * shares.get(what, 1) / _rate(kernels.one, kind) for kind, what, n in header.matrices)
    attention = _attended(header, context) / kernels.one[F16]
    state = sum(layer.state for layer in header.memory) * STATE_DECODE / kernels.one[F32]
    return weights + attention + state + header.layers * LAYER + header.vocab_size * WORD


def _prefill(header: Header, context: int, kernels: Kernels) -> float:
    """Seconds for each token of a prompt; the output is computed for the last one only."""
    shares, rates = {EXPERTS: header.expert_share, OUTPUT: 1 / PROMPT}, {EXPERTS: kernels.experts}
    weights = sum(
        n * shares.get(what, 1) / _rate(rates.get(what, kernels.many), kind) for kind, what, n in header.matrices
    )
    attention = _attended(header, min(context, PROMPT) / 2) / kernels.one[F16]
    state = sum(layer.state for layer in header.memory) * STATE_PREFILL / kernels.one[F32]
    return weights + attention + state


def _attended(header: Header, tokens: float) -> float:
    """Multiplications of one token's attention with `tokens` others, in all layers."""
    per_token = header.heads * (header.head_dim_key + header.head_dim_value)
    windows = [header.window if layer.windowed and header.window else tokens for layer in header.memory if layer.values]
    return sum(per_token * min(tokens, window) for window in windows)


def _width(kind: int) -> float:
    """Bytes of a weight."""
    block, size = BLOCKS.get(kind, (1, 4))
    return size / block


def _nearest(rates: dict[int, float], width: float) -> float:
    """The rate of the measured tensor type that is the nearest in bytes for each weight."""
    return rates[min(rates, key=lambda kind: abs(_width(kind) - width))]


def _rate(rates: dict[int, float], kind: int) -> float:
    return rates.get(kind) or _nearest(rates, _width(kind))
