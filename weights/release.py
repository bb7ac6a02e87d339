"""One released model in its folder: its checked bytes, and what it is called.

Its label is ``1.0.0``, or ``shirt@0.1.0`` where several classifiers stand beside each other. The classifier of faces
and the detector need no name; ``face`` is another word for the classifier without one. Named classifiers lie a folder
deeper: ``<root>/classifier/shirt/0.1.0/``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..core.errors import WeightsError
from .manifest import Document, FileEntry, Manifest, Stage, read_manifest
from .records import is_version, read_regular, shortened

MANIFEST = "manifest.json"
FACE = "face"
"""The classifier without a name, where it stands beside others."""
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,99}")
"""Of a whole name (``fullmatch``)."""


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

    @property
    def name(self) -> str:
        """Which of several classifiers this is; empty for the classifier of faces and for a detector."""
        return "" if self.manifest.name == FACE else self.manifest.name

    @property
    def label(self) -> str:
        """What it is called among those of its stage: ``1.0.0`` or ``shirt@0.1.0``."""
        return joined(self.name, self.version)

    def entry(self, precision: str | None = None) -> FileEntry:
        """The file stored in ``precision``, or the release's default file.

        Raises:
            WeightsError: the release has no such file.
        """
        for entry in self.manifest.files:
            if precision in (None, entry.precision):
                return entry
        have = ", ".join(entry.precision for entry in self.manifest.files)
        raise WeightsError(f"{self.stage} {self.label} has no {precision} file; it has: {have}")

    def finest(self) -> FileEntry:
        """The file whose weights are the most exact: float32, else float16, else int8."""
        return min(self.manifest.files, key=lambda entry: ("float32", "float16", "int8").index(entry.precision))

    def read(self, precision: str | None = None) -> bytes:
        """The bytes of a model file, given out only after its size and SHA-256 agree with the manifest.

        Raises:
            WeightsError: the file is missing or is not the one that was released.
        """
        return self._checked(self.entry(precision))

    def _checked(self, entry: FileEntry | Document) -> bytes:
        path = self.folder / entry.name
        wrong = (
            f"not the file that was released as {self.stage} {self.label} (size or SHA-256 differs from the manifest); "
            f"put the original back or remove the folder"
        )
        try:
            content = read_regular(path, entry.bytes, exactly=True)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror}); the release is incomplete") from error
        except WeightsError as error:
            raise WeightsError(f"{error}: {wrong}") from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise WeightsError(f"{path}: {wrong}")
        return content

    def verify(self) -> None:
        """Check every file of the release, its card included, against the manifest.

        Raises:
            WeightsError: as for :meth:`read`.
        """
        for entry in self.manifest.files:
            self._checked(entry)
        for other in self.manifest.documents:
            self._checked(other)


def open_release(folder: Path) -> Release:
    """Read the release in a folder; files are verified when they are read.

    Raises:
        WeightsError: no manifest, or a bad one.
    """
    return Release(folder, read_manifest(folder / MANIFEST))


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


def document(name: str, content: bytes) -> Document:
    """The manifest's line for a card or one of its plots."""
    return Document(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def split_name(stage: Stage, text: str) -> tuple[str, str | None]:
    """Take a name and a version apart.

    Args:
        stage: only classifiers have names.
        text: ``1.0.0``, ``shirt@0.1.0``, ``shirt``, ``face@1.0.0`` or ``face``.

    Returns:
        The name, empty for the classifier of faces and for a detector; and the version, None where only a name stands
        there. What reads like neither is given back as a version, of which there will be none.

    Raises:
        WeightsError: a detector with a name, or a name that cannot be one.
    """
    name, at, version = text.partition("@")
    if not at and (stage == "detector" or not NAME_PATTERN.fullmatch(text)):
        return "", text
    if stage == "detector":
        raise WeightsError(f"{shortened(text)}: detectors have versions only, such as 1.0.0; names are for classifiers")
    if not NAME_PATTERN.fullmatch(name):
        raise WeightsError(f"{shortened(text)}: a classifier is named like shirt@1.0.0, in small letters, digits and _")
    if at and not is_version(version):
        raise WeightsError(f"{shortened(text)}: a version reads like 1.2.3 or 1.2.3-name, got {shortened(version)}")
    return ("" if name == FACE else name), version if at else None


def split_release(first: str, second: str | None = None) -> tuple[Stage, str | None]:
    """Stage and version of what a command names in one word or two.

    Args:
        first: ``detector``, ``detector@1.0.0``, ``classifier`` or ``classifier@shirt@0.1.0``.
        second: ``1.0.0`` or ``shirt@0.1.0`` after a stage alone; None where all is said.

    Returns:
        The stage, and what :func:`split_name` takes apart; None where only a stage stands there.

    Raises:
        WeightsError: the first word is no stage, or both words name a version.
    """
    word, at, version = first.partition("@")
    for stage in get_args(Stage):
        if word == stage:
            if at and second is not None:
                raise WeightsError(f"{first} {second}: two versions; write {stage}@{second} or {stage} {second}")
            return stage, (version if at else second)
    raise WeightsError(f"{shortened(first)}: say which model, such as detector@1.0.0 or classifier shirt@0.1.0")


def joined(name: str, version: str) -> str:
    """``1.0.0`` or ``shirt@0.1.0``: what :func:`split_name` takes apart."""
    return f"{name}@{version}" if name else version


def label(manifest: Manifest) -> str:
    """What a release is called among those of its stage: ``1.0.0`` or ``shirt@0.1.0``."""
    return joined("" if manifest.name == FACE else manifest.name, manifest.version)


def place(root: Path, stage: Stage, name: str, version: str) -> Path:
    """The folder of a release.

    Args:
        root: the folder of releases.
        stage: detector or classifier.
        name: of a classifier with a name, else empty.
        version: such as ``1.0.0``.
        root: the folder of all releases.
        stage: ``detector`` or ``classifier``.
        name: of a classifier; empty for the one of faces.
        version: such as ``1.0.0``.
    """
    return root / stage / name / version if name else root / stage / version
