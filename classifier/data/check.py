"""``facepipe data check`` for labelled faces: reads every row and picture and reports problems.

Only a source that cannot be read at all stops the check. Every other fault becomes a finding about one row (impossible
numbers, misplaced points), several rows (copies, groups in two splits) or the whole data set (classes without rows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.issues import Finding, in_chunks, in_order, read_stored, together
from ...core.near_duplicates import near_duplicates, perceptual_hash
from ...weights.manifest import Attribute, ClassesBase, NumericAttribute, PointsAttribute
from ..config.schema import label_columns, read_schema
from .readers import parse_source, read_rows
from .splits import SPLITS
from .statistics import by_group, by_label, splits_of, untrainable
from .table import FaceTable, make_table, middle

CHUNK = 64
"""Number of pictures decoded at a time."""
FEW = 50
"""A class with fewer training rows is reported as small."""
BEYOND = 0.2
"""Numbers above the schema's range by more than this share of it are errors: an age of 105 may be true, 700 is not."""
ALIKE = 2
"""Maximum hash distance in bits between two copies of a face. Of the pairs inspected among 25,238 crops of the training
packs, all within 2 bits were copies, about half of those at 3 or 4 bits, and none at 6. Faces cropped the same way
resemble each other more than photos do (``near_duplicates.DISTANCE``)."""
FAR = 0.1
"""Share of a number's range by which the labels of two copies must differ to be reported."""

Opener = Callable[[bytes], np.ndarray]
"""Decodes a stored picture to upright BGR; raises ``ImageError`` on failure."""


@dataclass(frozen=True)
class Seen:
    """A row's picture as read; fields are None or "" if it could not be read."""

    sha256: str = ""
    size: tuple[int, int] | None = None
    """Height and width in pixels."""
    hash: int | None = None


@dataclass
class FaceReport:
    """The result of a check.

    Attributes:
        table: every row; invalid cells count as unlabelled.
        seen: the picture of each row.
        findings: most severe first.
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
        text: a ``--data`` value as for training: a CSV or Parquet file, or a folder.
        attributes: the schema.
        opener: decodes stored pictures.
        workers: reader threads; None for one per core.
        progress: called with the number of rows done and their total.

    Raises:
        DataError: the source is missing or invalid.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    rows = read_rows(parse_source(text), attributes)
    faults: list[tuple[int, DataError]] = []
    table = make_table(rows, attributes, False, on_fault=lambda index, error: faults.append((index, error)))
    report = FaceReport(table)
    for index, error in faults:
        report.findings.append(row_finding(table, "row", index, str(error).removeprefix(f"{table.places[index]}: ")))
    for chunk in in_chunks(table.files, lambda path: _look(path, opener), CHUNK, workers, progress):
        for seen, fault in chunk:
            report.seen.append(seen)
            if fault is not None:
                report.findings.append(row_finding(table, fault[0], len(report.seen) - 1, fault[1]))
    for part in (numbers, points, unlabelled, copies, look_alikes, _groups, _untaught, _classes):
        report.findings.extend(part(report))
    report.findings = in_order(report.findings)
    return report


def _look(path: Path, opener: Opener) -> tuple[Seen, tuple[str, str] | None]:
    """Read one picture, and return it with the kind and text of its fault, if any."""
    if not path.is_file():
        return Seen(), ("picture-missing", f"no such picture: {path}")
    sha256, frame, fault = read_stored(path, opener)
    if frame is None:
        kind, text = fault or ("picture-broken", "cannot be read")
        return Seen(sha256), (kind, f"{path}: {text}")
    return Seen(sha256, frame.shape[:2], perceptual_hash(frame) or None), None


def _groups(report: FaceReport) -> Iterator[Finding]:
    """Report groups that are in two splits."""
    table = report.table
    first: dict[str, int] = {}
    for index, (group, split) in enumerate(zip(table.columns["group"], table.columns["split"], strict=True)):
        other = first.setdefault(str(group), index) if group else index
        if table.columns["split"][other] != split:
            text = f"group {group} is in {split} here and in {table.columns['split'][other]} at {table.places[other]}"
            yield row_finding(table, "group-across", index, text, other)


def _untaught(report: FaceReport) -> Iterator[Finding]:
    """Report attributes with no labels or a single class, except shipped ones whose columns are absent or blank."""
    table, shipped = report.table, read_schema()
    for name, fault in untrainable(table).items():
        attribute = next(each for each in table.attributes if each.name == name)
        if attribute in shipped and not any(
            column in table.columns and (table.columns[column] != "").any() for column in label_columns(attribute)
        ):
            continue
        text = f"{name}: {fault}, so training leaves it out; label rows for it, or remove it from the schema"
        yield Finding("attribute-untaught", table.path.name, text)


def _classes(report: FaceReport) -> Iterator[Finding]:
    """Report splits without rows, classes without rows, and small classes."""
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


def row_finding(
    table: FaceTable, kind: str, index: int, text: str, other: int | None = None, weight: float = 0
) -> Finding:
    """Make a finding about a row, which in a folder source is a picture.

    Args:
        table: of the row.
        kind: of the finding.
        index: of the row.
        text: what is wrong with it.
        other: index of a related row.
        weight: heavier findings come first.
    """
    picture = str(table.columns["file"][index])
    twin = "" if other is None else str(table.columns["file"][other])
    if table.path.is_dir():
        return Finding(kind, picture, text, None, picture, (), twin, weight)
    return Finding(kind, table.path.name, text, int(table.lines[index]), picture, (), twin, weight)


def numbers(report: FaceReport) -> Iterator[Finding]:
    """Report numbers outside the schema's range, and numbers outside their row's own range."""
    table = report.table
    for attribute in table.attributes:
        if not isinstance(attribute, NumericAttribute):
            continue
        names = (attribute.name, f"{attribute.name}_lo", f"{attribute.name}_hi")
        for index, cells in enumerate(table.targets[attribute.name].astype(float)):
            for name, value in zip(names, cells, strict=True):
                # A range may end above the schema's: "70 and over" is written as 70 to 120.
                off = max(attribute.low - value, value - attribute.high if name != names[2] else 0)
                if off > 0:
                    span = f"{attribute.low:g} to {attribute.high:g} {attribute.unit}"
                    near = value > attribute.high and off <= BEYOND * (attribute.high - attribute.low)
                    kind = "number-beyond" if near else "number-outside"
                    yield row_finding(table, kind, index, f"{name} is {value:g}, expected {span}", weight=off)
            value, low, high = cells
            if value < low or value > high:
                text = f"{attribute.name} is {value:g}, but its range is {low:g} to {high:g}"
                yield row_finding(table, "number-unlike", index, text)


def points(report: FaceReport) -> Iterator[Finding]:
    """Report points outside their picture, and left and right points that are swapped."""
    table = report.table
    for attribute in table.attributes:
        if not isinstance(attribute, PointsAttribute):
            continue
        labelled = table.targets[attribute.name].astype(float)
        for index, places in enumerate(labelled):
            height, width = report.seen[index].size or (np.inf, np.inf)
            for name, (x, y) in zip(attribute.points, places, strict=True):
                off = max(-x, -y, x - width, y - height)
                if off > 0:
                    text = f"{name} at {x:g}, {y:g} lies outside the picture of {width} x {height}"
                    yield row_finding(table, "point-outside", index, text, weight=off)
        found: set[int] = set()
        for pair in attribute.mirror:
            left, right = (attribute.points.index(name) for name in pair)
            for index in np.flatnonzero(mirrored(labelled, left, right)).tolist():
                if index not in found:
                    found.add(index)
                    (x1, y1), (x2, y2) = labelled[index, [left, right]]
                    text = f"{pair[0]} at {x1:g}, {y1:g} lies to the right of {pair[1]} at {x2:g}, {y2:g}"
                    yield row_finding(table, "points-mirrored", index, f"{text}: left is the picture's left")


def mirrored(places: np.ndarray, left: int, right: int) -> np.ndarray:
    """Find rows in which a pair of points is swapped.

    The left point is to the right of the right one, and the other points are on the opposite side of the line from left
    to right compared with correct rows. If they are on the usual side, the head is upside down and the labels are
    correct.

    Args:
        places: (n, points, 2), NaN where unlabelled.
        left, right: indices of the pair's points.

    Returns:
        bool (n,).
    """
    across = places[:, right] - places[:, left]
    swapped = -across[:, 0] > np.abs(across[:, 1])
    ordered = across[:, 0] > np.abs(across[:, 1])
    others = np.delete(places, [left, right], axis=1)
    known = ~np.isnan(others).any(axis=2)
    middle = np.where(known[:, :, None], others, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)[:, None]
    away = middle - places[:, left]
    side = np.sign(across[:, 0] * away[:, 1] - across[:, 1] * away[:, 0])
    side[~known.any(axis=1)] = 0
    usual = np.sign(side[ordered].sum()) if ordered.sum() > swapped.sum() else 0
    return np.asarray(swapped & ~((side == usual) & (side != 0)))


def unlabelled(report: FaceReport) -> Iterator[Finding]:
    """Report rows without any label."""
    table = report.table
    bare = np.ones(len(table), bool)
    for values in table.targets.values():
        bare &= np.isnan(values.reshape(len(table), -1)).all(axis=1)
    for index in np.flatnonzero(bare):
        yield row_finding(table, "unlabelled", int(index), "no attribute of the schema is labelled")


def copies(report: FaceReport) -> Iterator[Finding]:
    """Report byte-identical picture files."""
    for members in together([seen.sha256 or None for seen in report.seen]):
        last = members[-1]
        for index in members[:-1]:
            twin = str(report.table.columns["file"][last])
            across = _split(report, index) != _split(report, last)
            same = report.table.files[index] == report.table.files[last]
            text = f"is listed again in {report.table.places[last]}" if same else f"is the same file as {twin}"
            text += f", which is in {_split(report, last)}" if across else ""
            if across or not same:
                yield row_finding(report.table, "copy-across" if across else "copy", index, text, last)
            if differing := _differing(report, index, last):
                yield row_finding(
                    report.table, "copy-differs", index, f"{text}; labelled differently: {differing}", last
                )


def look_alikes(report: FaceReport) -> Iterator[Finding]:
    """Report near duplicates in different splits or with different labels."""
    known = [index for index, seen in enumerate(report.seen) if seen.hash is not None]
    groups = near_duplicates([report.seen[index].hash or 0 for index in known], ALIKE)
    numbers: list[object] = [None] * len(report.seen)
    for index, group in zip(known, groups, strict=True):
        numbers[index] = group
    for members in together(numbers):
        for index in members:
            others = [other for other in members if report.seen[other].sha256 != report.seen[index].sha256]
            later = [other for other in others if _place(report, other) > _place(report, index)]
            if later:
                twin = later[0]
                name, split = report.table.columns["file"][twin], _split(report, twin)
                text = f"looks like {name}, which is in {split}"
                yield row_finding(report.table, "alike-across", index, text, twin)
            for twin in (other for other in others if other > index):
                if differing := _differing(report, index, twin):
                    text = f"looks like {report.table.columns['file'][twin]}; labelled differently: {differing}"
                    yield row_finding(report.table, "alike-differs", index, text, twin)
                    break


def _split(report: FaceReport, index: int) -> str:
    return str(report.table.columns["split"][index])


def _place(report: FaceReport, index: int) -> int:
    split = _split(report, index)
    return SPLITS.index(split) if split in SPLITS else -1


def _differing(report: FaceReport, first: int, second: int) -> str:
    """Describe the labels in which two rows differ: other classes, or numbers more than ``FAR`` of the range apart."""
    found = []
    for attribute in report.table.attributes:
        pair = report.table.targets[attribute.name][[first, second]]
        if isinstance(attribute, PointsAttribute):
            continue
        if isinstance(attribute, NumericAttribute):
            a, b = middle(pair)
            if abs(a - b) > FAR * (attribute.high - attribute.low):
                found.append(f"{attribute.name} {a:g} and {b:g}")
        elif not np.isnan(pair).any() and pair[0] != pair[1]:
            a, b = (attribute.classes[int(value)] for value in pair)
            found.append(f"{attribute.name} {a} and {b}")
    return ", ".join(found)


def as_json(report: FaceReport) -> dict[str, Any]:
    """Convert the whole report to plain data for ``json.dumps``."""
    table = report.table
    return {
        "data": str(table.path),
        "labels_sha256": table.sha256,
        "rows": len(table),
        "splits": {name: int((table.columns["split"] == name).sum()) for name in splits_of(table)},
        "readable": sum(seen.size is not None for seen in report.seen),
        "by_label": [vars(row) for row in by_label(table)],
        "by_group": [vars(row) for row in by_group(table)],
        "findings": [finding.to_dict() for finding in report.findings],
    }
