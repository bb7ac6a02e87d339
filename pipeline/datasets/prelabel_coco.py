"""COCO of a prelabelled set: ``outputs/coco_entries.py`` says how it is written. ``review.csv`` lists what the
classifier is unsure of, and points are in ``attributes.csv`` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...weights.manifest import Attribute
from ..outputs.coco_entries import coco_annotation, coco_head, coco_image, plain_values
from .prelabel import Prelabelled


def coco_content(
    pictures: Sequence[Prelabelled],
    stems: Mapping[int, str],
    classes: Sequence[str],
    attributes: Sequence[Attribute],
    note: str,
) -> dict[str, Any]:
    """COCO's object of the pictures that have a name in ``stems``."""
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
