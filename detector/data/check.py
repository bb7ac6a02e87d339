"""``facepipe data check``: read every picture and label of a data set and report its contents and faults.

Only an invalid DATA.yaml stops the check. Every other fault becomes a finding, and the check continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.issues import Finding, in_chunks, in_order, read_stored, together
from ...core.near_duplicates import DISTANCE, hamming, near_duplicates, perceptual_hash
from .box_checks import box_faults, sides_at_reference
from .dataset import DataDescription, file_name
from .formats.records import SPLITS
from .image_quality import Quality, is_flat, measure, poor
from .inventory import Entry, take_inventory
from .label_review import second_look

if TYPE_CHECKING:
    from ..inference.detector import FaceDetector

CHUNK = 16
"""Pictures decoded at a time."""
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WebP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
RARE = 0.05
"""A class is rare in a split if it has less than this share of the most frequent class's boxes."""


@dataclass(frozen=True)
class Opened:
    """A decoded picture.

    Attributes:
        frame: upright, BGR, uint8, shape (height, width, 3).
        format: of the file, as in ``FORMATS``.
        turned: whether its EXIF orientation swaps height and width.
    """

    frame: np.ndarray
    format: str
    turned: bool


Opener = Callable[[bytes], Opened]
"""Decodes a stored picture; raises ``ImageError`` if it cannot. The pipeline's reader is one."""


@dataclass(frozen=True)
class Checked:
    """One picture as it was read. ``quality`` and ``hash`` are None if it could not be read."""

    entry: Entry
    sha256: str
    quality: Quality | None
    hash: int | None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width in pixels."""
        return None if self.quality is None else (self.quality.height, self.quality.width)

    def sides(self) -> np.ndarray:
        """Longer sides of the boxes in pixels at 640; empty if the picture could not be read."""
        return np.zeros(0) if self.size is None else sides_at_reference(self.entry.rows, *self.size)


@dataclass
class CheckReport:
    """The result of a check.

    Attributes:
        description: the data set.
        csv: its CSV of labelled classes, if any.
        pictures: every picture, ordered by split and name.
        findings: most severe first.
        detector: version of the detector that reviewed the labels, if any.
    """

    description: DataDescription
    csv: Path | None
    pictures: list[Checked] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    detector: str | None = None


def check_data(
    yaml: Path,
    opener: Opener,
    detector: FaceDetector | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckReport:
    """Check a data set.

    Args:
        yaml: its DATA.yaml.
        opener: decodes stored pictures.
        detector: reviews the labels of each picture (see ``label_review.py``); None skips the review.
        workers: reader threads; None for one per core.
        progress: called with the number of pictures done and the total.

    Raises:
        DataError: DATA.yaml is missing or invalid, or the detector and the data set share no class.
    """
    inventory = take_inventory(yaml)
    report = CheckReport(inventory.description, inventory.csv, findings=inventory.findings)
    report.detector = None if detector is None else detector.release.label
    look = None if detector is None else second_look(detector, inventory.description.classes)
    keep = look is not None
    for read in in_chunks(inventory.entries, lambda e: _read(e, opener, keep), CHUNK, workers, progress):
        for checked, found, _ in read:
            report.pictures.append(checked)
            report.findings.extend(found)
        if look is not None:
            report.findings.extend(look([(each.entry, frame) for each, _, frame in read if frame is not None]))
    for checked in report.pictures:
        name = file_name(report.description.label_file(checked.entry.picture), report.description.root)
        report.findings.extend(box_faults(checked.entry, report.description.classes, name, checked.size))
    report.findings.extend(_copies(report.pictures))
    report.findings.extend(_alike(report.pictures))
    report.findings.extend(_classes(report))
    report.findings = in_order(report.findings)
    return report


def _read(entry: Entry, opener: Opener, keep: bool) -> tuple[Checked, list[Finding], np.ndarray | None]:
    """Read one picture: its facts, its findings, and its frame if it is to be kept."""
    file = entry.picture.file
    digest, opened, fault = read_stored(entry.picture.path, opener)
    if opened is None:
        kind, text = fault or ("picture-broken", "cannot be read")
        return Checked(entry, digest, None, None), [Finding(kind, file, text, picture=file)], None
    found = []
    if (named := FORMATS[entry.picture.path.suffix.lower()]) != opened.format:
        found.append(
            Finding("extension", file, f"the name says {named}, but the file is {opened.format}", picture=file)
        )
    if opened.turned:
        text = "height and width are swapped; check that the labelling tool rotated it too"
        found.append(Finding("turned", file, text, picture=file))
    quality = measure(opened.frame)
    found.extend(Finding(kind, file, text, picture=file) for kind, text in poor(quality))
    hashed = None if is_flat(quality) else perceptual_hash(opened.frame)
    return Checked(entry, digest, quality, hashed), found, opened.frame if keep else None


def _copies(pictures: Sequence[Checked]) -> Iterator[Finding]:
    """Findings for pictures whose files are byte-for-byte identical."""
    for members in together(checked.sha256 or None for checked in pictures):
        group = sorted((pictures[index] for index in members), key=lambda each: SPLITS.index(each.entry.split))
        last = group[-1]
        for checked in group[:-1]:
            mine, other = checked.entry, last.entry
            file, twin = mine.picture.file, other.picture.file
            across = mine.split != other.split
            text = f"is the same file as {twin}" if file != twin else f"is in {mine.split} and in {other.split}"
            yield Finding("copy-across" if across else "copy", file, text, picture=file, other=twin)
            if _labels(mine) != _labels(other):
                yield Finding("copy-differs", file, f"{text}, but labelled differently", picture=file, other=twin)


def _labels(entry: Entry) -> tuple[object, ...]:
    return entry.picture.labelled, sorted(entry.rows.tolist())


def _alike(pictures: Sequence[Checked]) -> Iterator[Finding]:
    """Findings for pictures that look like one of a later split, each with the nearest such picture."""
    seen = [checked for checked in pictures if checked.hash is not None]
    for indices in together(near_duplicates([checked.hash or 0 for checked in seen])):
        members = [seen[index] for index in indices]
        for checked in members if len({member.entry.split for member in members}) > 1 else ():
            place = SPLITS.index(checked.entry.split)
            later = [
                (hamming(checked.hash or 0, other.hash or 0), other.entry)
                for other in members
                if SPLITS.index(other.entry.split) > place and other.sha256 != checked.sha256
            ]
            distance, other = min(later, key=lambda pair: (pair[0], pair[1].picture.file), default=(65, None))
            if other is not None and distance <= DISTANCE:
                file, twin = checked.entry.picture.file, other.picture.file
                text = f"looks like {twin} ({distance} of 64 bits differ)"
                yield Finding("alike-across", file, text, picture=file, other=twin, weight=-distance)


def _classes(report: CheckReport) -> Iterator[Finding]:
    """Findings for classes with few boxes or none."""
    classes, yaml = report.description.classes, report.description.yaml.name
    for split in report.description.pictures:
        rows = [checked.entry.rows for checked in report.pictures if checked.entry.split == split]
        if not rows:
            continue
        counts = np.bincount(np.concatenate(rows)[:, 0].astype(int), minlength=len(classes))
        for name, count in zip(classes, counts, strict=True):
            if not count:
                yield Finding("class-empty", yaml, f"{split} has no box of class {name}")
            elif count < RARE * counts.max():
                text = f"{split} has {count:,} boxes of class {name}, and {counts.max():,} of another"
                yield Finding("class-rare", yaml, text)
