"""The CPUs that this process may use: how many, and whether they multiply 8-bit integers fast.

Also limits OpenCV to one thread, which is faster when several workers share a processor.
"""

from __future__ import annotations

import math
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VNNI = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})
"""Names in ``/proc/cpuinfo`` of the instructions for dot products of 8-bit integers, on x86 and ARM."""
CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """How many CPUs this process may use at once: its affinity, capped at its container's quota.

    Where Linux reports them, hyperthreads of one core count once, as in ONNX Runtime's default.
    """
    allowed = _affinity()
    quota = _quota()
    return max(1, min(allowed, math.ceil(quota)) if quota is not None else allowed)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        numbers = os.sched_getaffinity(0)
        cores = {_siblings(number) for number in numbers}
        count = len(cores)
    else:
        count = os.cpu_count() or 1
    if hasattr(os, "process_cpu_count"):  # Python 3.13; PYTHON_CPU_COUNT and -X cpu_count lower it
        count = min(count, os.process_cpu_count() or count)
    return count


def _siblings(number: int) -> str:
    """The hyperthreads that share a core with this one, as Linux lists them; else the number itself."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)


def _quota() -> float | None:
    """CPU quota of the control groups, in CPUs (v2 ``cpu.max``, v1 ``cpu.cfs_*``); None if there is none."""
    found: list[float] = []
    for folder in _cgroup_folders():
        try:
            quota, period = (folder / "cpu.max").read_text().split()[:2]
        except (OSError, ValueError):
            try:
                quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            except OSError:
                continue
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(int(quota) / int(period))
    return min(found) if found else None


def _cgroup_folders() -> list[Path]:
    """The folders of this process's control groups and their parents; the lowest limit applies."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers if controllers else CGROUPS
        here = root / path.lstrip("/")
        folders += [here, *(each for each in here.parents if each.is_relative_to(root))]
    return list(dict.fromkeys(folders))


def has_vnni() -> bool | None:
    """Whether this CPU has instructions for 8-bit integers (VNNI on x86, dot product or i8mm on ARM).

    Without them, sums in int8 models may saturate (see ``weights.compression``). None if unknown.
    """
    if sys.platform == "linux":
        flags = _linux_flags()
        return bool(flags & VNNI) if flags else None
    if sys.platform == "darwin":
        return _mac_has_vnni()
    return _numpy_has_vnni()


def has_avx2() -> bool:
    """Whether this is an x86 CPU with AVX2, on which int8 models are faster than float ones even without VNNI."""
    flags = _linux_flags() if sys.platform == "linux" else frozenset()
    return "avx2" in flags if flags else any(_numpy_features().get(name) for name in ("AVX2", "X86_V3"))


def _linux_flags() -> frozenset[str]:
    """Flags (x86) or features (ARM) in ``/proc/cpuinfo`` of the first processor that lists any."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(line.group(1).split()) if line else frozenset()


def _mac_has_vnni() -> bool | None:
    """Ask ``sysctl``: ``hw.optional.arm.*`` on Apple silicon, the features of CPUID leaf 7 on Intel."""
    names = ["hw.optional.arm.FEAT_DotProd", "hw.optional.arm.FEAT_I8MM", "machdep.cpu.leaf7_features"]
    if platform.machine() == "arm64":
        names.pop()
    try:
        output = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    words = output.split()
    return bool({"1", "AVX512VNNI"} & set(words)) if words else None


def _numpy_has_vnni() -> bool | None:
    """Look up numpy's table of CPU features.

    It has AVX512-VNNI and ARM's dot product, but not AVX-VNNI, so a missing feature on x86 proves nothing.
    """
    table = _numpy_features()
    if table.get("AVX512VNNI") or table.get("ASIMDDP"):
        return True
    return False if platform.machine().lower() in ("arm64", "aarch64") and "ASIMDDP" in table else None


def _numpy_features() -> dict[str, bool]:
    import numpy as np

    core = getattr(np, "_core", None)
    table: dict[str, bool] = getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {})
    return table


class _Held:
    """Process-wide state, since OpenCV's setting is process-wide."""

    lock = threading.Lock()
    blocks = 0
    before = 0


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Limit OpenCV to its caller's thread, process-wide, until the last such block ends.

    This gives two workers on two cores 1.02 times the throughput (1-megapixel pictures with ten faces). Otherwise the
    threads of ``cv2.resize`` take CPU time from the other worker's model.
    """
    import cv2  # not at the top: the doctor counts CPUs even where OpenCV cannot be imported

    with _Held.lock:
        if _Held.blocks == 0:
            _Held.before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _Held.blocks += 1
    try:
        yield
    finally:
        with _Held.lock:
            _Held.blocks -= 1
            if _Held.blocks == 0:
                cv2.setNumThreads(_Held.before)
