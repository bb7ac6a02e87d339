"""The environment of a training run: ``environment.json`` in its folder.

Python, platform, packages, processor, the version of the code, and the hash of the data, which must match on resume.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .cpu import usable_cpus
from .errors import TrainingError
from .files import write_whole
from .version import __version__

ENVIRONMENT = "environment.json"
ROOT = Path(__file__).resolve().parent.parent


def environment(packages: Iterable[str], data: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe where a training runs, and on what data.

    Args:
        packages: packages whose versions are recorded, if installed.
        data: describes the data set; its ``labels_sha256`` identifies it.
        more: further entries, such as the device.
    """
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "facepipe": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        **more,
        "processor": _processor(),
        "cores": usable_cpus(),
        "data": data,
    }


def record_environment(run: Path, now: dict[str, Any], labels: str, otherwise: str) -> None:
    """Write ``environment.json``; on resume, append to ``resumed`` of the existing one.

    Args:
        run: the run's folder.
        now: as from :func:`environment`.
        labels: the data's name, for the error.
        otherwise: what to do with other data, for the error.

    Raises:
        TrainingError: the labels are not those that the run began with, or the file is damaged.
    """
    path = run / ENVIRONMENT
    if path.is_file():
        try:
            first = json.loads(path.read_text(encoding="utf-8"))
            began_with = first["data"]["labels_sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path}: not the environment of a run: {error}") from error
        if began_with != now["data"]["labels_sha256"]:
            raise TrainingError(f"{labels}: not the labels that {run.name} began with; {otherwise}")
        now = {**first, "resumed": [*first.get("resumed", []), now]}
    write_whole(path, f"{json.dumps(now, indent=2)}\n".encode())


def trial_version(run: Path) -> str:
    """The version of an unpublished export: ``0.0.0-NAME``, without characters not allowed in a version."""
    name = re.sub(r"[^A-Za-z0-9.]+", ".", run.resolve().name).strip(".")
    return f"0.0.0-{name}" if name else "0.0.0"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the code's checkout, with ``+changes`` if edited since; None if there is no checkout."""
    if not (ROOT / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]  # do not write to the repository
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        edited = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if edited else "")
    except (OSError, subprocess.SubprocessError):
        return None
