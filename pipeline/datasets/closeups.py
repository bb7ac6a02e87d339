"""Turn an attribute data set into a detection data set of close-up faces, for training the detector.

The boxes are chosen in ``detector/data/closeups.py``; this module runs the detector and writes the set.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ...classifier.data.table import FaceTable
from ...core.errors import DataError, FacepipeError
from ...core.yaml import dump_yaml
from ...detector.data.closeups import Chosen, OneFace, choose
from ...detector.inference.detector import FaceDetector
from ..inputs.image_reader import read_frame
from .crops import CLEARANCE, labelled_points
from .face_finder import find_boxes

CHUNK = 180
"""Pictures in memory at a time."""
SHEET = 640
"""Side of a sheet in pixels."""
CELL_SHARE = (0.5, 1.0)
"""Minimum and maximum longer side of a picture on a sheet, as a fraction of its cell's side."""
ACROSS = 3
"""Pictures are detected on sheets of ACROSS x ACROSS, which makes their faces about as large as those in photos."""


def draw_rows(
    table: FaceTable, sources: Sequence[str], limit: int | None, splits: Sequence[str] = ("train", "val"), seed: int = 0
) -> list[int]:
    """Draw rows at random: at most ``limit`` per source and split, or all of them if it is None.

    Args:
        table: of faces.
        sources: to draw from; empty means all.
        limit: maximum rows of a source in a split.
        splits: to draw from.
        seed: of the draw.
    """
    left: Counter[tuple[str, str]] = Counter()
    drawn = []
    for row in np.random.default_rng(seed).permutation(len(table)):
        key = str(table.columns["source"][row]), str(table.columns["split"][row])
        if (not sources or key[0] in sources) and key[1] in splits and (limit is None or left[key] < limit):
            left[key] += 1
            drawn.append(int(row))
    return drawn


def look(table: FaceTable, rows: Sequence[int], detector: FaceDetector) -> tuple[dict[int, OneFace], dict[int, str]]:
    """Run the detector on each picture. Returns what it found, and why some pictures could not be read.

    Args:
        table: of the pictures.
        rows: to process.
        detector: to run.
    """
    seen: dict[int, OneFace] = {}
    failed: dict[int, str] = {}
    for start in range(0, len(rows), CHUNK):
        frames = {}
        for row in rows[start : start + CHUNK]:
            try:
                frames[row] = read_frame(table.files[row])
            except FacepipeError as error:
                failed[row] = str(error)
        found = find_boxes(detector, list(frames.values()), CLEARANCE, ACROSS)
        for (row, frame), (boxes, confidence) in zip(frames.items(), found, strict=True):
            seen[row] = OneFace(
                source=str(table.columns["source"][row]),
                width=frame.shape[1],
                height=frame.shape[0],
                boxes=boxes,
                confidence=confidence,
                points=labelled_points(table, row),
            )
    return seen, failed


def write_close_ups(
    table: FaceTable,
    rows: Sequence[int],
    detector: FaceDetector,
    out: Path,
    terms: Mapping[str, str],
    across: int = 1,
    seed: int = 0,
) -> Counter[str]:
    """Write a detection data set of faces (heads unlabelled) from pictures of one face each.

    Args:
        table: of faces; its points help to choose the box, its splits are kept.
        rows: to include.
        detector: finds the boxes, down to the lowest confidence that the choice needs.
        out: the data set's folder; it must not exist.
        terms: of use, by source; the empty name stands for every other source.
        across: 1 writes the pictures as they are; more lays ``across * across`` of them on sheets (``_write_sheets``).
        seed: of the sizes and places on sheets.

    Returns:
        How many pictures have a detected box, have a source's typical box, were left out, or could not be read.

    Raises:
        DataError: the folder exists, or no picture is left.
    """
    if out.exists():
        raise DataError(f"{out}: exists; choose another folder, or remove it first")
    seen, failed = look(table, rows, detector)
    order = sorted(seen)
    choices = choose([seen[row] for row in order])
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        building = Path(temporary) / out.name
        counts = Counter({"unreadable": len(failed)})
        for chosen in choices:
            counts["left out" if chosen is None else "typical box" if chosen.typical else "box found"] += 1
        kept = [(row, seen[row], chosen) for row, chosen in zip(order, choices, strict=True) if chosen is not None]
        if across == 1:
            lines = [_write_picture(building, table, *each) for each in kept]
        else:
            lines = _write_sheets(building, table, kept, across, seed)
        if not lines:
            raise DataError(f"{table.path}: none of {len(rows)} pictures is left: {dict(counts)}")
        with (building / "pictures.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        sources = sorted({line["source"] for line in lines})
        stated = {source: terms.get(source) or terms.get("") or "not stated" for source in sources}
        _write_description(building, stated)
        os.rename(building, out)
    return counts


def _write_picture(building: Path, table: FaceTable, row: int, seen: OneFace, chosen: Chosen) -> dict[str, str]:
    split, file = str(table.columns["split"][row]), table.files[row]
    name = f"{file.stem}-{table.lines[row]}{file.suffix}"
    line = _write_boxes(building, name, seen.source, split, (seen.width, seen.height), chosen.box[None], chosen.ignored)
    (building / line["file"]).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, building / line["file"])
    return line


def _write_sheets(
    building: Path, table: FaceTable, kept: Sequence[tuple[int, OneFace, Chosen]], across: int, seed: int
) -> list[dict[str, str]]:
    """Write pictures of one source and split together on square grey sheets.

    Each picture gets a random size and place in its cell. So one training picture shows many faces, at the sizes that
    faces have in photos.
    """
    random = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[tuple[int, OneFace, Chosen]]] = {}
    for index in random.permutation(len(kept)):
        row, seen, _ = kept[index]
        groups.setdefault((seen.source, str(table.columns["split"][row])), []).append(kept[index])
    lines = []
    cell = SHEET // across
    for (source, split), members in sorted(groups.items()):
        for number, start in enumerate(range(0, len(members), across * across)):
            sheet = np.full((SHEET, SHEET, 3), 114, np.uint8)
            boxes, ignored = [], []
            for place, (row, seen, chosen) in enumerate(members[start : start + across * across]):
                side = random.uniform(*CELL_SHARE) * cell
                scale = side / max(seen.width, seen.height)
                size = max(int(seen.width * scale), 1), max(int(seen.height * scale), 1)
                how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
                small = cv2.resize(read_frame(table.files[row]), size, interpolation=how)
                corner = np.array([place % across, place // across]) * cell
                x, y = (corner + random.uniform(0, 1, 2) * (cell - np.array(size))).astype(int)
                sheet[y : y + size[1], x : x + size[0]] = small
                move = np.array([x, y, x, y])
                boxes.append(chosen.box * scale + move)
                ignored.extend(chosen.ignored * scale + move)
            name = f"{source}-{split}-{across}x{across}-{number}.jpg"
            size = (SHEET, SHEET)
            line = _write_boxes(building, name, source, split, size, np.array(boxes), np.array(ignored))
            (building / line["file"]).parent.mkdir(parents=True, exist_ok=True)
            cv2.imencode(".jpg", sheet, (cv2.IMWRITE_JPEG_QUALITY, 92))[1].tofile(building / line["file"])
            lines.append(line)
    return lines


def _write_boxes(
    building: Path,
    name: str,
    source: str,
    split: str,
    size: tuple[int, int],
    boxes: np.ndarray,
    ignored: np.ndarray,
) -> dict[str, str]:
    """Write a picture's boxes and ignore regions, (n, 4) corners in pixels, and return its CSV row."""
    for kind, found in (("labels", boxes), ("ignore", ignored)):
        target = (building / kind / split / name).with_suffix(".txt")
        target.parent.mkdir(parents=True, exist_ok=True)
        scaled = np.asarray(found, np.float64).reshape(-1, 4) / (size * 2)
        if kind == "labels" or len(scaled):
            numbers = np.concatenate([(scaled[:, :2] + scaled[:, 2:]) / 2, scaled[:, 2:] - scaled[:, :2]], axis=1)
            target.write_text("".join("0 " + " ".join(f"{n:.6f}" for n in line) + "\n" for line in numbers))
    return {
        "file": f"images/{split}/{name}",
        "source": source,
        "split": split,
        "labelled_classes": "face",
        "width": str(size[0]),
        "height": str(size[1]),
        "boxes": str(len(boxes)),
    }


def _write_description(building: Path, terms: Mapping[str, str]) -> None:
    (building / "ignore").mkdir(exist_ok=True)
    content = {
        **{split: f"images/{split}" for split in ("train", "val") if (building / "images" / split).is_dir()},
        "names": {0: "face", 1: "head"},
        "labelled": "pictures.csv",
        "ignore": "ignore",
        "terms": dict(terms),
    }
    (building / "data.yaml").write_text(dump_yaml(content), encoding="utf-8")
