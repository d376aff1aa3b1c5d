"""Loads and uses a model twice in a process of its own: `measured_load.py FILE TOKENS`. Prints one JSON line.

In a process that has freed memory before, a load takes that again, and less is measured than it needs.
"""

from __future__ import annotations

import json
import sys

from app.client import Client
from app.runtime.owner import Runtime
from core.memory.measured import MeasuredLoads
from core.paths import find_paths
from core.roles import Role
from core.settings_file import SettingsFile, load_settings
from states.manager import ModelManager


def main() -> None:
    file, tokens = sys.argv[1], int(sys.argv[2])
    paths = find_paths()
    paths.make()
    paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')
    client = Client(load_settings(), paths)
    with Runtime(client, worker=False):
        manager = ModelManager(SettingsFile(), paths, client.bus)
        for _ in range(2):
            with manager.lease(Role.INSTRUCT) as model:
                model.llama.eval([number % 1000 for number in range(tokens)])
                spec = model.spec
            manager.unload_all("asked for")
        plan = manager.plan(Role.INSTRUCT)
        measured = manager.measured(plan)
        assert measured is not None
        assert measured == MeasuredLoads(client.redis).find(spec)
        print(
            json.dumps(
                {
                    "predicted": measured.predicted["RAM"],
                    "actual": measured.actual["RAM"],
                    "missing": measured.missing("RAM"),
                    "needed": plan.need.total,
                }
            )
        )


if __name__ == "__main__":
    main()
