"""Who may import whom, and what a process has loaded once it has done its work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_import_contracts_hold() -> None:
    assert "0 broken" in run(str(TOOLS / "lint-imports"), "--no-cache")


INTERFACE = """
import asyncio, sys
from app.client import Client
from app.runtime import Runtime
from app.tui import CharlieApp
from core.paths import find_paths
from core.settings import load_settings

async def visit(client):
    async with CharlieApp(client).run_test(size=(100, 30)) as pilot:
        for key in ("f3", "f4", "f5", "f2", "f1", "f1"):
            await pilot.press(key)
            await pilot.pause()

client = Client(load_settings(), find_paths())
with Runtime(client, worker=False):
    conversation = client.library.new_conversation()
    client.chat(conversation.id, "hello")
    client.ingest(client.library.new_entry("a walk"))
    asyncio.run(visit(client))
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_interface_loads_nothing_heavy(home: Path) -> None:
    """It has visited every screen, with a conversation and an entry there."""
    loaded = run(sys.executable, "-c", INTERFACE).splitlines()[-1]
    assert "'textual'" in loaded
    for heavy in ("llama_cpp", "dspy", "litellm", "torch", "transitions", "gguf"):
        assert f"'{heavy}'" not in loaded, heavy


HELP = """
import sys
sys.argv = ["charlie", *sys.argv[1:]]
from app.cli import main
try:
    main()
except SystemExit as done:
    assert not done.code
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["ask", "--help"], ["journal", "--help"], ["programs", "use", "--help"], ["paths"]],
)
def test_the_command_line_loads_what_it_needs(home: Path, arguments: list[str]) -> None:
    loaded = run(sys.executable, "-c", HELP, *arguments).splitlines()[-1]
    assert "'typer'" in loaded
    for heavy in ("textual", "huey", "redis", "llama_cpp", "dspy", "numpy", "transitions", "gguf", "huggingface_hub"):
        assert f"'{heavy}'" not in loaded, heavy


def test_optimizers_know_nothing_of_the_queue(home: Path) -> None:
    loaded = run(sys.executable, "-c", "import sys, optimizers.optimize_mood; print(sorted(sys.modules))")
    for other in ("app", "tasks", "states", "huey", "redis", "textual"):
        assert f"'{other}'" not in loaded, other
