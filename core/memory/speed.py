"""Predicts a model's tokens per second from its header, before it is loaded or downloaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.files import write_atomically
from core.memory.rates import FORM, Kernels, Rates, known_rates, nearest
from core.model_files.gguf import EXPERTS, OUTPUT, Header
from core.model_files.spec import ModelSpec
from core.paths import Paths

PROMPT, ANSWER, SECONDS = 300, 200, 30.0
"""Tokens of a usual prompt and answer, and the longest time for both in which a model suits."""
THOUGHTS = 500
"""Tokens of a model that thinks, before a usual answer."""
F32, F16 = 0, 1
STATE, STATE_PREFILL = 3.0, 2.0
"""How often decode and prefill of a token go through the recurrent state."""
LAYER, WORD = 15e-6, 10e-9
"""Seconds for a layer's small steps in decode, and for a word of the vocabulary in sampling."""
SCATTERED = 1.3
"""How much longer decode reads experts, which lie here and there, than the same bytes in one piece."""
LONG, LARGE, MODELS = 64, 200_000_000, 50
"""Tokens and bytes from which a reply tells of the machine: less is in a processor's cache. The most models kept."""


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
        sum(seconds(header, context_length, kernels) * share for kernels, share in shares)
        for seconds in (_prefill, _decode)
    )
    return Speed(rates.reached[0] / prefill, rates.reached[1] / decode)


def roughly(file_bytes: int, parameters: float, active: float, layers: int, rates: Rates) -> Speed:
    """The speed of a model of which only this is known; `active` is the share of its parameters that a token uses."""
    width, used = file_bytes / parameters, parameters * active
    decode = used * (SCATTERED if active < 1 else 1) / nearest(rates.cpu["one"], width) + layers * LAYER
    prefill = used / nearest(rates.cpu["experts" if active < 1 else "many"], width)
    return Speed(rates.reached[0] / prefill, rates.reached[1] / decode)


def answer_seconds(speed: Speed, thoughts: int) -> float:
    """The time for a usual answer to a usual prompt, with so many tokens of thought before."""
    return PROMPT / speed.prefill + (thoughts + ANSWER) / speed.decode


def suits(speed: Speed, thoughts: int) -> bool:
    """Whether a usual answer comes soon enough."""
    return answer_seconds(speed, thoughts) <= SECONDS


def learn(paths: Paths, spec: ModelSpec, tokens: int, seconds: float, answered: int, decode: float) -> None:
    """Keep which shares of its predicted speed a model reached: `tokens` of prompt in `seconds`, and an answer."""
    known = known_rates(paths) if tokens >= LONG and answered >= LONG and spec.header.file_bytes >= LARGE else None
    if known is None:
        return
    speed = predict(spec.header, tokens + answered, spec.gpu_layers, replace(known, models={}))
    others = [(name, shares) for name, shares in known.models.items() if name != spec.name]
    models = dict([*others, (spec.name, (tokens / seconds / speed.prefill, decode / speed.decode))][-MODELS:])
    write_atomically(paths.speed, FORM.dump_json(replace(known, models=models)), durable=False)


def _decode(header: Header, context: int, kernels: Kernels) -> float:
    """Seconds for a token with all others in the KV cache."""
    shares, one = {EXPERTS: SCATTERED * header.expert_share}, kernels["one"]
    weights = sum(n * shares.get(what, 1) / one.get(kind, one[F16]) for kind, what, n in header.matrices)
    return weights + _memory(header, context, kernels, STATE) + header.layers * LAYER + header.vocab_size * WORD


def _prefill(header: Header, context: int, kernels: Kernels) -> float:
    """Seconds for each token of a prompt; the output is computed for the last one only."""
    shares, own = {EXPERTS: header.expert_share, OUTPUT: 1 / PROMPT}, {EXPERTS: kernels["experts"]}
    rates = ((own.get(what, kernels["many"]), kind, n * shares.get(what, 1)) for kind, what, n in header.matrices)
    weights = sum(n / rate.get(kind, rate[F16]) for rate, kind, n in rates)
    return weights + _memory(header, min(context, PROMPT) / 2, kernels, STATE_PREFILL)


def _memory(header: Header, tokens: float, kernels: Kernels, passes: float) -> float:
    """Seconds for a token's attention with `tokens` others, and for the recurrent states."""
    windows = [header.window if layer.windowed and header.window else tokens for layer in header.memory if layer.values]
    attended = header.heads * (header.head_dim_key + header.head_dim_value) * sum(min(tokens, each) for each in windows)
    states = sum(layer.state for layer in header.memory)
    return attended / kernels["one"][F16] + passes * states / kernels["one"][F32]
