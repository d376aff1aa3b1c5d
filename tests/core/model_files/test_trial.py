"""A file that llama.cpp refuses is not configured, even where it would end the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import LoadFailedError
from core.model_files.configure import use
from core.paths import Paths
from core.roles import Role
from tests.model_files import write_aborting, write_refused, write_refused_late


def unknown(path: Path, good: Path) -> Path:
    data = good.read_bytes()
    path.write_bytes(
        data.replace(b"llama.", b"qwen9.").replace(b"\x05" + b"\0" * 7 + b"llama", b"\x05" + b"\0" * 7 + b"qwen9", 1)
    )
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (unknown, "unknown model architecture: 'qwen9'"),
        (write_refused, "tensor 'output_norm.weight' not found"),
        (write_refused_late, "unknown tokenizer"),
        (lambda path, _: write_aborting(path), r"GGML_ASSERT\(.*\) failed"),
    ],
)
def test_use_says_what_llama_cpp_refuses(
    paths: Paths, tiny: dict[Role, Path], make: Callable[[Path, Path], Path], reason: str
) -> None:
    file = make(paths.models / "new.gguf", tiny[Role.INSTRUCT])
    with pytest.raises(LoadFailedError, match=rf"^The model new\.gguf could not be loaded: .*{reason}"):
        use(paths, Role.INSTRUCT, file)
    assert not paths.config_file.exists()


@pytest.mark.parametrize("role", Role)
def test_a_good_file_is_used(paths: Paths, tiny: dict[Role, Path], role: Role) -> None:
    use(paths, role, tiny[role])
    assert str(tiny[role]) in paths.config_file.read_text()
