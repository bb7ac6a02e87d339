"""The machine: processors, memory, devices that ONNX Runtime can use."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .doctor import Finding, in_a_process

MACHINE = "machine"
LITTLE = 2**30
"""Bytes of free memory below which larger pictures may not fit: the pipeline takes less than 400 MB for one photo."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of the container, in control groups of either version."""


def look_at_machine() -> Iterator[Finding]:
    """Processors, memory, providers."""
    from ..core.cpu import has_vnni, usable_cpus

    usable, every = usable_cpus(), os.cpu_count() or 1
    told = f"{_processor()}; {usable} of {every} usable" + ("" if usable == every else " (cores, affinity, container)")
    yield Finding(MACHINE, "processors", "ok", told)
    quick = has_vnni()
    words = {True: "yes: int8 models run fastest", False: "no: float models run", None: "cannot be told"}
    yield Finding(MACHINE, "8-bit instructions", "ok", words[quick])
    free, limit = _memory()
    if free is None:
        yield Finding(MACHINE, "memory", "ok", "cannot be told")
    else:
        told = f"{free / 2**30:.1f} GiB free" + (
            "" if limit is None else f", {limit / 2**30:.1f} GiB for this container"
        )
        short = free < LITTLE
        remedy = "close other programs, or give the container more" if short else ""
        yield Finding(MACHINE, "memory", "note" if short else "ok", told, remedy)
    yield _providers()


def _providers() -> Finding:
    """What ONNX Runtime could run on, and a GPU that it could not."""
    child = in_a_process(
        "import json, onnxruntime as o; print(json.dumps([o.get_available_providers(), o.__version__]))"
    )
    if child.content is None:
        return Finding(MACHINE, "providers", "note", f"cannot be told: {child.error}")
    providers = [str(each).removesuffix("ExecutionProvider") for each in child.content[0]]
    told = ", ".join(providers)
    if shutil.which("nvidia-smi") and "CUDA" not in providers:
        told += "; an NVIDIA GPU seems to be here, and this onnxruntime cannot use it"
        remedy = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'  (then --device cuda)"
        return Finding(MACHINE, "providers", "note", told, remedy)
    return Finding(MACHINE, "providers", "ok", told)


def _processor() -> str:
    """Its name as Linux has it, else what Python knows."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _memory() -> tuple[int | None, int | None]:
    """Bytes that are free, and the container's limit, None where there is none or it cannot be told."""
    limit = None
    for path in LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 2**60:
            limit = int(text)
            break
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        free = int(found[1]) * 1024 if found else None
    except OSError:
        free = None
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (min(free, limit) if free is not None and limit is not None else free), limit
