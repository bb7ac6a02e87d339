"""Writes a run's boxes as one COCO file for relabelling, with the labels of a CVAT task next to it.

``file_name`` is the picture's path relative to the deepest folder that holds all of the run's pictures, with forward
slashes: give that folder to the labelling tool. Pictures that could not be read are left out.

The file suits CVAT (through Datumaro) and Roboflow: ``info`` and ``licenses`` are present, category ids begin at 1
(Datumaro takes 0 for no class), ``segmentation`` is empty so that CVAT makes a rectangle, and a face's attribute values
are in the annotation's ``attributes``, a Datumaro extension that CVAT imports for labels with attributes of those
names. :func:`cvat_labels` defines such labels, to paste into the field *Raw* when creating a CVAT task. No such tool
moves points along with a box, so points are left out.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from ...core.files import replacing, write_whole
from ...weights.manifest import Attribute, NumericAttribute, PointsAttribute
from ..results import Box, Result


def labels_path(path: Path) -> Path:
    """Path of the labels for CVAT: ``faces.json`` gets ``faces.cvat-labels.json``."""
    return path.with_name(f"{path.stem}.cvat-labels.json")


def write_coco(
    path: Path,
    classes: Sequence[str],
    attributes: Sequence[Attribute],
    note: str,
    results: Callable[[], Iterable[Result]],
) -> None:
    """Write the file in two passes over the results, one at a time, and the labels for CVAT.

    Args:
        path: of the file; written atomically.
        classes: the detector's, in order.
        attributes: the classifiers'.
        note: says what made the boxes.
        results: returns the results anew on each call.

    Raises:
        OSError: a file cannot be written.
    """
    below = common_folder(each.source for each in results() if each.source and each.error is None)
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(json.dumps(coco_head(classes, note), ensure_ascii=False)[:-1])
        file.write(', "images": [')
        file.writelines(_joined(_images(results(), below)))
        file.write('],\n"annotations": [')
        file.writelines(_joined(_annotations(results(), classes, attributes)))
        file.write("]}\n")
    labels = json.dumps(cvat_labels(classes, attributes), indent=1, ensure_ascii=False) + "\n"
    write_whole(labels_path(path), labels.encode("utf-8"))


def common_folder(sources: Iterable[str]) -> str | None:
    """The deepest folder that holds all of these files; None if there is none, as for URLs or several drives."""
    folder: str | None = None
    for source in sources:
        if _is_url(source):
            continue
        own = os.path.dirname(os.path.abspath(source))
        try:
            folder = own if folder is None else os.path.commonpath((folder, own))
        except ValueError:  # different drives
            return None
    return folder


def _name(source: str, below: str | None) -> str:
    if _is_url(source):
        return PurePosixPath(urlsplit(source).path).name or "picture"
    return os.path.relpath(source, below).replace(os.sep, "/") if below else os.path.basename(source)


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _images(results: Iterable[Result], below: str | None) -> Iterator[str]:
    readable = (each for each in results if each.error is None)
    for key, result in enumerate(readable, 1):
        name = _name(result.source or "picture", below)
        yield json.dumps(coco_image(key, name, result.width or 0, result.height or 0), ensure_ascii=False)


def _annotations(results: Iterable[Result], classes: Sequence[str], attributes: Sequence[Attribute]) -> Iterator[str]:
    readable = (each for each in results if each.error is None)
    keys = count(1)
    face, head = classes.index("face") + 1, classes.index("head") + 1
    for image, result in enumerate(readable, 1):
        for each in result.faces:
            values = plain_values(each.attributes, attributes)
            yield json.dumps(coco_annotation(next(keys), image, face, each.box, each.confidence, values))
        for alone in result.heads:
            yield json.dumps(coco_annotation(next(keys), image, head, alone.box, alone.confidence, {}))


def _joined(parts: Iterable[str]) -> Iterator[str]:
    between = "\n"
    for part in parts:
        yield between + part
        between = ",\n"


def coco_head(classes: Sequence[str], note: str) -> dict[str, Any]:
    """``info``, ``licenses`` and ``categories``; ``note`` says what made the file."""
    now = datetime.now(UTC)
    return {
        "info": {
            "description": note,
            "version": "",
            "year": now.year,
            "contributor": "",
            "url": "",
            "date_created": now.isoformat(timespec="seconds"),
        },
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "categories": [
            {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(classes, start=1)
        ],
    }


def coco_image(key: int, name: str, width: int, height: int) -> dict[str, Any]:
    """One entry of ``images``.

    Args:
        key: its ``id``, from 1.
        name: its ``file_name``.
        width: in pixels.
        height: in pixels.
    """
    return {"id": key, "file_name": name, "width": width, "height": height, "license": 0}


def coco_annotation(
    key: int, image: int, category: int, box: Box, confidence: float, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """One entry of ``annotations``.

    Args:
        key: its ``id``, from 1.
        image: ``id`` of the picture.
        category: number of its class, from 1.
        box: in pixels.
        confidence: 0 to 1.
        attributes: plain values by name.
    """
    sides = [round(box.x2 - box.x1, 2), round(box.y2 - box.y1, 2)]
    return {
        "id": key,
        "image_id": image,
        "category_id": category,
        "segmentation": [],
        "area": round(sides[0] * sides[1], 2),
        "bbox": [round(box.x1, 2), round(box.y1, 2), *sides],
        "iscrowd": 0,
        "score": round(confidence, 4),
        "attributes": dict(attributes),
    }


def plain_values(
    values: Mapping[str, AttributeValue] | None, attributes: Sequence[Attribute]
) -> dict[str, str | int | float]:
    """A face's attributes as plain values, without points.

    If the classifier is unsure, the value is the likeliest class, because a tool would otherwise use the first in its
    list.
    """
    plain: dict[str, str | int | float] = {}
    for attribute in attributes:
        value = (values or {}).get(attribute.name)
        if isinstance(value, ClassValue):
            plain[attribute.name] = value.likeliest
        elif isinstance(value, NumericValue) and isinstance(attribute, NumericAttribute):
            places = decimals(attribute)
            plain[attribute.name] = round(value.value, places) if places else round(value.value)
    return plain


def cvat_labels(classes: Sequence[str], attributes: Sequence[Attribute]) -> list[dict[str, Any]]:
    """Labels for CVAT's field *Raw*: rectangles, and faces with the classifiers' attributes."""
    defined = [_cvat_attribute(attribute) for attribute in attributes if not isinstance(attribute, PointsAttribute)]
    return [{"name": name, "type": "rectangle", "attributes": defined if name == "face" else []} for name in classes]


def _cvat_attribute(attribute: Attribute) -> dict[str, Any]:
    if isinstance(attribute, PointsAttribute):
        raise TypeError("points are no CVAT attribute")
    if isinstance(attribute, NumericAttribute) and not decimals(attribute):
        limits = [f"{attribute.low:.0f}", f"{attribute.high:.0f}", "1"]  # minimum, maximum, step
        return {"name": attribute.name, "mutable": False, "input_type": "number", "values": limits}
    if isinstance(attribute, NumericAttribute):  # CVAT's numbers are integers
        return {"name": attribute.name, "mutable": False, "input_type": "text", "values": [""]}
    values = list(attribute.classes)
    return {"name": attribute.name, "mutable": False, "input_type": "select", "values": values}


def decimals(attribute: NumericAttribute) -> int:
    """Decimals needed to tell neighbouring bins, or hundredths of the range, apart: none for age in years."""
    step = (attribute.high - attribute.low) / ((attribute.bins or 101) - 1)
    return max(0, math.ceil(-math.log10(step)))
