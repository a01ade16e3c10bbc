"""What a measurement was made on and with."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from compressor.engines import ENGINES

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")

ISA_FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve"),
)
"""Instruction sets that change the speed of a network; the last five are Arm's."""

VNNI = frozenset({"avx_vnni", "avx512_vnni"})

PACKAGES = (
    *("compressor", "onnx", "onnxscript", "numpy"),
    *(engine.package for engine in ENGINES.values()),
)


def environment() -> dict[str, Any]:
    """Machine, versions and load, ready for JSON; ``None`` for what cannot be known here."""
    cpuinfo = read_or_none(CPUINFO) or ""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "cpu": cpu_model(cpuinfo) or platform.processor() or None,
        "isa_flags": isa_flags(cpuinfo),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "governor": read_or_none(GOVERNOR),
        "load_average": load_average(),
        "torch_threads": torch.get_num_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def cpu_model(cpuinfo: str) -> str | None:
    """Name of the processor in the text of ``/proc/cpuinfo``, if it stands there."""
    return field(cpuinfo, "model name")


def isa_flags(cpuinfo: str) -> list[str] | None:
    """Those of ``ISA_FLAGS`` that ``/proc/cpuinfo`` names; ``None`` if it has no such line."""
    line = field(cpuinfo, "flags") or field(cpuinfo, "Features")
    if line is None:
        return None
    present = set(line.split())
    return [flag for flag in ISA_FLAGS if flag in present]


def without_vnni() -> bool:
    """Whether this is an x86 processor without instructions for sums of 8-bit products.

    False where the processor cannot be known: the kernels that saturate are those of x86 alone.
    """
    flags = isa_flags(read_or_none(CPUINFO) or "")
    return flags is not None and "avx2" in flags and VNNI.isdisjoint(flags)


def field(cpuinfo: str, name: str) -> str | None:
    """Value of the first line ``name : value``."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name and value.strip():
            return value.strip()
    return None


def usable_cores() -> int | None:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def load_average() -> list[float] | None:
    """Runnable processes, averaged over 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def version(package: str) -> str | None:
    """Installed version of a distribution."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def read_or_none(path: Path) -> str | None:
    """Text of a file of the operating system, where there is one."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
