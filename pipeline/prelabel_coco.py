"""COCO of a prelabelled set, and the labels that a CVAT task needs to take it in.

It is written as CVAT (through Datumaro) and Roboflow read it: ``info`` and ``licenses`` are there, category ids begin
at 1 (Datumaro takes 0 for no class), ``segmentation`` is empty so that CVAT makes a rectangle, and the values of a
face's attributes stand in the annotation's ``attributes``, Datumaro's extension, which CVAT imports for labels that
have attributes of those names. ``cvat_labels.json`` defines such labels; it goes into the field *Raw* where a CVAT task
is made. No such tool moves points with a box, so they are in ``attributes.csv`` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..classifier.values import ClassValue, NumericValue
from ..weights.manifest import Attribute, NumericAttribute, PointsAttribute
from .prelabel import FoundBox, Prelabelled


def coco_content(
    pictures: Sequence[Prelabelled],
    stems: Mapping[int, str],
    classes: Sequence[str],
    attributes: Sequence[Attribute],
    note: str,
) -> dict[str, Any]:
    """COCO's object of the pictures that have a name in ``stems``; what is in it, the module says."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for key, (number, name) in enumerate(stems.items(), 1):
        picture = pictures[number]
        images.append({"id": key, "file_name": name, "width": picture.width, "height": picture.height, "license": 0})
        for found in picture.boxes:
            x1, y1, x2, y2 = found.box.x1, found.box.y1, found.box.x2, found.box.y2
            sides = [round(x2 - x1, 2), round(y2 - y1, 2)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": key,
                    "category_id": classes.index(found.label) + 1,
                    "segmentation": [],
                    "area": round(sides[0] * sides[1], 2),
                    "bbox": [round(x1, 2), round(y1, 2), *sides],
                    "iscrowd": 0,
                    "score": round(found.confidence, 4),
                    "attributes": plain_values(found, attributes),
                }
            )
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
        "images": images,
        "annotations": annotations,
    }


def cvat_labels(classes: Sequence[str], attributes: Sequence[Attribute]) -> list[dict[str, Any]]:
    """Labels as CVAT's field *Raw* takes them: rectangles, faces with the classifier's attributes."""
    defined = [_cvat_attribute(attribute) for attribute in attributes if not isinstance(attribute, PointsAttribute)]
    return [{"name": name, "type": "rectangle", "attributes": defined if name == "face" else []} for name in classes]


def _cvat_attribute(attribute: Attribute) -> dict[str, Any]:
    if isinstance(attribute, PointsAttribute):
        raise TypeError("points are no CVAT attribute")
    if isinstance(attribute, NumericAttribute) and not _decimals(attribute):
        limits = [f"{attribute.low:.0f}", f"{attribute.high:.0f}", "1"]  # least, greatest, step
        return {"name": attribute.name, "mutable": False, "input_type": "number", "values": limits}
    if isinstance(attribute, NumericAttribute):  # CVAT's numbers are whole
        return {"name": attribute.name, "mutable": False, "input_type": "text", "values": [""]}
    values = list(attribute.classes)
    return {"name": attribute.name, "mutable": False, "input_type": "select", "values": values}


def plain_values(found: FoundBox, attributes: Sequence[Attribute]) -> dict[str, str | int | float]:
    """A face's attributes as plain values, without points.

    Where the classifier is unsure it is the likeliest class, for a tool would put the first of its list there;
    ``review.csv`` lists it.
    """
    values: dict[str, str | int | float] = {}
    for attribute in attributes:
        value = (found.attributes or {}).get(attribute.name)
        if isinstance(value, ClassValue):
            values[attribute.name] = value.likeliest
        elif isinstance(value, NumericValue) and isinstance(attribute, NumericAttribute):
            decimals = _decimals(attribute)
            values[attribute.name] = round(value.value, decimals) if decimals else round(value.value)
    return values


def _decimals(attribute: NumericAttribute) -> int:
    """Decimals that tell two neighbouring bins apart, or hundredths of the range: none for years of age."""
    step = (attribute.high - attribute.low) / ((attribute.bins or 101) - 1)
    return max(0, math.ceil(-math.log10(step)))
