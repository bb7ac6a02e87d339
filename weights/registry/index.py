"""``index.json``: which releases a source offers, and the exact bytes of each.

A source is a folder, a bucket, a web server or a Hugging Face repository that holds ``index.json`` and the files of its
releases. The folder of a release follows from its name and its manifest's hash (:attr:`Offer.folder`). So an index
contains no paths, and a release never shares a file with the one that it replaces: readers of the old index get the old
files or none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ...core.errors import RemoteError, WeightsError
from ..manifest import Manifest, Stage
from ..records import JSON_BYTES, ONNX_BYTES, SHA256, Line, MadeWith, Record, Version, first_error, parse_json
from ..release import FACE, MANIFEST, joined

INDEX = "index.json"
FORMAT = 1
"""Format of the index. facepipe reads its own format and no newer one."""
INDEX_BYTES = JSON_BYTES
"""Maximum size in bytes of an index, and of a manifest listed in it."""


class Stamp(Record):
    """Expected SHA-256 and size of a file."""

    sha256: str = Field(pattern=SHA256)
    bytes: int = Field(ge=1, le=ONNX_BYTES)


class OfferedFile(Stamp):
    """One file of a release."""

    name: str = Field(pattern=r"^(card/)?[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)


class Offer(Record):
    """One release that a source offers."""

    stage: Stage
    name: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$", max_length=100)
    version: Version
    manifest: Stamp
    files: tuple[OfferedFile, ...] = Field(min_length=1, max_length=1000, strict=False)
    """All files but the manifest: models first, in the manifest's order, then card and plots."""
    facepipe: MadeWith
    """The version of facepipe that wrote the manifest."""
    date: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    licence: Line

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        return "" if name == FACE else name

    @field_validator("manifest")
    @classmethod
    def _small(cls, manifest: Stamp) -> Stamp:
        if manifest.bytes > INDEX_BYTES:
            raise ValueError(f"a manifest has at most {INDEX_BYTES:,} bytes, this one {manifest.bytes:,}")
        return manifest

    @model_validator(mode="after")
    def _distinct(self) -> Offer:
        names = [file.name.lower() for file in self.files] + [MANIFEST]  # lower: some file systems ignore case
        if len(set(names)) != len(names):
            raise ValueError(f"{self.stage} {self.label}: two files have the same name")
        return self

    @property
    def label(self) -> str:
        """``1.0.0`` or ``shirt@0.1.0``."""
        return joined(self.name, self.version)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.stage, self.name, self.version

    @property
    def folder(self) -> PurePosixPath:
        """Folder of the files below the source, such as ``detector/1.1.0/2f8a90c1d3e4``."""
        return PurePosixPath(self.stage, *([self.name] if self.name else []), self.version, self.manifest.sha256[:12])

    @property
    def bytes(self) -> int:
        """Total size of all files, including the manifest."""
        return self.manifest.bytes + sum(file.bytes for file in self.files)


class Index(Record):
    """The content of ``index.json``."""

    format: Literal[1] = 1
    releases: tuple[Offer, ...] = Field(default=(), max_length=10_000, strict=False)

    @model_validator(mode="after")
    def _once(self) -> Index:
        if len({offer.key for offer in self.releases}) != len(self.releases):
            raise ValueError("a release is listed twice")
        return self

    def offers(self, stage: Stage, name: str = "") -> list[Offer]:
        """The versions of a stage under one name, in index order."""
        return [offer for offer in self.releases if (offer.stage, offer.name) == (stage, name)]

    def having(self, offer: Offer) -> Index:
        """A copy of the index with this release added, or in place of the one with the same key."""
        others = [other for other in self.releases if other.key != offer.key]
        return Index(releases=tuple(sorted([*others, offer], key=lambda each: each.key)))


def offer_of(manifest: Manifest, content: bytes) -> Offer:
    """The index entry of a release.

    Args:
        manifest: of the release.
        content: the bytes of its ``manifest.json``.

    Raises:
        WeightsError: the release cannot be listed, for example because a file's name is not allowed in an index.
    """
    try:
        return Offer.model_validate(
            {
                "stage": manifest.stage,
                "name": manifest.name,
                "version": manifest.version,
                "manifest": stamp(content),
                "files": [{"name": name, "sha256": sha256, "bytes": size} for name, sha256, size in stated(manifest)],
                "facepipe": manifest.facepipe,
                "date": manifest.date,
                "licence": manifest.licence,
            }
        )
    except ValidationError as error:
        raise WeightsError(
            f"{manifest.stage} {manifest.version} cannot be listed in an index: {first_error(error)}"
        ) from error


def stamp(content: bytes) -> dict[str, Any]:
    """SHA-256 and size of some content, as in :class:`Stamp`."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def read_index(content: bytes, label: str) -> Index:
    """Read and check an index.

    Args:
        content: of ``index.json``.
        label: where it came from, for messages.

    Raises:
        RemoteError: it is not JSON, breaks the contract, or has a newer format.
    """
    try:
        found = parse_json(content)
    except ValueError as error:
        raise RemoteError(f"{label}: not an index of released weights (not valid JSON: {error})") from error
    kind = found.get("format") if isinstance(found, dict) else None
    if isinstance(kind, int) and FORMAT < kind < 1_000_000:
        raise RemoteError(
            f"{label}: this index has format {kind}, made by a newer facepipe; this one reads format {FORMAT}: "
            f"upgrade it (pip install --upgrade facepipe)"
        )
    try:
        return Index.model_validate_json(content)
    except ValidationError as error:
        raise RemoteError(f"{label}: not an index of released weights, {first_error(error)}") from error


def index_bytes(index: Index) -> bytes:
    """An index as indented JSON with one trailing newline."""
    return (json.dumps(index.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n").encode()


def stated(manifest: Manifest) -> list[tuple[str, str, int]]:
    """Name, SHA-256 and size of each file that a manifest names, models first."""
    models = [(file.name, file.sha256, file.bytes) for file in manifest.files]
    return models + [(each.name, each.sha256, each.bytes) for each in manifest.documents]


def differing(manifest: Manifest, offer: Offer) -> Iterable[str]:
    """The differences between an index entry and its manifest; nothing if they agree."""
    if (manifest.stage, "" if manifest.name == FACE else manifest.name, manifest.version) != offer.key:
        called = joined("" if manifest.name == FACE else manifest.name, manifest.version)
        yield f"the manifest is for {manifest.stage} {called}"
    offered = {(each.name, each.sha256, each.bytes) for each in offer.files}
    for name in sorted({each[0] for each in offered.symmetric_difference(stated(manifest))}):
        yield f"{name} differs between the manifest and the index"
