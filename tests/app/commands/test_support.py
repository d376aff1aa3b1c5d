"""The line on where to turn, in the shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.paths import Paths
from tests.app.commands.charlie import charlie
from tests.minilm import write_minilm


@pytest.mark.slow
def test_an_entry_of_distress_is_answered_with_where_to_turn(home: Path, paths: Paths) -> None:
    paths.config_file.write_text(f'[embedding]\nfile = "{write_minilm(home / "all-MiniLM-L6-v2.gguf")}"\n')
    assert "findahelpline.com" in charlie(home, "journal", "add", "I want to kill myself.").err
    assert "findahelpline.com" not in charlie(home, "journal", "add", "The bread rose well.").err
