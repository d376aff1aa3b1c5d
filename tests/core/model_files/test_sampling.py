from __future__ import annotations

import pytest

from core.model_files.families import published_sampling, sampling_families
from core.model_files.gguf import read_header
from core.settings import Sampling
from tests.architectures.smollm2 import smollm2


def test_the_bundled_model_has_its_makers_sampling() -> None:
    """Its header has none."""
    assert read_header(smollm2()).sampling == (("temperature", 0.2), ("top_p", 0.9))


@pytest.mark.parametrize(
    ("names", "temperature"),
    [
        ("qwen3 Qwen3 8B", 0.6),
        ("qwen35 Qwen3.5 2B Qwen3.5-2B-Q4_K_M", 0.7),
        ("gemma3 Gemma 3 4b It", 1.0),
        ("gemma4 gemma-4-E2B-it", 1.0),
        ("llama Llama 3.2 1B Instruct", 0.6),
        ("gpt-oss gpt-oss-20b", 1.0),
        ("qwen3 Qwen3 4B Instruct 2507", None),
        ("llama Mistral 7B", None),
        ("llama tiny-instruct", None),
    ],
)
def test_a_family_is_known_by_the_names_in_the_header(names: str, temperature: float | None) -> None:
    assert dict(published_sampling(names)).get("temperature") == temperature


def test_all_values_are_valid_settings() -> None:
    for values in sampling_families().values():
        assert Sampling.model_validate(values).model_dump(exclude_unset=True) == values
