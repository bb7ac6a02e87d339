"""Where a training run took place: ``environment.json`` of its folder.

Python, platform, packages, processor, the version of the code, and the data's hash, which a resumed run must meet
again.
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
    """Where a training runs, and on what.

    Args:
        packages: whose versions are told, where they are installed.
        data: of the data set; its ``labels_sha256`` tells one from another.
        more: what else there is to say, such as the device.
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
    """Write ``environment.json``; a resumed run's goes under ``resumed`` of the first.

    Args:
        run: the run's folder.
        now: of :func:`environment`.
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
    """The version that an export has before it is published: ``0.0.0-NAME``, without what a version cannot hold."""
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
    """The commit of the checkout that the code lies in, with ``+changes`` where it was edited since; None elsewhere."""
    if not (ROOT / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]  # a look writes nothing
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        edited = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if edited else "")
    except (OSError, subprocess.SubprocessError):
        return None
