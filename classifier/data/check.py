"""``facepipe data check`` for labelled faces: reads every row and picture and says what is wrong.

Nothing stops the check but a source that is none: each fault is a finding, and the rest is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...core.errors import DataError, ImageError
from ...core.issues import Finding, in_order
from ...core.near_duplicates import perceptual_hash
from ...weights.manifest import Attribute, ClassesBase
from .look_alikes import copies, look_alikes
from .readers import parse_source, read_rows
from .row_faults import numbers, points, row_finding, unlabelled
from .splits import SPLITS
from .table import FaceTable, make_table

CHUNK = 64
"""Pictures decoded at a time."""
FEW = 50
"""Rows of a class in train below which they are called few."""

Opener = Callable[[bytes], np.ndarray]
"""Decodes a stored picture, upright, BGR; raises ``ImageError`` where it cannot."""


@dataclass(frozen=True)
class Seen:
    """A row's picture as it was read: None or "" where it could not be."""

    sha256: str = ""
    size: tuple[int, int] | None = None
    """Height and width in pixels."""
    hash: int | None = None


@dataclass
class FaceReport:
    """What a check has found.

    Attributes:
        table: every row; what breaks the format counts as unlabelled.
        seen: the picture of each row.
        findings: in order of gravity.
    """

    table: FaceTable
    seen: list[Seen] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def check_faces(
    text: str,
    attributes: tuple[Attribute, ...],
    opener: Opener,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FaceReport:
    """Check a source of labelled faces.

    Args:
        text: as ``--data`` of the training takes it: a CSV or Parquet file, or a folder.
        attributes: the schema.
        opener: decodes stored pictures.
        workers: threads that read; None for one a core.
        progress: called with the number of rows done and their total.

    Raises:
        DataError: the source is missing or is none.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    rows = read_rows(parse_source(text), attributes)
    faults: list[tuple[int, DataError]] = []
    table = make_table(rows, attributes, False, on_fault=lambda index, error: faults.append((index, error)))
    report = FaceReport(table)
    for index, error in faults:
        report.findings.append(row_finding(table, "row", index, str(error).removeprefix(f"{table.places[index]}: ")))
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for start in range(0, len(table), CHUNK):
            chunk = range(start, min(start + CHUNK, len(table)))
            for index, (seen, fault) in zip(
                chunk, pool.map(lambda i: _look(table.files[i], opener), chunk), strict=True
            ):
                report.seen.append(seen)
                if fault is not None:
                    report.findings.append(row_finding(table, fault[0], index, fault[1]))
            progress(chunk.stop, len(table))
    for part in (numbers, points, unlabelled, copies, look_alikes, _groups, _classes):
        report.findings.extend(part(report))
    report.findings = in_order(report.findings)
    return report


def _look(path: Path, opener: Opener) -> tuple[Seen, tuple[str, str] | None]:
    """Read one picture; beside it the kind and the text of what is wrong with it."""
    if not path.is_file():
        return Seen(), ("picture-missing", f"no such picture: {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        return Seen(), ("picture-broken", f"{path} cannot be read ({error.strerror})")
    if not content:
        return Seen(), ("picture-empty", f"{path} is empty")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        frame = opener(content)
    except ImageError as error:
        return Seen(sha256), ("picture-broken", f"{path}: {error}")
    return Seen(sha256, frame.shape[:2], perceptual_hash(frame) or None), None


def _groups(report: FaceReport) -> Iterator[Finding]:
    """Groups that are in two splits."""
    table = report.table
    first: dict[str, int] = {}
    for index, (group, split) in enumerate(zip(table.columns["group"], table.columns["split"], strict=True)):
        other = first.setdefault(str(group), index) if group else index
        if table.columns["split"][other] != split:
            text = f"group {group} is in {split} here and in {table.columns['split'][other]} at {table.places[other]}"
            yield row_finding(table, "group-across", index, text, other)


def _classes(report: FaceReport) -> Iterator[Finding]:
    """Splits without rows, classes without rows, and classes with few."""
    table = report.table
    splits = [name for name in SPLITS if (table.columns["split"] == name).any()]
    name = table.path.name
    for split in ("train", "val"):
        if splits and split not in splits:
            yield Finding("split", name, f"no row is in {split}")
    for attribute in table.attributes:
        if not isinstance(attribute, ClassesBase):
            continue
        values = table.targets[attribute.name]
        for split in splits or [""]:
            labels = values[(table.columns["split"] == split) & ~np.isnan(values)].astype(int)
            counts = np.bincount(labels, minlength=len(attribute.classes))
            for label, count in zip(attribute.classes, counts, strict=True) if counts.sum() else ():
                where = f"in {split} " if split else ""
                if not count:
                    yield Finding("class-missing", name, f"{attribute.name}: no row {where}is {label}")
                elif count < FEW and split in ("", "train"):
                    yield Finding(
                        "class-few", name, f"{attribute.name}: {count} rows {where}are {label}", weight=-count
                    )
