"""The environments that the peers are installed into, one each, from their registries and at exact versions."""

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
    SERVER: version("llama-cpp-python"),  # the one that Charlie runs on: pip has compiled it already
    XLLAMACPP: "2026.10.11549",
    NODE: "3.22.1",
}
INSTALLED = "installed.txt"
"""Written into an environment last: it says what is in it."""


def home(name: str, folder: Path = FOLDER) -> Path:
    """Where a peer's environment is."""
    return folder / name.replace(" ", "-")


def python(name: str, folder: Path = FOLDER) -> Path:
    """The interpreter of a Python peer's environment."""
    return home(name, folder) / "bin" / "python"


def installed(folder: Path = FOLDER) -> list[str]:
    """The names of the peers that can be run now."""
    return [name for name in VERSIONS if _is_installed(name, folder)]


def install(folder: Path = FOLDER) -> None:
    """Make the environments that are missing or of another version, and tell of each peer in one line.

    node-llama-cpp is left out where Node is not there, or where its prebuilt binary would be another one.
    """
    for name in VERSIONS:
        if name == NODE and not _node_runs():
            print(f"{name}: left out, it needs Linux on x86-64 and Node 20 or later with npm", flush=True)
        elif _is_installed(name, folder):
            print(f"{name} {VERSIONS[name]}: installed", flush=True)
        else:
            print(f"{name} {VERSIONS[name]}: being installed into {home(name, folder)}", flush=True)
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
    subprocess.run([sys.executable, "-m", "venv", home(name, folder)], check=True)
    pip = [str(python(name, folder)), "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*pip, *arguments], check=True)


def _npm(made: Path, *packages: str) -> None:
    """Without scripts, for the package's own would fetch and compile what is not on the registry.

    The optional packages are its binaries for every other system and graphics card; the one wanted is named instead.
    """
    options = ["--omit=optional", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(["npm", "install", "--prefix", made, *options, *packages], check=True)


def _contents(name: str) -> str:
    return f"{name} {VERSIONS[name]}, Python {platform.python_version()}\n"


def _is_installed(name: str, folder: Path) -> bool:
    written = home(name, folder) / INSTALLED
    return written.exists() and written.read_text() == _contents(name)


def _node_runs() -> bool:
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or not (shutil.which("node") and shutil.which("npm")):
        return False
    told = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    return int(told.strip().removeprefix("v").split(".")[0]) >= 20
