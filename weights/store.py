"""Where released models are found, and how a new one joins them.

A release is a folder ``<root>/<stage>/<version>/`` with the model files and ``manifest.json``. Two roots are searched:
the user's (``FACEPIPE_WEIGHTS``, else the platform's data folder) and the one inside the package. Where both hold a
version, the user's wins.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from .errors import WeightsError
from .manifest import FileEntry, Manifest, Stage, read_manifest, write_manifest

MANIFEST = "manifest.json"
PACKAGE_ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Release:
    """One released model: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def stage(self) -> Stage:
        return self.manifest.stage

    @property
    def version(self) -> str:
        return self.manifest.version

    def entry(self, precision: str | None = None) -> FileEntry:
        """The file stored in ``precision``, or the release's default file.

        Raises:
            WeightsError: the release has no such file.
        """
        for entry in self.manifest.files:
            if precision in (None, entry.precision):
                return entry
        have = ", ".join(entry.precision for entry in self.manifest.files)
        raise WeightsError(f"{self.stage} {self.version} has no {precision} file; it has: {have}")

    def read(self, precision: str | None = None) -> bytes:
        """The bytes of a model file, given out only after its size and SHA-256 agree with the manifest.

        Raises:
            WeightsError: the file is missing or is not the one that was released.
        """
        entry = self.entry(precision)
        path = self.folder / entry.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror}); the release is incomplete") from error
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise WeightsError(
                f"{path}: not the file that was released as {self.stage} {self.version} "
                f"(size or SHA-256 differs from the manifest); put the original back or remove the folder"
            )
        return content

    def verify(self) -> None:
        """Check every file of the release against the manifest.

        Raises:
            WeightsError: as for :meth:`read`.
        """
        for entry in self.manifest.files:
            self.read(entry.precision)


def user_root() -> Path:
    """The user's folder of releases: ``FACEPIPE_WEIGHTS``, else the platform's data folder."""
    if chosen := os.environ.get("FACEPIPE_WEIGHTS"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("facepipe", appauthor=False)) / "weights"


def open_release(folder: Path) -> Release:
    """Read the release in a folder; files are verified when they are read.

    Raises:
        WeightsError: no manifest, or a bad one.
    """
    return Release(folder, read_manifest(folder / MANIFEST))


def releases(stage: Stage | None = None) -> list[Release]:
    """Every release that can be used, oldest version first within its stage.

    Raises:
        WeightsError: a folder holds a bad manifest, or one that does not agree with the folder's name.
    """
    found: dict[tuple[str, str], Release] = {}
    for root in (PACKAGE_ROOT, user_root()):
        for each in get_args(Stage):
            if stage not in (None, each) or not (root / each).is_dir():
                continue
            for folder in sorted((root / each).iterdir()):
                if not (folder / MANIFEST).is_file():
                    continue
                release = open_release(folder)
                if (release.stage, release.version) != (each, folder.name):
                    raise WeightsError(
                        f"{folder}: the manifest says {release.stage} {release.version}; name the folder after it"
                    )
                found[each, folder.name] = release
    return sorted(found.values(), key=lambda release: (release.stage, version_key(release.version)))


def version_key(version: str) -> tuple[int, int, int, bool, str]:
    """Sorts versions by number; 1.0.0-name comes before 1.0.0, as in semantic versioning."""
    major, minor, patch, rest = re.match(r"^(\d+)\.(\d+)\.(\d+)(.*)$", version).groups()  # type: ignore[union-attr]
    return int(major), int(minor), int(patch), rest == "", rest


def find(stage: Stage, version: str | Path | None = None) -> Release:
    """The release of a stage by version, by folder, or (None) the newest.

    Raises:
        WeightsError: there is none; the message lists those there are.
    """
    if version is not None and (isinstance(version, Path) or os.sep in version or (os.altsep or os.sep) in version):
        release = open_release(Path(version))
        if release.stage != stage:
            raise WeightsError(f"{version}: holds a {release.stage}, not a {stage}")
        return release
    known = releases(stage)
    if version is None:
        final = [release for release in known if version_key(release.version)[3]]
        if known:
            return (final or known)[-1]
        raise WeightsError(f"no {stage} is installed; looked in {PACKAGE_ROOT / stage} and {user_root() / stage}")
    for release in known:
        if release.version == version:
            return release
    have = ", ".join(release.version for release in known) or "none"
    raise WeightsError(f"no {stage} {version}; there are: {have}")


def file_entry(path: Path, precision: str) -> FileEntry:
    """The manifest's line for a model file."""
    content = path.read_bytes()
    return FileEntry.model_validate(
        {
            "name": path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "precision": precision,
        }
    )


def publish(manifest: Manifest, files: Iterable[Path], root: Path | None = None, replace: bool = False) -> Release:
    """Copy model files and their manifest into a root, as one step that either happens or does not.

    Args:
        manifest: names the same files, by name, size and hash.
        files: the model files, wherever they are now.
        root: the folder of releases; None means the user's.
        replace: allow a version that is already there to be replaced.

    Raises:
        WeightsError: the version exists, or a file is not the one the manifest describes.
    """
    target = (root or user_root()) / manifest.stage / manifest.version
    if target.exists() and not replace:
        raise WeightsError(f"{target}: this version exists; choose another, or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=target.parent) as temporary:
        staged = Path(temporary) / manifest.version
        staged.mkdir()
        for file in files:
            shutil.copyfile(file, staged / file.name)
        write_manifest(manifest, staged / MANIFEST)
        Release(staged, manifest).verify()
        if target.exists():
            target.rename(Path(temporary) / "replaced")
        staged.rename(target)
    return open_release(target)
