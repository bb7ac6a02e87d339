"""The machine that a benchmark ran on, as far as it can be determined without extra packages."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from facepipe.core.cpu import usable_cpus

from .report import Machine

_X86 = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
_ARM = ("asimd", "asimddp", "i8mm", "bf16", "sve", "sve2")
FEATURES = (*_X86, *_ARM)
"""Instruction sets that ONNX Runtime's arithmetic may use, as /proc/cpuinfo names them."""
PACKAGES = ("numpy", "opencv-python", "onnxruntime", "torch", "ultralytics", "tensorflow", "keras")


def this_machine() -> Machine:
    """CPU, cores, instruction sets, memory, system and versions; unknown values are left empty."""
    about = _cpuinfo()
    flags = set((about.get("flags") or about.get("Features") or "").split())
    return Machine(
        cpu=about.get("model name") or platform.processor() or platform.machine(),
        cores=usable_cpus(),
        features=tuple(name for name in FEATURES if name in flags),
        memory_gb=_memory(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := _version(name)) is not None},
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def resident_mb(peak: bool = False) -> float | None:
    """Resident memory of this process, now or at its peak, in MB (10^6 bytes); None outside Linux."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status, re.MULTILINE)
    return None if found is None else int(found.group(1)) * 1024 / 1e6


def _cpuinfo() -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo; empty outside Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, OSError, ValueError):  # not available on this system
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
