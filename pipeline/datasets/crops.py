"""Cut training crops from labelled photos.

The detector finds the face, ``classifier/inference/crop.py`` cuts it (or its head, or its torso), and the labels move
along. This is the serving code run ahead of training: the same detector, the same crop recipe.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ...classifier.config.schema import BOX
from ...classifier.data.table import FACE_SIDE, SIDECAR, CropSet, FaceTable
from ...classifier.inference.crop import cut_region, region_box
from ...core.errors import DataError, FacepipeError
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import PointsAttribute
from ..inputs.image_reader import read_frame
from ..two_stage import match_heads
from .face_finder import find_faces, pick_face

CHUNK = 180
"""Pictures in memory at a time."""
CLEARANCE = 0.1
"""Border around a picture in the detector's first pass, as a fraction of its longer side; faces that fill a picture
need some."""


Place = tuple[np.ndarray, np.ndarray | None]
"""The labelled face's box and its head's box. The latter is None if none was found or the CSV gave the face's box."""


@dataclass(frozen=True)
class CropOptions:
    """How to cut crops.

    Attributes:
        pad: border for a second pass over pictures in which no face was found, as a fraction of the longer side.
        missed: what to do with a picture in which none is found then: leave it out, or keep it whole as a tight crop.
        tight: sources whose pictures are tight crops already; so are rows with ``framing=tight``.
        across: small pictures are detected ``across * across`` at a time; 1 takes each alone.
        extension: of the crops: jpg, webp or png.
        workers: number of reading and writing threads.
    """

    pad: float = 0.5
    missed: Literal["drop", "whole"] = "drop"
    tight: Sequence[str] = ()
    across: int = 3
    extension: str = "jpg"
    workers: int = 2


DEFAULTS = CropOptions()


@dataclass
class CropReport:
    """What happened to the rows.

    Attributes:
        cut: faces found and cut, by given or detected box.
        tight: pictures kept because they are tight crops already.
        whole: pictures without a detected face that were kept whole, as requested.
        missed: file and reason for each row that was left out.
        csv: the new CSV.
    """

    cut: int = 0
    tight: int = 0
    whole: int = 0
    retried: int = 0
    missed: list[tuple[str, str]] = field(default_factory=list)
    csv: Path = Path()


def crop_table(
    table: FaceTable,
    out: Path,
    crops: CropSet,
    detector: Callable[[], FaceDetector],
    options: CropOptions = DEFAULTS,
    report: Callable[[str], None] = print,
) -> CropReport:
    """Write the crops of a table, a CSV with the points moved along, and ``crop.json``.

    Args:
        table: labelled photos; a row's given box takes precedence over detection.
        out: folder for the results; must not hold a CSV of that name yet.
        crops: the recipe, and the context stored around it.
        detector: creates the detector; called only if some row needs it.
        options: the options.
        report: receives a progress line after each chunk of the table.

    Returns:
        Counts, and the rows left out with reasons. A picture that cannot be read is left out and does not stop the run.

    Raises:
        DataError: the CSV exists, or a row is a crop already.
    """
    target = out / f"{table.path.stem}.csv"
    if target.exists():
        raise DataError(f"{target}: exists; choose another folder, or remove it first")
    if (table.columns["framing"] == "crop").any():
        raise DataError(f"{table.path}: has rows with framing=crop: these are crops already")
    (out / "images").mkdir(parents=True, exist_ok=True)
    kept = np.isin(table.columns["source"], list(options.tight)) | (table.columns["framing"] == "tight")
    work = _Work(table, out, crops, options.missed, options.extension)
    made: list[FaceDetector] = []

    def opened() -> FaceDetector:
        if not made:
            made.append(detector())
        return made[0]

    with ThreadPoolExecutor(options.workers) as pool:
        for start in range(0, len(table), CHUNK):
            rows = range(start, min(start + CHUNK, len(table)))
            read = zip(rows, pool.map(work.read, rows), strict=True)
            frames = {row: frame for row, frame in read if frame is not None}
            boxes, retried = _boxes(frames, table, kept, opened, crops.recipe.region, options)
            work.report.retried += retried
            list(pool.map(lambda row: work.write(row, frames[row], kept[row], boxes.get(row)), frames))  # noqa: B023
            done = work.report
            report(
                f"{rows[-1] + 1}/{len(table)}: {done.cut} cut, {done.tight} tight, {done.whole} kept whole, "
                f"{len(done.missed)} left out"
            )
    if made:
        crops = crops.model_copy(update={"detector": made[0].release.label})
    (out / SIDECAR).write_text(crops.model_dump_json(indent=2) + "\n", encoding="utf-8")
    work.finish(target)
    return work.report


def _boxes(
    frames: dict[int, np.ndarray],
    table: FaceTable,
    kept: np.ndarray,
    detector: Callable[[], FaceDetector],
    region: str,
    options: CropOptions,
) -> tuple[dict[int, Place | None], int]:
    """Locate the faces of some rows.

    Args:
        frames: pictures by row, BGR, uint8, shape (height, width, 3).
        table: that they are rows of.
        kept: bool, shape (rows of the table,): rows whose pictures are crops already.
        detector: returns the detector.
        region: what to cut.
        options: the options.

    Returns:
        The known places, None for a picture that is kept as it is; and how many were found in the second pass.
    """
    boxes: dict[int, Place | None] = {row: None for row in frames if kept[row]}
    given = [row for row in frames if not kept[row] and np.isfinite(table.boxes[row]).all()]
    boxes |= {row: (table.boxes[row], None) for row in given}
    blind = {row: frame for row, frame in frames.items() if row not in boxes}
    if not blind:
        return boxes, 0
    boxes |= _detect(detector(), blind, table, options.across, CLEARANCE, region)
    again = {row: frame for row, frame in blind.items() if row not in boxes}
    second = _detect(detector(), again, table, 1, options.pad, region) if again else {}
    return boxes | second, len(second)


def _detect(
    detector: FaceDetector, frames: dict[int, np.ndarray], table: FaceTable, across: int, pad: float, region: str
) -> dict[int, Place | None]:
    """The labelled face's box and its head's, for each picture in which one is found.

    Labelled points lie in the region, so those of a torso tell whose torso it is.
    """
    limit = 1.25 * detector.input.size / across
    small = [row for row, frame in frames.items() if max(frame.shape[:2]) <= limit]
    large = [row for row in frames if row not in set(small)]
    chosen: dict[int, Place | None] = {}
    for rows, cells in ((small, across), (large, 1)):
        found = find_faces(detector, [frames[row] for row in rows], pad, cells)
        for row, each in zip(rows, found, strict=True):
            shape, points = frames[row].shape, labelled_points(table, row)
            heads = [None if head is None else each.heads[head] for head in match_heads(each.faces, each.heads)]
            boxes = each.faces
            if len(points) and len(boxes):
                regions = [region_box(region, *place, shape)[0] for place in zip(boxes, heads, strict=True)]
                boxes = np.array([np.full(4, np.nan) if box is None else box for box in regions])
            if (face := pick_face(boxes, shape, points)) is not None:
                chosen[row] = each.faces[face], heads[face]
    return chosen


def labelled_points(table: FaceTable, row: int) -> np.ndarray:
    """Every labelled point of a row, (m, 2), in pixels of its picture."""
    places = [table.targets[a.name][row] for a in table.attributes if isinstance(a, PointsAttribute)]
    points = np.concatenate(places) if places else np.zeros((0, 2), np.float32)
    return points[~np.isnan(points).any(axis=1)]


class _Work:
    """Reads and writes single rows. Called from several threads, each row by one thread."""

    def __init__(self, table: FaceTable, out: Path, crops: CropSet, missed: str, extension: str):
        self.table, self.out, self.missed, self.extension = table, out, missed, extension
        self.recipe = crops.stored
        self.report = CropReport()
        self.rows: dict[int, dict[str, str]] = {}

    def read(self, row: int) -> np.ndarray | None:
        try:
            return read_frame(self.table.files[row])
        except FacepipeError as error:
            self._miss(row, str(error))
            return None

    def write(self, row: int, frame: np.ndarray, tight: bool, place: Place | None) -> None:
        table = self.table
        cells = {name: str(values[row]) for name, values in table.columns.items() if name not in BOX}
        stem = f"{table.files[row].stem}-{table.lines[row]}"
        if place is None:
            if not tight and self.missed == "drop":
                self._miss(
                    row, "no face found" + (" at the labelled points" if len(labelled_points(table, row)) else "")
                )
                return
            cells |= {"file": f"images/{stem}{table.files[row].suffix}", "framing": "tight"}
            shutil.copyfile(table.files[row], self.out / cells["file"])
            self.report.tight += tight
            self.report.whole += not tight
        else:
            crop = cut_region(frame, *place, self.recipe)
            if crop.image is None:
                self._miss(row, str(crop.reason))
                return
            cells |= {"file": f"images/{stem}.{self.extension}", "framing": "crop", FACE_SIDE: f"{crop.side:.1f}"}
            options = {"jpg": (cv2.IMWRITE_JPEG_QUALITY, 92), "webp": (cv2.IMWRITE_WEBP_QUALITY, 90)}
            _, coded = cv2.imencode(f".{self.extension}", crop.image, options.get(self.extension, ()))
            coded.tofile(self.out / cells["file"])
            for attribute in table.attributes:
                if isinstance(attribute, PointsAttribute):
                    moved = crop.to_crop(table.targets[attribute.name][row])
                    for point, (x, y) in zip(attribute.points, moved, strict=True):
                        if not np.isnan(x):
                            cells |= {f"{point}_x": f"{x:.2f}", f"{point}_y": f"{y:.2f}"}
            self.report.cut += 1
        self.rows[row] = cells

    def _miss(self, row: int, reason: str) -> None:
        self.report.missed.append((str(self.table.columns["file"][row]), reason))

    def finish(self, target: Path) -> None:
        self.report.csv = target
        self.report.missed.sort()
        names = list(dict.fromkeys((*(name for name in self.table.columns if name not in BOX), FACE_SIDE)))
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows[row] for row in sorted(self.rows))
        with (self.out / "missed.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "reason"), *self.report.missed])
