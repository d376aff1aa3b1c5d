from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.llama.engine import EmbeddingModel, InstructModel, RerankerModel, load_as
from core.model_files.gguf import read_header
from core.model_files.spec import ModelSpec
from core.roles import Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def spec_of(path: Path, role: Role, context_length: int | None = None, batch: int = 512) -> ModelSpec:
    header = read_header(path)
    return ModelSpec(
        role=role,
        path=header.path,
        name=header.name,
        header=header,
        bundled=False,
        context_length=context_length or header.context_length,
        least_context=context_length or header.context_length,
        gpu_layers=0,
        least_gpu_layers=0,
        threads=1,
        prefill_threads=1,
        batch=batch,
        kv_type="f16",
        mmap=True,
        pooling=header.pooling,
    )


@pytest.fixture(scope="session")
def instruct(tiny: dict[Role, Path]) -> Iterator[InstructModel]:
    model = load_as(InstructModel, spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT, context_length=1024))
    yield model
    model.close()


@pytest.fixture(scope="session")
def embedding(tiny: dict[Role, Path]) -> Iterator[EmbeddingModel]:
    model = load_as(EmbeddingModel, spec_of(tiny[Role.EMBEDDING], Role.EMBEDDING))
    yield model
    model.close()


@pytest.fixture(scope="session")
def reranker(tiny: dict[Role, Path]) -> Iterator[RerankerModel]:
    model = load_as(RerankerModel, spec_of(tiny[Role.RERANKER], Role.RERANKER))
    yield model
    model.close()
