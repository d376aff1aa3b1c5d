from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.memory.readings import _cgroups, _Nvml, _nvml, _nvml_free, _pressure, _properties, read_devices, read_ram

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024**2


def test_ram_is_read() -> None:
    reading = read_ram()
    assert 0 < reading.process_rss < reading.total
    assert 0 < reading.available <= reading.total
    assert 0 < reading.process_file < reading.process_rss


def test_pressure_is_read_where_the_kernel_reports_it(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    assert _pressure(file) is None
    file.write_text("some avg10=12.50 avg60=3.00 avg300=1.00 total=7\nfull avg10=1.00 avg60=0 avg300=0 total=1\n")
    assert _pressure(file) == 12.5


def test_a_cgroup_v2_limits_the_memory(tmp_path: Path) -> None:
    group = tmp_path / "a" / "b"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text(f"{800 * MIB}\n")
    (group.parent / "memory.current").write_text(f"{300 * MIB}\n")
    (group.parent / "memory.stat").write_text(f"anon 5\ninactive_file {60 * MIB}\nactive_file {40 * MIB}\n")
    assert _cgroups(tmp_path, tmp_path / "cgroup", 1 << 40) == [(800 * MIB, 200 * MIB)]


def test_a_cgroup_v1_limits_the_memory(tmp_path: Path) -> None:
    group = tmp_path / "memory" / "a"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("5:cpu,cpuacct:/a\n4:memory:/a\n")
    (group / "memory.limit_in_bytes").write_text(f"{800 * MIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{300 * MIB}\n")
    assert _cgroups(tmp_path, tmp_path / "cgroup", 1 << 40) == [(800 * MIB, 300 * MIB)]
    assert _cgroups(tmp_path, tmp_path / "none", 1 << 40) == []


def test_devices_have_free_memory() -> None:
    devices = read_devices()
    assert all(0 < device.free <= device.total for device in devices)


def test_nvmls_figure_is_of_the_same_device(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [_Nvml("A", "00000000:01:00.0", 40), _Nvml("A", "00000000:02:00.0", 2), _Nvml("B", "00000000:03:00.0", 9)]
    monkeypatch.setattr("core.memory.readings._nvml", lambda: found)
    assert [_nvml_free("A", bus_id) for bus_id in ("0000:01:00.0", "0000:02:00.0")] == [40, 2]
    assert _nvml_free("A", "") is None  # there are two
    assert _nvml_free("B", "") == 9
    assert _nvml_free("C", "") is None


def test_the_cpu_has_no_bus_id() -> None:
    (cpu,) = (each for each in _properties() if each.name == b"CPU")
    assert cpu.device_id is None
    assert 0 < cpu.free <= cpu.total


def test_nvml_without_a_driver_gives_no_devices_and_no_warning() -> None:
    assert all(each.free > 0 for each in _nvml())


def test_a_ulimit_limits_the_available_memory() -> None:
    code = (
        "import resource, core.memory.readings\n"
        "used = core.memory.readings.psutil.Process().memory_info().data\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (used + 100 * 1024**2, resource.RLIM_INFINITY))\n"
        "print(core.memory.readings.read_ram().available)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert 50 * MIB < int(done.stdout) <= 100 * MIB


def test_reading_ram_loads_no_llama_cpp() -> None:
    code = (
        "import sys, core.memory.readings, core.model_files.spec, core.llama.instruct\n"
        "core.memory.readings.read_ram()\n"
        "sys.exit(any(name in sys.modules for name in ('llama_cpp', 'numpy', 'gguf', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
