"""Readings, accuracy, partial offload and swaps on a machine with a GPU: `python -m tests.benchmarks.accelerator`.

Prints one table, or one sentence if llama.cpp finds no accelerator. Each load has its own process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.llama import engine
from core.llama.simulate import simulate
from core.memory.readings import read_devices
from core.memory.types import Device
from core.roles import Role
from tests.benchmarks.accuracy import fill, resident, spec_of
from tests.benchmarks.shapes import Shape, write

MIB = 1024**2
SWAPS = 50
BASE = Shape(layers=16, width=2048, heads=16, kv_heads=16, feed_forward=5632, vocabulary=32_000, context=4096)
CASES = (
    BASE,
    replace(BASE, weights="q8_0"),
    replace(BASE, weights="q4_0"),
    replace(BASE, kv_heads=4, context=16_384),
    replace(BASE, kv="q8_0", context=8192),
    replace(BASE, vocabulary=128_000, layers=8),
    replace(BASE, experts=8, width=1024, heads=8, kv_heads=8, feed_forward=2048, layers=8),
    replace(BASE, architecture="gemma3", window=1024, context=8192),
    Shape(architecture="bert", layers=24, width=1024, heads=16, kv_heads=16, role=Role.EMBEDDING, context=512),
)
SHARES = (1.0, 0.5, 0.0)
"""Shares of the layers to offload."""


def run_case(number: int, share: float) -> dict[str, Any]:
    """Predicts, loads, uses, measures and unloads one case in this process. Sizes are in bytes."""
    shape = CASES[number]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "model.gguf", shape)
        layers = round((shape.layers + 1) * share)
        spec = spec_of(path, shape, layers)
        need = simulate(spec)
        before, ram = read_devices(), resident(path)
        model = engine.load(spec)
        fill(model, shape)
        used, ram_used = read_devices(), resident(path) - ram
        model.close()
        after = read_devices()
    return {
        "layers": layers,
        "predicted": [need.devices.get(each.id, 0) for each in before],
        "measured": [old.free - new.free for old, new in zip(before, used, strict=True)],
        "back": [new.free - old.free for old, new in zip(used, after, strict=True)],
        "ram": [need.ram, ram_used],
    }


def swaps() -> list[int]:
    """Swaps between two models. Returns the free bytes of all devices after each unload."""
    free = []
    with tempfile.TemporaryDirectory() as folder:
        specs = []
        for number in (0, 8):
            shape = CASES[number]
            specs.append((spec_of(write(Path(folder) / f"{number}.gguf", shape), shape, shape.layers + 1), shape))
        for number in range(SWAPS):
            spec, shape = specs[number % 2]
            model = engine.load(spec)
            fill(model, replace(shape, context=512))
            model.close()
            free.append(sum(each.free for each in read_devices()))
    return free


def run_in_subprocess(*arguments: str) -> Any:
    command = [sys.executable, "-m", "tests.benchmarks.accelerator", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return json.loads(done.stdout.splitlines()[-1])


def report(devices: tuple[Device, ...]) -> None:
    for device in devices:
        kind = f"{device.kind}, {'unified memory' if device.unified else 'dedicated memory'}"
        print(f"{device.id}: {device.name}, {kind}, {device.free / MIB:,.0f} of {device.total / MIB:,.0f} MB free")
    print("\n| case | context | layers | VRAM predicted MB | measured | off by | returned | RAM predicted | measured |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for number, shape in enumerate(CASES):
        for share in SHARES:
            found = run_in_subprocess("case", str(number), str(share))
            predicted, measured, back = (sum(found[key]) for key in ("predicted", "measured", "back"))
            off = f"{predicted / measured - 1:+.1%}" if measured > MIB else "-"
            returned = f"{back / measured:.0%}" if measured > MIB else "-"
            print(
                f"| {shape.label} | {shape.context:,} | {found['layers']} | {predicted / MIB:,.0f} "
                f"| {measured / MIB:,.0f} | {off} | {returned} "
                f"| {found['ram'][0] / MIB:,.0f} | {found['ram'][1] / MIB:,.0f} |",
                flush=True,
            )
    free = run_in_subprocess("swaps")
    print(f"\n{SWAPS} swaps: {free[1] / MIB:,.0f} MB free after the second, {free[-1] / MIB:,.0f} MB after the last.")


def main() -> None:
    match sys.argv[1:]:
        case ["case", number, share]:
            print(json.dumps(run_case(int(number), float(share))))
        case ["swaps"]:
            print(json.dumps(swaps()))
        case _:
            devices = read_devices()
            if not devices:
                print("This llama.cpp finds no accelerator, so nothing was measured.")
                return
            report(devices)


if __name__ == "__main__":
    main()
