"""Fresh processes of ``facepipe detect``: time for one photo, and peak memory."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from facepipe.core.errors import FacepipeError
from facepipe.pipeline.benchmark import COMMAND, PEAK

from .report import Limit

LIBRARIES = "import cv2, numpy, onnxruntime, pydantic, typer, rich.table"
"""The libraries it depends on: no start can be faster than importing them."""
START_S, IMPORT_S, ONE_PHOTO_MB, FOLDER_MB = 1.5, 0.4, 400.0, 1000.0
"""Maximum targets."""


def cold_starts(photo: Path, options: Sequence[str], tries: int) -> tuple[Limit, ...]:
    """Time ``facepipe detect PHOTO`` and, in turn, a process that only imports the libraries.

    Raises:
        FacepipeError: the command failed; the message has its output.
    """
    whole, imports, libraries = [], [], []
    arguments = ["detect", str(photo), *options, "--timing"]
    for number in range(tries + 1):
        seconds, stderr = _run(COMMAND, arguments)
        floor, _ = _run(LIBRARIES, [])
        if number == 0:  # the first run reads the files from disk
            continue
        whole.append(seconds)
        libraries.append(floor)
        if found := re.search(r"\bimport ([\d.]+) s", stderr):
            imports.append(float(found.group(1)))
    limits = [Limit(name="cold start, one photo", unit="s", values=tuple(whole), wanted=START_S)]
    if imports:
        limits.append(Limit(name="of which imports", unit="s", values=tuple(imports), wanted=IMPORT_S))
    return (*limits, Limit(name="a process that only imports the libraries", unit="s", values=tuple(libraries)))


def peak_memory(name: str, pictures: Sequence[Path], options: Sequence[str], wanted: float) -> Limit | None:
    """Peak memory of a fresh ``facepipe detect`` on some pictures; None if it cannot be determined.

    Raises:
        FacepipeError: the command failed.
    """
    _, stderr = _run(PEAK + COMMAND, ["detect", *map(str, pictures), *options])
    found = re.search(r"^peak: ([\d.]+)", stderr, re.MULTILINE)
    return None if found is None else Limit(name=name, unit="MB", values=(float(found.group(1)),), wanted=wanted)


def _run(program: str, arguments: Sequence[str]) -> tuple[float, str]:
    """Seconds from start to end, and the output on stderr."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    seconds, stderr = time.perf_counter() - began, done.stderr.decode("utf-8", "replace")
    if done.returncode != 0:
        lines = stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        errors = [line for line in lines if line.startswith("error:")] or lines
        raise FacepipeError(f"a fresh facepipe process failed: {errors[-1]}")
    return seconds, stderr
