"""The import contracts, and the libraries that each process loads."""

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
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from core.paths import find_paths
from core.settings_file import load_settings

async def visit(client):
    async with CharlieApp(client).run_test(size=(100, 30)) as pilot:
        for key in ("f3", "f4", "f5", "f2", "f1", "f1"):
            await pilot.press(key)
            await pilot.pause()

client = Client(load_settings(), find_paths())
with Runtime(client, worker=False):
    conversation = client.conversations.new_conversation()
    client.chat(conversation.id, "hello")
    client.ingest(client.journal.new_entry("a walk"))
    asyncio.run(visit(client))
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.slow
def test_the_interface_loads_no_heavy_library(home: Path) -> None:
    """Even after a visit to every screen, with a conversation and an entry."""
    loaded = run(sys.executable, "-c", INTERFACE).splitlines()[-1]
    assert "'textual'" in loaded
    for heavy in ("llama_cpp", "dspy", "litellm", "torch", "transitions", "gguf"):
        assert f"'{heavy}'" not in loaded, heavy


def test_the_first_screen_does_not_wait_for_what_the_client_needs() -> None:
    loaded = run(sys.executable, "-c", "import sys, app.cli, app.interface; print(sorted(sys.modules))")
    assert "'app.tui.chat.screen'" in loaded
    for late in ("redis", "pydantic", "huey", "psutil", "typer", "markdown_it", "app.client", "app.tui.journal.screen"):
        assert f"'{late}'" not in loaded, late


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
    [
        ["--help"],
        ["--version"],
        ["ask", "--help"],
        ["journal", "--help"],
        ["conversations", "--help"],
        ["trash", "--help"],
        ["paths"],
    ],
)
def test_the_command_line_loads_no_heavy_library(home: Path, arguments: list[str]) -> None:
    loaded = run(sys.executable, "-c", HELP, *arguments).splitlines()[-1]
    assert "'typer'" in loaded
    for heavy in ("textual", "huey", "redis", "llama_cpp", "dspy", "numpy", "transitions", "gguf", "huggingface_hub"):
        assert f"'{heavy}'" not in loaded, heavy


def test_optimizers_load_neither_queue_nor_interface(home: Path) -> None:
    loaded = run(sys.executable, "-c", "import sys, optimizers.optimize_title; print(sorted(sys.modules))")
    for other in ("app", "tasks", "states", "huey", "redis", "textual"):
        assert f"'{other}'" not in loaded, other
