"""Which program the table of `recall` ships."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model_files.spec import resolve
from core.programs.in_use import in_use
from core.programs.saved import Score
from core.roles import Role
from core.settings_file import load_settings
from tests.benchmarks import optimizers
from tests.compiled import write_compiled

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from core.paths import Paths


def test_a_program_is_shipped_for_its_model_if_it_beats_the_prompt_too(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("core.programs.in_use", "tests.benchmarks.optimizers"):
        monkeypatch.setattr(f"{module}.SHIPPED", tmp_path / "shipped")
    saved = write_compiled(paths, "recall", "recall-bootstrap")  # after: 40 to 60%
    header = resolve(load_settings(), paths, Role.INSTRUCT).header
    assert "None gains enough" in optimizers.ship([saved], Score(mean=45, low=40, high=50))
    assert in_use(paths, "recall", header) is None
    assert "Shipped" in optimizers.ship([saved], Score(mean=30, low=20, high=40))
    assert in_use(paths, "recall", header) == saved
