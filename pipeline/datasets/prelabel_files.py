"""Write a prelabelled set: YOLO in the project's layout, or COCO, plus a review list and attributes.

``outputs/coco.py`` describes the COCO format. ``review.csv`` lists what the models are unsure of; points appear only in
``attributes.csv``.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from ...classifier.inference.attributes import AttributeValue, ClassValue, PointsValue
from ...core.errors import DataError
from ...core.near_duplicates import near_duplicates
from ...detector.data.box_clipping import Row
from ...detector.data.folder import DataSet, building, free_name, link_or_copy, put
from ...detector.data.formats.records import IMAGE_SUFFIXES
from ...detector.data.splits import DEFAULT_SHARES, assign_splits
from ...weights.manifest import Attribute, PointsAttribute
from ..inputs.image_reader import read_frame
from ..outputs.coco import coco_annotation, coco_head, coco_image, cvat_labels, plain_values
from .prelabel import FoundBox, Prelabelled, ReviewRow

COCO, REVIEW, ATTRIBUTES, CVAT = "_annotations.coco.json", "review.csv", "attributes.csv", "cvat_labels.json"


@dataclass(frozen=True)
class Form:
    """How to write a set.

    Attributes:
        kind: ``yolo`` or ``coco``.
        source: the set's name; for YOLO, the column ``source``.
        note: one line that says which models made the labels.
        link: hard-link the pictures instead of copying them.
        shares: of train and val (YOLO).
        seed: of the split (YOLO).
    """

    kind: Literal["yolo", "coco"] = "yolo"
    source: str = "prelabelled"
    note: str = ""
    link: bool = False
    shares: Mapping[str, float] | None = None
    seed: int = 0


def write_set(
    out: Path,
    pictures: Sequence[Prelabelled],
    review: Sequence[ReviewRow],
    classes: Sequence[str],
    attributes: Sequence[Attribute],
    form: Form,
) -> Path:
    """Write a prelabelled set, all of it or nothing.

    Args:
        out: its folder; must be new or empty.
        pictures: with their labels; those with an error appear only in the review.
        review: from ``to_review``.
        classes: of the detector, in order.
        attributes: the classifier's; empty if they were not requested.
        form: how to write it.

    Returns:
        The file that holds the labels, or for YOLO says where they are. ``data convert`` and Roboflow accept it.

    Raises:
        DataError: the folder is taken, a file cannot be written, or no picture could be read.
    """
    good = [number for number, picture in enumerate(pictures) if picture.error is None]
    if not good:
        raise DataError(f"none of {len(pictures)} pictures can be read; the first: {pictures[0].error}")
    with building(out, False) as folder:
        taken: set[str] = set()
        stems = {number: free_name(_wanted(pictures[number].path), taken) for number in good}
        if form.kind == "yolo":
            names = _write_yolo(folder, pictures, stems, classes, form)
        else:
            names = {number: f"images/{name}" for number, name in stems.items()}
            put(folder / COCO, _json(coco_content(pictures, stems, classes, attributes, form.note)))
            put(folder / CVAT, _json(cvat_labels(classes, attributes)))
        for number, name in names.items():
            _put_picture(pictures[number].path, folder / name, form.link)
        put(folder / REVIEW, _review(pictures, review, names))
        if attributes:
            put(folder / ATTRIBUTES, _attributes(pictures, names, attributes, form.source))
    return out / ("data.yaml" if form.kind == "yolo" else COCO)


def _wanted(path: Path) -> str:
    """The preferred name for a picture: its own, or with a .png suffix if it must be rewritten as PNG."""
    return path.name if path.suffix.lower() in IMAGE_SUFFIXES else f"{path.stem or 'picture'}.png"


def _put_picture(source: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix != source.suffix:
        put(target, cv2.imencode(".png", read_frame(source))[1].tobytes())
    elif link:
        link_or_copy(source.resolve(), target)
    else:
        shutil.copyfile(source, target)


def _write_yolo(
    folder: Path, pictures: Sequence[Prelabelled], stems: Mapping[int, str], classes: Sequence[str], form: Form
) -> dict[int, str]:
    """Write labels, CSV and data.yaml. Returns the pictures' names, relative to the folder."""
    target = DataSet()
    splits = _splits([pictures[number] for number in stems], classes, form)
    names = {}
    for (number, name), split in zip(stems.items(), splits, strict=True):
        picture = pictures[number]
        rows = [Row(classes.index(found.label), _corners(found)) for found in picture.boxes]
        lines = "".join(row.line(picture.width, picture.height) + "\n" for row in rows)
        put((folder / target.place(split, "labels") / name).with_suffix(".txt"), lines.encode())
        names[number] = f"{target.place(split)}/{name}"
        target.rows.append(
            {
                "file": names[number],
                "source": form.source,
                "split": split,
                "labelled_classes": ";".join(classes),
                "width": str(picture.width),
                "height": str(picture.height),
                "boxes": str(len(rows)),
                "original": str(picture.path),
                "hash": f"{picture.fingerprint:016x}",
            }
        )
    for split in ("train", "val"):
        place = target.place(split)
        if split not in splits:  # a single picture, or copies of one
            target.content[split] = target.place(splits[0])
        else:
            (folder / place).mkdir(parents=True, exist_ok=True)
    target.content["names"] = dict(enumerate(classes))
    target.write(folder)
    return names


def _splits(pictures: Sequence[Prelabelled], classes: Sequence[str], form: Form) -> list[str]:
    """Train or val for each picture, near-duplicates on the same side. All train if all are alike."""
    groups = near_duplicates([picture.fingerprint for picture in pictures])
    if len(set(groups)) < 2:
        return ["train"] * len(pictures)
    counts = np.zeros((len(pictures), 1 + len(classes)))
    for row, picture in zip(counts, pictures, strict=True):
        row[0] = 1
        for found in picture.boxes:
            row[1 + classes.index(found.label)] += 1
    return assign_splits(groups, counts, form.shares or DEFAULT_SHARES, form.seed)


def _corners(found: FoundBox) -> tuple[float, float, float, float]:
    return found.box.x1, found.box.y1, found.box.x2, found.box.y2


def _review(pictures: Sequence[Prelabelled], review: Sequence[ReviewRow], names: Mapping[int, str]) -> bytes:
    """``review.csv``, most urgent first. ``line`` is the box's line in its label file, or its number in the picture."""
    header = ("urgency", "file", "original", "what", "kind", "line", "confidence", "x1", "y1", "x2", "y2")
    rows = []
    for row in review:
        picture, found = pictures[row.number], row.box
        cells: list[object] = [f"{row.urgency:.2f}", names.get(row.number, ""), str(picture.path), row.what]
        if found is not None:
            place = 1 + next(index for index, each in enumerate(picture.boxes) if each is found)
            cells += [found.label, place, f"{found.confidence:.3f}", *(f"{side:.1f}" for side in _corners(found))]
        rows.append(cells + [""] * (len(header) - len(cells)))
    return _csv(header, rows)


def _attributes(
    pictures: Sequence[Prelabelled], names: Mapping[int, str], attributes: Sequence[Attribute], source: str
) -> bytes:
    """``attributes.csv``: the faces, as ``data crop`` and then ``train-classifier`` accept them; blank if unsure."""
    header = ["file", "source", "line", "confidence", "x1", "y1", "x2", "y2"]
    for attribute in attributes:
        if isinstance(attribute, PointsAttribute):
            header += [f"{point}_{axis}" for point in attribute.points for axis in "xy"]
        else:
            header.append(attribute.name)
    rows = []
    for number, name in names.items():
        for place, found in enumerate(pictures[number].boxes, 1):
            if found.attributes is None:
                continue
            cells: list[object] = [name, source, place, f"{found.confidence:.3f}"]
            cells += [f"{side:.2f}" for side in _corners(found)]
            plain = plain_values(found.attributes, attributes)
            for attribute in attributes:
                value = found.attributes.get(attribute.name)
                if isinstance(attribute, PointsAttribute):
                    cells += _places(value, attribute)
                else:
                    cells.append("" if value is None or _unsure(value) else plain[attribute.name])
            rows.append(cells)
    return _csv(header, rows)


def _unsure(value: AttributeValue) -> bool:
    return isinstance(value, ClassValue) and value.value is None


def _places(value: AttributeValue | None, attribute: PointsAttribute) -> list[str]:
    if not isinstance(value, PointsValue):
        return [""] * (2 * len(attribute.points))
    return [f"{side:.2f}" for point in attribute.points for side in value.points[point]]


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def coco_content(
    pictures: Sequence[Prelabelled],
    stems: Mapping[int, str],
    classes: Sequence[str],
    attributes: Sequence[Attribute],
    note: str,
) -> dict[str, Any]:
    """The COCO object for the pictures that have a name in ``stems``.

    Args:
        pictures: with their boxes.
        stems: names by picture index.
        classes: of the detector.
        attributes: of the classifiers.
        note: says what made the boxes.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for key, (number, name) in enumerate(stems.items(), 1):
        picture = pictures[number]
        images.append(coco_image(key, name, picture.width, picture.height))
        for found in picture.boxes:
            values = plain_values(found.attributes, attributes)
            category = classes.index(found.label) + 1
            annotations.append(
                coco_annotation(len(annotations) + 1, key, category, found.box, found.confidence, values)
            )
    return {**coco_head(classes, note), "images": images, "annotations": annotations}
