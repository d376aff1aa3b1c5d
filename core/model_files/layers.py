"""What each layer of a model remembers, by the header; after llama.cpp's llama-hparams.cpp and models/*.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.model_files.gguf_reader import Metadata


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer remembers."""

    values: int
    """Keys and values of each token in the KV cache."""
    windowed: bool
    """Whether a sliding window limits what it attends to, and thereby its KV cache."""
    state: int
    """32-bit numbers of the recurrent state, whatever the number of tokens."""


@dataclass(frozen=True, slots=True)
class Family:
    """What llama.cpp takes for granted in an architecture, unless the header says otherwise."""

    full: int = 0
    """Every n-th layer attends to the whole context, the others to a sliding window."""
    window: int = 0
    attends: int = 0
    """Every n-th layer attends, the others are recurrent."""
    parallel: bool = False
    """Every layer attends and is recurrent."""
    kv_layers: int = 0
    """So many layers have a KV cache, which the later ones read."""
    shared_expert: bool = False
    """One of the experts is for all tokens."""
    nodes: int = 0
    """Nodes of the graph for each token of a batch, where the layers do not determine them."""


FAMILIES: Final = {
    "afmoe": Family(full=4),
    "cohere2": Family(full=4),
    "exaone4": Family(full=4, window=4096),
    "falcon-h1": Family(parallel=True),
    "gemma2": Family(full=2, window=4096),
    "gemma3": Family(full=6),
    "gemma3n": Family(full=5, kv_layers=20),
    "gpt-oss": Family(full=2),
    "llama4": Family(full=4, window=8192, shared_expert=True),
    "olmo2": Family(full=4),
    "qwen3next": Family(attends=4, nodes=40),
    "qwen35": Family(attends=4, nodes=40),
    "qwen35moe": Family(attends=4, nodes=40),
}


def family_of(architecture: str) -> Family:
    return FAMILIES.get(architecture, Family())


def layers_of(architecture: str, metadata: Metadata, count: int) -> tuple[Layer, ...]:
    """The first `count` layers of a model."""
    family = family_of(architecture)

    def own(key: str, default: int = 0) -> int:
        return metadata.integer(f"{architecture}.{key}", default)

    def each(key: str) -> list[int] | None:
        return metadata.numbers(f"{architecture}.{key}", count)

    heads, width, kernel = own("attention.head_count"), own("embedding_length"), own("ssm.conv_kernel")
    kv_heads = each("attention.head_count_kv") or [own("attention.head_count_kv", heads)] * count
    forward = each("feed_forward_length") or [0] * count
    head = width // heads if heads else 0
    key, value = own("attention.key_length", head), own("attention.value_length", head)
    windowed_head = own("attention.key_length_swa", key) + own("attention.value_length_swa", value)
    # The values of multi-head latent attention are a part of its keys.
    full_head = key if own("attention.key_length_mla") else key + value
    full = max(1, own("attention.sliding_window_pattern", family.full))
    windowed = each("attention.sliding_window_pattern") or [layer % full < full - 1 for layer in range(count)]
    attends = own("full_attention_interval", family.attends)
    kv_layers = family.kv_layers or count - own("attention.shared_kv_layers")
    state = width * max(0, own("shortconv.l_cache") - 1) + own("ssm.state_size") * own("ssm.inner_size")
    state += max(0, kernel - 1) * (own("ssm.inner_size") + 2 * own("ssm.group_count") * own("ssm.state_size"))
    recurrent = each("attention.recurrent_layers") or [
        (layer + 1) % attends > 0 if attends else kv_heads[layer] == 0 and forward[layer] == min(forward)
        for layer in range(count)
    ]

    def layer(at: int) -> Layer:
        recurs = state > 0 and (recurrent[at] or family.parallel)
        cached = at < kv_layers and (family.parallel or not recurs)
        per_token = kv_heads[at] * (windowed_head if windowed[at] else full_head)
        return Layer(per_token if cached else 0, bool(windowed[at]), state if recurs else 0)

    return tuple(map(layer, range(count)))
