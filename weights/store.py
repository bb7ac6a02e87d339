"""Where released models are found, which version is in use, and how a new one is added.

A release is a folder ``<root>/<stage>/<version>/`` with the model files and ``manifest.json``; one published from a run
also holds a ``MODEL_CARD.md``. A named one (``release.split_name``) is in ``<root>/<stage>/<name>/<version>/``. Two
roots are searched: the user's (``FACEPIPE_WEIGHTS``, else the platform's data folder) and the one inside the package.
If both hold a version, the user's wins.

If no version is named, the pinned one is used, else the newest. ``current.json`` in the user's root holds the pinned
version by stage, or by stage and name: ``{"detector": "1.0.0", "classifier/shirt": "0.1.0"}``.
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

from ..core.errors import WeightsError, os_errors_as
from ..core.files import write_whole
from .manifest import Manifest, Stage, write_manifest
from .records import JSON_BYTES, Version, first_error, parse_json, read_regular, shortened, warn_once
from .release import FACE, MANIFEST, NAME_PATTERN, Release, joined, open_release, place, split_name

CURRENT = "current.json"
Key = Annotated[str, Field(pattern=r"^(detector|classifier)(/[a-z][a-z0-9_]*)?$")]
PACKAGE_ROOT = Path(__file__).parent
NO_HOME = Path("/nonexistent/facepipe/weights")
"""Stands in for the user's root if there is no home folder; nothing is read or written there."""


@dataclass(frozen=True)
class Broken:
    """A folder among the releases that cannot be read, or whose manifest cannot be used."""

    stage: Stage
    folder: Path
    reason: str
    name: str = ""
    """The name whose versions the folder is among."""

    @property
    def version(self) -> str:
        """The folder's name, which should be a version."""
        return self.folder.name

    @property
    def label(self) -> str:
        """``1.0.0`` or ``shirt@0.1.0``."""
        return joined(self.name, self.version)


def user_root() -> Path:
    """The user's folder of releases: ``FACEPIPE_WEIGHTS``, else the platform's data folder.

    Raises:
        WeightsError: ``FACEPIPE_WEIGHTS`` begins with ``~`` and that home folder does not exist.
    """
    if chosen := os.environ.get("FACEPIPE_WEIGHTS"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            raise WeightsError(f"FACEPIPE_WEIGHTS={chosen}: there is no such home folder; give a full path") from error
    import platformdirs

    try:
        found = Path(platformdirs.user_data_dir("facepipe", appauthor=False))
    except RuntimeError:  # newer platformdirs; older ones leave the ~ as it is
        return NO_HOME
    return found / "weights" if found.is_absolute() else NO_HOME


def writable_root() -> Path:
    """The user's folder of releases, for writing.

    Raises:
        WeightsError: there is no home folder to put it in.
    """
    root = user_root()
    if root == NO_HOME:
        raise WeightsError("there is no home folder to keep weights in; name another folder with FACEPIPE_WEIGHTS")
    return root


def installed(stage: Stage | None = None) -> tuple[list[Release], list[Broken]]:
    """Every usable release, oldest version first within its stage and name, and every unusable one.

    A bad manifest affects only callers that name that version; a folder that cannot be read counts as unusable. A
    version that is broken in the user's root and intact in the package is in both lists.
    """
    good: dict[tuple[str, str, str], Release] = {}
    broken: dict[tuple[str, str, str], Broken] = {}
    for root in (PACKAGE_ROOT, user_root()):
        for each in get_args(Stage):
            for found in _within(each, "", root / each) if stage in (None, each) else ():
                key = each, found.name, found.folder.name
                if isinstance(found, Broken):
                    broken[key] = found
                else:
                    good[key] = found
                    broken.pop(key, None)
    ordered = sorted(good.values(), key=lambda release: (release.stage, release.name, version_key(release.version)))
    return ordered, list(broken.values())


def _within(stage: Stage, name: str, folder: Path) -> Iterator[Release | Broken]:
    """The releases in a folder of versions; in a stage's folder, also those of the named ones."""
    try:
        inside = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        yield Broken(stage, folder, f"{folder}: cannot be read ({error.strerror})", name)
        return
    for each in inside:
        try:
            if (each / MANIFEST).exists():
                yield _open(stage, name, each)
            elif not name and NAME_PATTERN.fullmatch(each.name) and each.is_dir():
                yield from _within(stage, each.name, each)
        except OSError as error:
            yield Broken(stage, each, f"{each}: cannot be read ({error.strerror})", name)


def _open(stage: Stage, name: str, folder: Path) -> Release | Broken:
    try:
        release = open_release(folder)
    except WeightsError as error:
        return Broken(stage, folder, str(error), name)
    if (release.stage, release.name, release.version) != (stage, name, folder.name):
        right = place(Path(), release.stage, release.name, release.version)
        return Broken(
            stage,
            folder,
            f"{folder}: the manifest says {release.stage} {release.label}; name the folder after it ({right})",
            name,
        )
    return release


def releases(stage: Stage | None = None) -> list[Release]:
    """Every usable release, oldest version first within its stage and name."""
    return installed(stage)[0]


def version_key(version: str) -> tuple[int, int, int, bool, str]:
    """Sort key of a version; 1.0.0-name comes before 1.0.0, as in semantic versioning."""
    major, minor, patch, rest = re.fullmatch(r"([0-9]+)\.([0-9]+)\.([0-9]+)(.*)", version).groups()  # type: ignore[union-attr]
    return int(major), int(minor), int(patch), rest == "", rest


def find(stage: Stage, version: str | Path | None = None) -> Release:
    """Find a release of a stage by version, by folder, or the one in use: the pinned one, else the newest.

    Args:
        stage: detector or classifier.
        version: ``1.0.0``; for a named one ``shirt@0.1.0``, or ``shirt`` for its version in use; a release's folder;
            None for the unnamed one in use.

    Raises:
        WeightsError: there is none, or it is broken; the message lists those that exist, or says what to do.
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
    for bad in broken:
        warn_once(f"{bad.reason}; skipped")
    root = user_root()
    if pinned := read_pins(root).get(pin_key(stage, name)):
        try:
            return _named(stage, name, pinned, known, broken)
        except WeightsError as error:
            raise WeightsError(
                f"{root / CURRENT} selects {stage} {joined(name, pinned)}, but: {error}. Choose another "
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
    for bad in broken:
        if bad.version == version:
            raise WeightsError(bad.reason)
    for release in known:
        if release.version == version:
            return release
    have = ", ".join(release.label for release in known) or "none"
    unread = "".join(f"; {bad.reason}" for bad in broken if bad.folder.name == stage)
    raise WeightsError(f"no {stage} {shortened(joined(name, version))[1:-1]}; there are: {have}{unread}")


def _newest(stage: Stage, name: str, known: list[Release], broken: list[Broken]) -> Release:
    """The newest usable final version, else the newest usable one.

    Raises:
        WeightsError: there is none.
    """
    if not known:
        cause = f"; {broken[-1].reason}" if broken else ""
        raise WeightsError(
            f"no {stage} is installed; looked in {PACKAGE_ROOT / stage} and {user_root() / stage}{cause}"
        )
    final = [release for release in known if version_key(release.version)[3]]
    return (final or known)[-1]


class Pins(RootModel[dict[Key, Version]]):
    """The content of ``current.json``: versions by :func:`pin_key`."""

    model_config = ConfigDict(frozen=True, strict=True)


def pin_key(stage: Stage, name: str = "") -> str:
    """``detector``, ``classifier``, ``classifier/shirt`` or ``detector/small``."""
    return f"{stage}/{name}" if name else stage


def read_pins(root: Path) -> dict[str, str]:
    """Read the pinned versions by :func:`pin_key`; empty if nothing is pinned.

    Args:
        root: the user's folder of releases.

    Raises:
        WeightsError: the file cannot be read or is malformed; the message says how to fix it.
    """
    path = root / CURRENT
    try:
        content = read_regular(path, JSON_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        if not os.access(root, os.X_OK):
            warn_once(f"{root}: cannot be read ({error.strerror}); the versions it selects are unknown")
            return {}
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        parse_json(content)
        return Pins.model_validate_json(content).root
    except ValueError as error:
        cause = first_error(error) if isinstance(error, ValidationError) else str(error)
        raise WeightsError(
            f"{path}: does not say which versions to use, {cause}; "
            f"remove the file, and the newest versions are used again"
        ) from error


def write_pin(root: Path, stage: Stage, version: str | None, name: str = "") -> None:
    """Pin a stage, or one name in it, to a version. The file is replaced in one step.

    Args:
        root: the user's folder of releases.
        stage: detector or classifier.
        version: the version to pin; None to use the newest again.
        name: of a named release.

    Raises:
        WeightsError: the existing file is damaged, or the folder cannot be written to.
    """
    pins = read_pins(root)
    if version is None:
        pins.pop(pin_key(stage, name), None)
    else:
        pins[pin_key(stage, name)] = version
    path = root / CURRENT
    content = Pins(dict(sorted(pins.items()))).model_dump_json(indent=2) + "\n"
    with os_errors_as(WeightsError, f"{path}: cannot be written"):
        write_whole(path, content.encode())


def use(stage: Stage, version: str | None) -> Release:
    """Set which version of a stage is used when none is named, or go back to the newest.

    Args:
        stage: detector or classifier.
        version: ``1.0.0`` or ``shirt@0.1.0``; None, or a name alone, for the newest.

    Returns:
        The release in use from now on.

    Raises:
        WeightsError: there is no such version, its files are not those that were released (then nothing changes), or
            ``current.json`` is damaged.
    """
    root = writable_root()
    name, number = ("", None) if version is None else split_name(stage, version)
    known, broken = _of(stage, name)
    for bad in broken if number is None else ():
        warn_once(f"{bad.reason}; skipped")
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
    """Copy model files and their manifest into a root, atomically.

    Args:
        manifest: names the same files, by name, size and hash.
        files: the model files, wherever they are now.
        root: the folder of releases; None means the user's.
        replace: allow an existing version to be replaced.
        documents: contents of ``manifest.documents``, by name.

    Raises:
        WeightsError: the version exists, a file does not match the manifest, or the root cannot be written to.
    """
    if manifest.name == FACE:
        manifest = manifest.model_copy(update={"name": ""})
    target = place(root or writable_root(), manifest.stage, manifest.name, manifest.version)
    check_target(target, replace)
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


def check_target(target: Path, replace: bool) -> None:
    """Check in advance that a version can be written.

    Raises:
        WeightsError: it exists and must not be replaced, or its folder cannot be written to.
    """
    if os.path.exists(target) and not replace:  # unlike Path.exists, does not raise without permission
        raise WeightsError(f"{target}: this version already exists; choose another, or --replace it")
    nearest = next(parent for parent in target.absolute().parents if os.path.lexists(parent))
    if not os.path.isdir(nearest) or not os.access(nearest, os.W_OK):
        raise WeightsError(f"{target}: cannot be written; name another folder of weights with FACEPIPE_WEIGHTS")


def move_into_place(staged: Path, target: Path, replaced: Path) -> None:
    """Move a finished folder into place; if that fails, restore what was there.

    Args:
        staged: the finished folder.
        target: its final path.
        replaced: where to put what was there.

    Raises:
        OSError: the folder cannot be moved.
    """
    if target.exists():
        target.rename(replaced)
    try:
        staged.rename(target)
    except OSError:
        if replaced.exists():
            replaced.rename(target)
        raise
