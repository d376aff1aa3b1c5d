"""Installs each peer into its own environment, from its registry at an exact version."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parents[3] / ".bench"
SERVER, XLLAMACPP, NODE = "llama-cpp-python server", "xllamacpp", "node-llama-cpp"
VERSIONS = {
    SERVER: version("llama-cpp-python"),  # Charlie's own version: pip has compiled it already
    XLLAMACPP: "2026.10.11549",
    NODE: "3.22.1",
}
INSTALLED = "installed.txt"
"""File that names an environment's contents, written last."""


def home(name: str, folder: Path = FOLDER) -> Path:
    """The folder of a peer's environment."""
    return folder / name.replace(" ", "-")


def python(name: str, folder: Path = FOLDER) -> Path:
    """The interpreter of a Python peer's environment."""
    return home(name, folder) / "bin" / "python"


def installed(folder: Path = FOLDER) -> list[str]:
    """The names of the installed peers."""
    return [name for name in VERSIONS if _is_installed(name, folder)]


def install(folder: Path = FOLDER) -> None:
    """Makes the environments that are missing or have another version. Prints one line for each peer."""
    for name in VERSIONS:
        install_peer(name, folder)


def install_peer(name: str, folder: Path = FOLDER) -> None:
    """Skips node-llama-cpp without Node, or on a system that needs another prebuilt binary."""
    if name == NODE and not _node_runs():
        print(f"{name}: skipped, it needs Linux on x86-64 and Node 20 or later with npm", flush=True)
    elif _is_installed(name, folder):
        print(f"{name} {VERSIONS[name]}: installed", flush=True)
    else:
        print(f"{name} {VERSIONS[name]}: installing into {home(name, folder)}", flush=True)
        _install(name, folder)


def _install(name: str, folder: Path) -> None:
    made = home(name, folder)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    if name == NODE:
        _npm(made, f"node-llama-cpp@{VERSIONS[name]}", f"@node-llama-cpp/linux-x64@{VERSIONS[name]}")
    elif name == XLLAMACPP:
        _pip(name, folder, "--only-binary=xllamacpp", f"xllamacpp=={VERSIONS[name]}")
    else:
        _pip(name, folder, f"llama-cpp-python[server]=={VERSIONS[name]}")
    (made / INSTALLED).write_text(_contents(name))


def _pip(name: str, folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", home(name, folder)], check=True, timeout=120)
    pip = [str(python(name, folder)), "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*pip, *arguments], check=True, timeout=1800)


def _npm(made: Path, *packages: str) -> None:
    """Runs no scripts: the package's own would download and compile llama.cpp.

    Omits the optional packages, which are binaries for all systems and graphics cards; `packages` names the right one.
    """
    options = ["--omit=optional", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(["npm", "install", "--prefix", made, *options, *packages], check=True, timeout=600)


def _contents(name: str) -> str:
    return f"{name} {VERSIONS[name]}, Python {platform.python_version()}\n"


def _is_installed(name: str, folder: Path) -> bool:
    written = home(name, folder) / INSTALLED
    return written.exists() and written.read_text() == _contents(name)


def _node_runs() -> bool:
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or not (shutil.which("node") and shutil.which("npm")):
        return False
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True, timeout=60).stdout
    return int(node.strip().removeprefix("v").split(".")[0]) >= 20
