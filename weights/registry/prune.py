"""Remove releases from the user's folder, and what interrupted commands left there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ...core.errors import WeightsError, os_errors_as
from ..manifest import Stage
from ..records import shortened
from ..release import MANIFEST, NAME_PATTERN, joined, place, split_name
from ..store import PACKAGE_ROOT, find, installed, pin_key, read_pins, user_root, write_pin

REMOVING = ".remove-"
LEFTOVERS = {
    ".publish-": "an interrupted publication",
    ".pull-": "an interrupted pull",
    REMOVING: "an interrupted removal",
    ".current.json-": "an interrupted change of the version in use",
}
"""Name prefixes of leftovers, and what these are."""
AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw]?)")
SECONDS = {"s": 1, "m": 60, "": 3600, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Removed:
    """A release that was removed.

    Attributes:
        label: ``1.0.0`` or ``shirt@0.1.0``.
        folder: where it was.
        unpinned: whether it was chosen by ``weights use``; if so, the newest is used from now on.
    """

    label: str
    folder: Path
    unpinned: bool


@dataclass(frozen=True)
class Leftover:
    """Something that is no longer needed.

    Attributes:
        path: a file or folder; None for a pin.
        what: description of what it is.
        bytes: size on disk.
        pin: the stage and name of a pin whose version is not installed.
    """

    path: Path | None
    what: str
    bytes: int
    pin: tuple[Stage, str] | None = None


def remove(stage: Stage, version: str, force: bool = False) -> Removed:
    """Remove a release from the user's folder. It disappears in one step, whatever happens afterwards.

    Args:
        stage: detector or classifier.
        version: ``1.0.0`` or ``shirt@0.1.0``. A release with a broken manifest can be removed, too.
        force: remove it even if it is the one used when no version is named.

    Raises:
        WeightsError: there is no such release, it came with facepipe, it is in use, or it cannot be removed.
    """
    name, number = split_name(stage, version)
    if number is None:
        raise WeightsError(f"{stage} {version}: name the version to remove, such as {joined(name, '1.0.0')}")
    root = user_root()
    label, folder = joined(name, number), place(root, stage, name, number)
    if number in (".", "..") or "/" in number or "\\" in number or not os.path.isfile(folder / MANIFEST):
        if os.path.isfile(place(PACKAGE_ROOT, stage, name, number) / MANIFEST):
            raise WeightsError(
                f"{stage} {label} came with facepipe itself ({place(PACKAGE_ROOT, stage, name, number)}) and goes with "
                f"it; to use another: facepipe weights use {stage} VERSION"
            )
        have = ", ".join(each.label for each in installed(stage)[0] if root in each.folder.parents) or "none"
        raise WeightsError(f"no {stage} {shortened(label)[1:-1]} in {root}; there are: {have}")
    pinned = read_pins(root).get(pin_key(stage, name)) == number
    if not force and (pinned or _is_used(stage, name, folder)):
        raise WeightsError(
            f"{stage} {label} is the version used by default; choose another first "
            f"(facepipe weights use {stage} {joined(name, 'VERSION')}), or remove it with --force"
        )
    with os_errors_as(WeightsError, f"{folder}: cannot be removed"):
        aside = Path(tempfile.mkdtemp(prefix=REMOVING, dir=folder.parent)) / number
        folder.rename(aside)
    if pinned:
        write_pin(root, stage, None, name)
    shutil.rmtree(aside.parent, ignore_errors=True)  # `weights gc` finds what remains
    return Removed(label, folder, pinned)


def _is_used(stage: Stage, name: str, folder: Path) -> bool:
    try:
        return find(stage, name or None).folder == folder
    except WeightsError:
        return False


def leftovers(older_than: float, root: Path | None = None) -> list[Leftover]:
    """Find what can be cleaned up.

    Args:
        older_than: minimum age in seconds of a leftover's newest file; younger leftovers may still be in use.
        root: the folder of releases; None means the user's.

    Raises:
        WeightsError: ``current.json`` is damaged, or a folder cannot be read.
    """
    root = root or user_root()
    try:
        candidates = [_leftover(path, older_than) for path in _candidates(root)]
    except OSError as error:
        raise WeightsError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
    found = [each for each in candidates if each is not None]
    known = {(each.stage, each.name, each.version) for group in installed() for each in group}
    for key, version in read_pins(root).items():
        stage, _, name = key.partition("/")
        if (stage, name, version) not in known:
            what = f"{stage} {joined(name, version)} is chosen in current.json but not installed"
            found.append(Leftover(None, what, 0, (next(each for each in get_args(Stage) if each == stage), name)))
    return found


def _leftover(path: Path, older_than: float) -> Leftover | None:
    """Describe a file or folder named like a leftover; None if it is younger, or has just been removed."""
    try:
        files = [each for each in ([path, *path.rglob("*")] if path.is_dir() else [path]) if not each.is_symlink()]
        stats = [each.stat() for each in files]
        size = sum(each.st_size for each, file in zip(stats, files, strict=True) if file.is_file())
    except FileNotFoundError:
        return None
    if not stats and path.is_symlink():
        stats = [path.lstat()]
    if not stats or time.time() - max(each.st_mtime for each in stats) < older_than:
        return None
    return Leftover(path, next(what for prefix, what in LEFTOVERS.items() if path.name.startswith(prefix)), size)


def clear(leftover: Leftover, root: Path | None = None) -> None:
    """Remove a leftover.

    Raises:
        WeightsError: it cannot be removed.
    """
    try:
        if leftover.pin is not None:
            write_pin(root or user_root(), leftover.pin[0], None, leftover.pin[1])
        elif leftover.path is not None and leftover.path.is_dir() and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path)
        elif leftover.path is not None:
            leftover.path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # its owner removed it first
    except OSError as error:
        raise WeightsError(f"{leftover.path}: cannot be removed ({error.strerror})") from error


def _candidates(root: Path) -> Iterator[Path]:
    """Everything named like a leftover in the folders of a root where commands create leftovers."""
    folders = [root]
    for stage in get_args(Stage):
        if (root / stage).is_dir():
            folders.append(root / stage)
            folders += [
                each for each in (root / stage).iterdir() if each.is_dir() and NAME_PATTERN.fullmatch(each.name)
            ]
    for folder in folders:
        if folder.is_dir():
            yield from sorted(each for each in folder.iterdir() if each.name.startswith(tuple(LEFTOVERS)))


def age_seconds(text: str) -> float:
    """Convert an age such as ``90s``, ``30m``, ``12h``, ``1d`` or ``2w`` to seconds; a plain number is hours.

    Raises:
        WeightsError: the text is not an age.

    >>> age_seconds("1d")
    86400.0
    """
    parts = AGE.fullmatch(text.strip().lower())
    if parts is None:
        raise WeightsError(f"{text!r}: an age looks like 30m, 12h, 1d or 2w")
    return float(parts[1]) * SECONDS[parts[2]]
