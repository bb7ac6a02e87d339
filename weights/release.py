"""``Release``: one released model in its folder, whose bytes are given out only when they are the released ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import WeightsError
from .manifest import Document, FileEntry, Manifest, Stage, read_manifest
from .names import FACE, joined

MANIFEST = "manifest.json"


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
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror}); the release is incomplete") from error
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise WeightsError(
                f"{path}: not the file that was released as {self.stage} {self.label} "
                f"(size or SHA-256 differs from the manifest); put the original back or remove the folder"
            )
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
