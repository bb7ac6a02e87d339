"""The processors this process may use: how many, and whether they multiply 8-bit integers quickly.

OpenCV's own threads, which several workers on one processor do better without.
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
"""Names in ``/proc/cpuinfo`` of the instructions for sums of products of 8-bit integers, on x86 and on ARM."""
CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """How many processors this process may use at once: its affinity, but no more than its container's quota.

    Hyperthreads of one core count once where Linux tells of them, as in ONNX Runtime's own choice.
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
    """The hyperthreads that share a core with this one, as Linux lists them; the number itself where it does not."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(number)


def _quota() -> float | None:
    """Processors' worth of time that the control groups give (v2 ``cpu.max``, v1 ``cpu.cfs_*``); or None."""
    found: list[float] = []
    for folder in _cgroup_folders():
        try:
            told, period = (folder / "cpu.max").read_text().split()[:2]
        except (OSError, ValueError):
            try:
                told = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            except OSError:
                continue
        if told.isdigit() and period.isdigit() and int(period):
            found.append(int(told) / int(period))
    return min(found) if found else None


def _cgroup_folders() -> list[Path]:
    """The folders of this process's control groups and of those above them; the lowest limit of all holds."""
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
    """Whether this processor has instructions for 8-bit integers (VNNI on x86, dot product or i8mm on ARM).

    Without them int8 models are hardly quicker than float ones, or slower. None where it cannot be told.
    """
    if sys.platform == "linux":
        flags = _linux_flags()
        return bool(flags & VNNI) if flags else None
    if sys.platform == "darwin":
        return _mac_says()
    return _numpy_says()


def _linux_flags() -> frozenset[str]:
    """What ``/proc/cpuinfo`` lists as flags (x86) or features (ARM) of the first processor that has any."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(line.group(1).split()) if line else frozenset()


def _mac_says() -> bool | None:
    """On Apple silicon ``hw.optional.arm.*``, on Intel the list of CPUID's leaf 7."""
    names = ["hw.optional.arm.FEAT_DotProd", "hw.optional.arm.FEAT_I8MM", "machdep.cpu.leaf7_features"]
    if platform.machine() == "arm64":
        names.pop()
    try:
        told = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    words = told.split()
    return bool({"1", "AVX512VNNI"} & set(words)) if words else None


def _numpy_says() -> bool | None:
    """numpy's table of features. It knows AVX512-VNNI and ARM's dot product, not AVX-VNNI: a no on x86 says nothing."""
    import numpy as np

    core = getattr(np, "_core", None)
    table = getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {})
    if table.get("AVX512VNNI") or table.get("ASIMDDP"):
        return True
    return False if platform.machine().lower() in ("arm64", "aarch64") and "ASIMDDP" in table else None


class _Held:
    """Of the whole process, as the setting is."""

    lock = threading.Lock()
    blocks = 0
    before = 0


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Have OpenCV work in its caller's thread only, in the whole process, until the last block of this kind ends.

    Two workers on two cores get 1.02 times as much done so (pictures of 1 megapixel with ten faces): the threads of
    ``cv2.resize`` would take the processor from the other worker's model.
    """
    import cv2  # not above: the doctor counts processors where OpenCV cannot be imported

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
