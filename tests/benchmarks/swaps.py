"""Resources left behind by 300 swaps of two models: `python -m tests.benchmarks.swaps`. Needs /proc, so Linux only."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import Receipt
from core.llama.embedding import EmbeddingModel
from core.llama.instruct import InstructModel
from core.paths import find_paths
from core.roles import Role
from core.settings_file import SettingsFile, load_settings
from states.manager import ModelManager
from tests.benchmarks.shapes import Shape, write

SWAPS, SETTLED = 300, 50
MIB = 1024**2
ONE = Shape(layers=4, width=512, heads=8, kv_heads=8, feed_forward=1024, vocabulary=2000, context=1024)
OTHER = Shape(architecture="bert", role=Role.EMBEDDING, layers=4, width=384, heads=6, kv_heads=6, context=512)


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of the process while no model is loaded."""

    rss: int
    threads: int
    descriptors: int
    mappings: int


def measure() -> Resources:
    process = psutil.Process()
    mappings = len(Path("/proc/self/maps").read_text().splitlines())
    return Resources(process.memory_info().rss, threading.active_count(), process.num_fds(), mappings)


def swap(manager: ModelManager, swaps: int) -> list[Resources]:
    """Leases and uses the two models in turn. Returns the resources after each unload."""
    found = []
    for number in range(swaps):
        role = (Role.INSTRUCT, Role.EMBEDDING)[number % 2]
        with manager.lease(role) as model:
            if isinstance(model, InstructModel):
                model.llama.eval(list(range(3, 67)))
            elif isinstance(model, EmbeddingModel):
                model.embed(["word1 word2 word3"])
        manager.unload_all("the other model is needed")
        found.append(measure())
    return found


def run(swaps: int = SWAPS) -> tuple[list[Resources], list[Receipt]]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHARLIE_HOME"] = folder
        paths = find_paths()
        paths.make()
        files = {shape.role: write(Path(folder) / f"{shape.role}.gguf", shape) for shape in (ONE, OTHER)}
        paths.config_file.write_text(
            "".join(f'[{role}]\nfile = "{file}"\nthreads = 1\n' for role, file in files.items())
        )
        client = Client(load_settings(), paths)
        gc.freeze()  # as the worker does
        with Runtime(client, worker=False):
            found = swap(ModelManager(SettingsFile(), paths, client.bus), swaps)
            return found, [event for event in client.bus.history() if isinstance(event, Receipt)]


def main() -> None:
    found, receipts = run()
    print("| swap | RSS MB | threads | descriptors | mappings |\n|---:|---:|---:|---:|---:|")
    for number in (1, 10, 25, *range(SETTLED, SWAPS + 1, 50)):
        each = found[number - 1]
        print(f"| {number} | {each.rss / MIB:.1f} | {each.threads} | {each.descriptors} | {each.mappings} |")
    curve = [each.rss for each in found[::10]]
    lowest, highest = min(curve), max(curve)
    line = "".join("▁▂▃▄▅▆▇█"[round(7 * (rss - lowest) / max(1, highest - lowest))] for rss in curve)
    print(f"\nRSS with nothing loaded, {lowest / MIB:.1f} to {highest / MIB:.1f} MB: {line}")
    growth = found[-1].rss / found[SETTLED - 1].rss - 1
    back = sum(receipt.returned for receipt in receipts) / max(1, sum(receipt.expected for receipt in receipts))
    print(f"From swap {SETTLED} to {SWAPS}: {growth:+.2%}. Memory returned by the unloads: {back:.0%}.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--json"]:
        print(json.dumps([asdict(each) for each in run(int(sys.argv[2]))[0]]))
    else:
        main()
