"""Where released models are found, and how a new one joins them.

A release is a folder ``<root>/<stage>/<version>/`` with the model files and ``manifest.json``; one that was published
from a run holds a ``MODEL_CARD.md`` too. A classifier with a name of its own (``weights/names.py``) lies in
``<root>/classifier/<name>/<version>/``. Two roots are searched: the user's (``FACEPIPE_WEIGHTS``, else the platform's
data folder) and the one inside the package. Where both hold a version, the user's wins. Where no version is named, the
one that is pinned (``weights/pins.py``) or else the newest is meant.

Which version of a stage is used where none is named: ``current.json`` in the user's root.

The file holds ``{"detector": "1.0.0", "classifier/shirt": "0.1.0"}``: a version by stage, or by stage and name
(``weights/names.py``). What it does not name uses its newest release.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

from pydantic import ConfigDict, Field, RootModel, ValidationError

from ..core.errors import WeightsError
from ..core.files import write_whole
from .manifest import VERSION_PATTERN, Manifest, Stage, Version, write_manifest
from .release import (
    FACE,
    MANIFEST,
    NAME_PATTERN,
    Release,
    file_entry,
    joined,
    open_release,
    place,
    split_name,
)

__all__ = [
    "CURRENT",
    "MANIFEST",
    "Broken",
    "Key",
    "Pins",
    "Release",
    "file_entry",
    "find",
    "installed",
    "move_into_place",
    "open_release",
    "pin_key",
    "publish",
    "read_pins",
    "refuse_existing",
    "releases",
    "use",
    "user_root",
    "version_key",
    "write_pin",
]


PACKAGE_ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Broken:
    """A folder among the releases whose manifest cannot be used."""

    stage: Stage
    folder: Path
    reason: str
    name: str = ""
    """Of the classifier among whose versions the folder lies."""

    @property
    def version(self) -> str:
        """The folder's name, which ought to be a version."""
        return self.folder.name

    @property
    def label(self) -> str:
        """``1.0.0`` or ``shirt@0.1.0``."""
        return joined(self.name, self.version)


def user_root() -> Path:
    """The user's folder of releases: ``FACEPIPE_WEIGHTS``, else the platform's data folder."""
    if chosen := os.environ.get("FACEPIPE_WEIGHTS"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("facepipe", appauthor=False)) / "weights"


def installed(stage: Stage | None = None) -> tuple[list[Release], list[Broken]]:
    """Every release that can be used, oldest version first within its stage and name, and those that cannot.

    A bad manifest stops nobody who does not name that version.
    """
    found: dict[tuple[str, str, str], Release | Broken] = {}
    for root in (PACKAGE_ROOT, user_root()):
        for each in get_args(Stage):
            if stage not in (None, each) or not (root / each).is_dir():
                continue
            for name, folder in _folders(each, root / each):
                found[each, name, folder.name] = _open(each, name, folder)
    good = [release for release in found.values() if isinstance(release, Release)]
    broken = [release for release in found.values() if isinstance(release, Broken)]
    return sorted(good, key=lambda release: (release.stage, release.name, version_key(release.version))), broken


def _folders(stage: Stage, within: Path) -> Iterator[tuple[str, Path]]:
    """The folders that hold a manifest, each with the name among whose versions it lies."""
    for folder in sorted(within.iterdir()):
        if (folder / MANIFEST).is_file():
            yield "", folder
        elif stage == "classifier" and NAME_PATTERN.match(folder.name) and folder.is_dir():
            yield from ((folder.name, each) for each in sorted(folder.iterdir()) if (each / MANIFEST).is_file())


def _open(stage: Stage, name: str, folder: Path) -> Release | Broken:
    try:
        release = open_release(folder)
    except WeightsError as error:
        return Broken(stage, folder, str(error), name)
    if (release.stage, release.name, release.version) != (stage, name, folder.name):
        told = place(Path(), release.stage, release.name, release.version)
        return Broken(
            stage,
            folder,
            f"{folder}: the manifest says {release.stage} {release.label}; name the folder after it ({told})",
            name,
        )
    return release


def releases(stage: Stage | None = None) -> list[Release]:
    """Every release that can be used, oldest version first within its stage and name."""
    return installed(stage)[0]


def version_key(version: str) -> tuple[int, int, int, bool, str]:
    """Sorts versions by number; 1.0.0-name comes before 1.0.0, as in semantic versioning."""
    major, minor, patch, rest = re.match(r"^(\d+)\.(\d+)\.(\d+)(.*)$", version).groups()  # type: ignore[union-attr]
    return int(major), int(minor), int(patch), rest == "", rest


def find(stage: Stage, version: str | Path | None = None) -> Release:
    """The release of a stage by version, by folder, or the one in use: the pinned one, else the newest.

    Args:
        stage: detector or classifier.
        version: ``1.0.0``; of a classifier with a name ``shirt@0.1.0``, or ``shirt`` for the one in use; a release's
            folder; None for the one in use of those without a name.

    Raises:
        WeightsError: there is none, or it is broken; the message lists those there are, or says what to do.
    """
    if version is not None and (isinstance(version, Path) or os.sep in version or (os.altsep or os.sep) in version):
        release = open_release(Path(version))
        if release.stage != stage:
            raise WeightsError(f"{version}: holds a {release.stage}, not a {stage}")
        return release
    name, number = ("", None) if version is None else split_name(stage, version)
    known, broken = _of(stage, name)
    if number is not None:
        return _named(stage, name, number, known, broken)
    root = user_root()
    if pinned := read_pins(root).get(pin_key(stage, name)):
        try:
            return _named(stage, name, pinned, known, broken)
        except WeightsError as error:
            raise WeightsError(
                f"{root / CURRENT} says to use {stage} {joined(name, pinned)}, but: {error}. Choose another "
                f"(facepipe weights use {stage} {joined(name, 'VERSION')}) or the newest "
                f"(facepipe weights use {stage} {joined(name, 'newest')})"
            ) from error
    return _newest(stage, name, known, broken)


def _of(stage: Stage, name: str) -> tuple[list[Release], list[Broken]]:
    """The releases of a stage under one name, oldest first, and the broken ones.

    Raises:
        WeightsError: nothing of that name is installed.
    """
    good, broken = installed(stage)
    known, bad = [each for each in good if each.name == name], [each for each in broken if each.name == name]
    if name and not known and not bad:
        have = sorted({each.name or FACE for each in good})
        raise WeightsError(f"no {stage} is called {name!r}; there are: {', '.join(have) or 'none'}")
    return known, bad


def _named(stage: Stage, name: str, version: str, known: list[Release], broken: list[Broken]) -> Release:
    for release in known:
        if release.version == version:
            return release
    for bad in broken:
        if bad.version == version:
            raise WeightsError(bad.reason)
    have = ", ".join(release.label for release in known) or "none"
    raise WeightsError(f"no {stage} {joined(name, version)}; there are: {have}")


def _newest(stage: Stage, name: str, known: list[Release], broken: list[Broken]) -> Release:
    """The newest final version, else the newest of all.

    Raises:
        WeightsError: there is none, or a broken one is newer: an older one is never taken for it in silence.
    """
    final = [release for release in known if version_key(release.version)[3]]
    newest = (final or known)[-1] if known else None
    for bad in broken:
        if not VERSION_PATTERN.match(bad.version) or not version_key(bad.version)[3]:
            continue
        if not final or version_key(bad.version) > version_key(final[-1].version):
            called = f"{stage} {name}" if name else stage
            raise WeightsError(
                f"the newest {called} cannot be used: {bad.reason}. Mend or remove {bad.folder}, or choose "
                f"another version: facepipe weights use {stage} {joined(name, 'VERSION')}"
            )
    if newest is None:
        raise WeightsError(f"no {stage} is installed; looked in {PACKAGE_ROOT / stage} and {user_root() / stage}")
    return newest


def use(stage: Stage, version: str | None) -> Release:
    """Set which version of a stage is used where none is named, or have the newest used again.

    Args:
        stage: detector or classifier.
        version: ``1.0.0`` or ``shirt@0.1.0``; None, or a name alone, for the newest.

    Returns:
        The release in use from now on.

    Raises:
        WeightsError: there is no such version, its files are not those that were released (nothing changes then), or
            ``current.json`` is damaged.
    """
    root = user_root()
    name, number = ("", None) if version is None else split_name(stage, version)
    known, broken = _of(stage, name)
    release = _newest(stage, name, known, broken) if number is None else _named(stage, name, number, known, broken)
    release.verify()
    write_pin(root, stage, number, name)
    return release


def publish(
    manifest: Manifest,
    files: Iterable[Path],
    root: Path | None = None,
    replace: bool = False,
    documents: Mapping[str, bytes] | None = None,
) -> Release:
    """Copy model files and their manifest into a root, as one step that either happens or does not.

    Args:
        manifest: names the same files, by name, size and hash.
        files: the model files, wherever they are now.
        root: the folder of releases; None means the user's.
        replace: allow a version that is already there to be replaced.
        documents: contents, by name, of ``manifest.documents``.

    Raises:
        WeightsError: the version exists, a file is not the one the manifest describes, or nothing can be written there.
    """
    if manifest.name == FACE:
        manifest = manifest.model_copy(update={"name": ""})
    target = place(root or user_root(), manifest.stage, manifest.name, manifest.version)
    refuse_existing(target, replace)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".publish-", dir=target.parent) as temporary:
            staged = Path(temporary) / manifest.version
            staged.mkdir()
            for file in files:
                shutil.copyfile(file, staged / file.name)
            for name, content in (documents or {}).items():
                (staged / name).parent.mkdir(exist_ok=True)
                (staged / name).write_bytes(content)
            write_manifest(manifest, staged / MANIFEST)
            Release(staged, manifest).verify()
            move_into_place(staged, target, Path(temporary) / "replaced")
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written: {error}") from error
    return open_release(target)


def refuse_existing(target: Path, replace: bool) -> None:
    """Raise WeightsError where a version is there already and must not be replaced."""
    if target.exists() and not replace:
        raise WeightsError(f"{target}: this version exists; choose another, or --replace it")


def move_into_place(staged: Path, target: Path, replaced: Path) -> None:
    """Move a finished folder to its place; what was there comes back if that fails."""
    if target.exists():
        target.rename(replaced)
    try:
        staged.rename(target)
    except OSError:
        if replaced.exists():
            replaced.rename(target)
        raise


CURRENT = "current.json"


Key = Annotated[str, Field(pattern=r"^(detector|classifier(/[a-z][a-z0-9_]*)?)$")]


class Pins(RootModel[dict[Key, Version]]):
    """The content of ``current.json``: a version by what :func:`pin_key` gives."""

    model_config = ConfigDict(frozen=True, strict=True)


def pin_key(stage: Stage, name: str = "") -> str:
    """``detector``, ``classifier`` or ``classifier/shirt``."""
    return f"{stage}/{name}" if name else stage


def read_pins(root: Path) -> dict[str, str]:
    """The pinned version by :func:`pin_key`; empty where nothing is pinned.

    Args:
        root: the user's folder of releases.

    Raises:
        WeightsError: the file cannot be read or is not as described above; the message says how to mend it.
    """
    path = root / CURRENT
    try:
        return Pins.model_validate_json(path.read_bytes()).root
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise WeightsError(
            f"{path}: does not say which versions to use, {where}: {first['msg']}; "
            f"remove the file, and the newest versions are used again"
        ) from error


def write_pin(root: Path, stage: Stage, version: str | None, name: str = "") -> None:
    """Pin a stage, or one name in it, to a version, or (None) let its newest be used again. The file is replaced as one
    step.

    Raises:
        WeightsError: the file that is there is damaged, or the folder cannot be written to.
    """
    pins = read_pins(root)
    if version is None:
        pins.pop(pin_key(stage, name), None)
    else:
        pins[pin_key(stage, name)] = version
    path = root / CURRENT
    content = Pins(dict(sorted(pins.items()))).model_dump_json(indent=2) + "\n"
    try:
        write_whole(path, content.encode())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror})") from error
