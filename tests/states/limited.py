"""Loads a model under a real memory limit, in its own process: `limited.py MODE FILE MEGABYTES`. Prints JSON lines.

guarded: through the manager. unguarded: without asking whether it fits. late: the limit is set only once the plan has
been made, as if another program had taken memory. blind: like late, and no reading sees the limit.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from app.client import Client
from app.runtime.owner import Runtime
from core.errors import MemoryRefusedError
from core.events.types import Planned, StateChanged
from core.llama import engine
from core.memory import readings
from core.memory.readings import read_memory
from core.model_files.spec import resolve
from core.paths import find_paths
from core.roles import Role
from core.settings_file import SettingsFile, load_settings
from states.manager import ModelManager
from states.memory_plan import Plan

MIB = 1024**2
RESERVE = "[memory]\nram_reserve = 0\n"


def limit(megabytes: int) -> str:
    """Limit further memory of this process: by a cgroup where one can be made, else by RLIMIT_DATA."""
    read_memory()
    for group in _groups():
        with suppress(OSError):
            group.mkdir()
            used = read_memory().process_rss
            for name in ("memory.limit_in_bytes", "memory.max"):
                with suppress(OSError):
                    (group / name).write_text(str(used + megabytes * MIB))
                    (group / "cgroup.procs").write_text(str(os.getpid()))
                    print(json.dumps({"group": str(group)}), flush=True)
                    return "cgroup"
    limit_data(megabytes)
    return "RLIMIT"


def limit_data(megabytes: int) -> None:
    (data,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line[:7] == "VmData:")
    resource.setrlimit(resource.RLIMIT_DATA, (int(data) * 1024 + megabytes * MIB, resource.RLIM_INFINITY))


def _groups() -> list[Path]:
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = Path("/sys/fs/cgroup") / controllers
            found.append(root / path.lstrip("/") / f"charlie-test-{os.getpid()}")
    return [group for group in found if group.parent.is_dir()]


def main() -> None:
    mode, file, megabytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    paths = find_paths()
    paths.make()
    paths.config_file.write_text(f'[instruct]\nfile = "{file}"\nmmap = false\ncontext_length = "auto"\n' + RESERVE)
    client = Client(load_settings(), paths)
    with Runtime(client, worker=False):
        manager = ModelManager(SettingsFile(), paths, client.bus)
        if mode == "unguarded":
            print(json.dumps({"kind": limit(megabytes)}), flush=True)
            engine.load(resolve(load_settings(), paths, Role.INSTRUCT))
            print(json.dumps({"loaded": True}), flush=True)
            return
        if mode == "guarded":
            print(json.dumps({"kind": limit(megabytes)}), flush=True)
        else:
            limit_late(manager, megabytes)
        if mode == "blind":
            readings._own_limits = no_limits
        try:
            with manager.lease(Role.INSTRUCT) as model:
                print(json.dumps({"context": model.spec.context_length}), flush=True)
        except MemoryRefusedError as error:
            print(json.dumps({"refused": str(error), "phase": manager._machine.state.value}), flush=True)
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        paths.config_file.write_text(RESERVE)
        with manager.lease(Role.EMBEDDING) as other:
            print(json.dumps({"lives": bool(other.count_tokens("still here"))}), flush=True)
        manager.unload_all("done")
        history = client.bus.history()
        print(json.dumps({"triggers": [each.trigger for each in history if isinstance(each, StateChanged)]}))
        print(json.dumps({"plans": [each.context for each in history if isinstance(each, Planned)]}))


def no_limits(process: object) -> list[tuple[int, int]]:
    return []


def limit_late(manager: ModelManager, megabytes: int) -> None:
    """Take memory away between the first plan and its load."""
    announced = manager._announced

    def announce(plan: Plan) -> Plan:
        made = announced(plan)
        if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
            limit_data(megabytes)
            manager._machine.fits = lambda event: True  # type: ignore[method-assign]  # noqa: ARG005  # it would see the limit
        return made

    manager._announced = announce  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
