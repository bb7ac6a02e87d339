"""The parts of a COCO file, and of what CVAT needs beside it, as every command writes them.

They are as CVAT (through Datumaro) and Roboflow read them: ``info`` and ``licenses`` are there, category ids begin at 1
(Datumaro takes 0 for no class), ``segmentation`` is empty so that CVAT makes a rectangle, and the values of a face's
attributes stand in the annotation's ``attributes``, Datumaro's extension, which CVAT imports for labels that have
attributes of those names. :func:`cvat_labels` defines such labels; it goes into the field *Raw* where a CVAT task is
made. No such tool moves points with a box, so points are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from ...weights.manifest import Attribute, NumericAttribute, PointsAttribute
from ..results import Box


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
    """One of ``images``."""
    return {"id": key, "file_name": name, "width": width, "height": height, "license": 0}


def coco_annotation(
    key: int, image: int, category: int, box: Box, confidence: float, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """One of ``annotations``; ``category`` is the number of its class from 1 on."""
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

    Where the classifier is unsure it is the likeliest class, for a tool would put the first of its list there.
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
    """Labels as CVAT's field *Raw* takes them: rectangles, faces with the classifier's attributes."""
    defined = [_cvat_attribute(attribute) for attribute in attributes if not isinstance(attribute, PointsAttribute)]
    return [{"name": name, "type": "rectangle", "attributes": defined if name == "face" else []} for name in classes]


def _cvat_attribute(attribute: Attribute) -> dict[str, Any]:
    if isinstance(attribute, PointsAttribute):
        raise TypeError("points are no CVAT attribute")
    if isinstance(attribute, NumericAttribute) and not decimals(attribute):
        limits = [f"{attribute.low:.0f}", f"{attribute.high:.0f}", "1"]  # least, greatest, step
        return {"name": attribute.name, "mutable": False, "input_type": "number", "values": limits}
    if isinstance(attribute, NumericAttribute):  # CVAT's numbers are whole
        return {"name": attribute.name, "mutable": False, "input_type": "text", "values": [""]}
    values = list(attribute.classes)
    return {"name": attribute.name, "mutable": False, "input_type": "select", "values": values}


def decimals(attribute: NumericAttribute) -> int:
    """Decimals that tell two neighbouring bins apart, or hundredths of the range: none for years of age."""
    step = (attribute.high - attribute.low) / ((attribute.bins or 101) - 1)
    return max(0, math.ceil(-math.log10(step)))
