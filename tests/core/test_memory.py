from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.engine import load
from core.gguf import read_header
from core.memory import _cgroups, footprint, has_accelerator, read_devices, read_ram
from core.settings import Role
from tests.core.conftest import spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from core.gguf import Header

MIB = 1024**2


@pytest.fixture
def header(starters: dict[Role, Path]) -> Header:
    return read_header(starters[Role.INSTRUCT])


def test_ram_is_read() -> None:
    reading = read_ram()
    assert 0 < reading.process_rss < reading.total
    assert 0 < reading.available <= reading.total


def test_a_cgroup_limits(tmp_path: Path) -> None:
    group = tmp_path / "a" / "b"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text(f"{800 * MIB}\n")
    (group.parent / "memory.current").write_text(f"{300 * MIB}\n")
    (group.parent / "memory.stat").write_text(f"anon 5\ninactive_file {100 * MIB}\n")
    assert _cgroups(tmp_path, tmp_path / "cgroup") == [(800 * MIB, 200 * MIB)]


def test_an_older_cgroup_limits(tmp_path: Path) -> None:
    group = tmp_path / "memory" / "a"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("5:cpu,cpuacct:/a\n4:memory:/a\n")
    (group / "memory.limit_in_bytes").write_text(f"{800 * MIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{300 * MIB}\n")
    assert _cgroups(tmp_path, tmp_path / "cgroup") == [(800 * MIB, 300 * MIB)]
    assert _cgroups(tmp_path, tmp_path / "none") == []


def test_devices_are_those_of_llama_cpp() -> None:
    devices = read_devices()
    assert bool(devices) is has_accelerator()
    assert all(0 < device.free <= device.total for device in devices)


def test_the_interface_reads_without_llama_cpp() -> None:
    code = (
        "import sys, core.memory, core.model_files, core.instruct\n"
        "core.memory.read_ram(); core.memory.has_accelerator()\n"
        "sys.exit(any(name in sys.modules for name in ('llama_cpp', 'numpy', 'gguf', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_kv_cache_by_its_formula(header: Header) -> None:
    one = footprint(header, context_length=1024, gpu_layers=0, batch=512)
    two = footprint(header, context_length=2048, gpu_layers=0, batch=512)
    assert one.kv_cache == 2 * header.layers * header.kv_heads * header.head_dim * 1024 * 2
    assert two.kv_cache == 2 * one.kv_cache
    assert one.weights == header.tensor_bytes
    assert one.ram == one.total
    assert one.vram == 0


def test_encoders_have_no_kv_cache(starters: dict[Role, Path]) -> None:
    need = footprint(read_header(starters[Role.EMBEDDING]), context_length=512, gpu_layers=0, batch=512)
    assert need.kv_cache == 0


def test_layers_move_to_the_device(header: Header) -> None:
    need = footprint(header, context_length=1024, gpu_layers=-1, batch=512, offload=True)
    assert need.vram == need.weights + need.kv_cache + need.compute
    assert need.ram == need.overhead
    none = footprint(header, context_length=1024, gpu_layers=-1, batch=512, offload=False)
    assert (none.vram, none.ram) == (0, none.total)


@pytest.mark.parametrize("role", list(Role))
def test_the_estimate_is_near_what_llama_cpp_allocates(
    starters: dict[Role, Path], role: Role, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "charlie.llama")
    spec = spec_of(starters[role], role)
    load(spec).close()
    log = "\n".join(record.getMessage() for record in caplog.records)
    need = footprint(spec.header, context_length=spec.context_length, gpu_layers=0, batch=spec.batch)
    compute = float(re.findall(r"compute buffer size = +([\d.]+) MiB", log)[-1]) * MIB
    assert 0.7 * compute < need.compute < 2 * compute
    if role is Role.INSTRUCT:
        kv_cache = float(re.findall(r"KV buffer size = +([\d.]+) MiB", log)[-1]) * MIB
        assert need.kv_cache == kv_cache
