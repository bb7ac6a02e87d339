"""Exports a run's boxes and attributes for two labelling tools: Label Studio and FiftyOne.

*Label Studio* (https://labelstud.io/guide/predictions) takes a list of tasks, each with its predictions. Coordinates
are percentages of the picture, and each attribute is a separate entry with its box's ``id``. The labelling interface is
written next to it as XML. Local pictures are addressed through the tool's local storage, relative to the folder that
holds all of them.

*FiftyOne* (its type ``FiftyOneImageDetectionDataset``) takes detections by the picture's path without suffix, relative
to the folder that holds all of them. Coordinates are fractions of the picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ...core.files import replacing, write_whole
from ...weights.manifest import Attribute, ClassesBase, PointsAttribute
from ..results import Box, Result
from .coco import common_folder, plain_values

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves local files; ``d`` is a path below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""
BOX, IMAGE = "box", "image"
"""Names in the labelling interface: the control that draws boxes, and the picture."""


def interface_path(path: Path) -> Path:
    """Path of Label Studio's labelling interface: ``faces.json`` gets ``faces.interface.xml``."""
    return path.with_name(f"{path.stem}.interface.xml")


def write_label_studio(
    path: Path,
    classes: Sequence[str],
    attributes: Sequence[Attribute],
    version: str,
    results: Callable[[], Iterable[Result]],
) -> None:
    """Write Label Studio tasks, with the labelling interface next to them.

    Args:
        path: of the tasks; written atomically.
        classes: the detector's.
        attributes: the classifiers'; points are left out.
        version: of the models, as the tool shows it.
        results: returns the results anew on each call; those of pictures that could not be read are left out.

    Raises:
        OSError: a file cannot be written.
    """
    folder = common_folder(_sources(results()))
    tasks = (_task(result, folder, version, attributes) for result in results() if result.error is None)
    _write(path, "[", (json.dumps(task, ensure_ascii=False) for task in tasks), "]\n")
    write_whole(interface_path(path), labelling_interface(classes, attributes).encode())


def write_fiftyone(path: Path, attributes: Sequence[Attribute], results: Callable[[], Iterable[Result]]) -> None:
    """Write the labels of a ``FiftyOneImageDetectionDataset``.

    Args:
        path: of the file; written atomically.
        attributes: the classifiers'; points are left out.
        results: returns the results anew on each call; those of pictures that could not be read are left out.

    Raises:
        OSError: the file cannot be written.
    """
    folder = common_folder(_sources(results()))

    def entries() -> Iterator[str]:
        for result in results():
            if result.error is None:
                key = os.path.splitext(_below(result.source or "picture", folder))[0]
                detections = [
                    {
                        "label": name,
                        "bounding_box": _shares(box, result),
                        "confidence": confidence,
                        "attributes": values,
                    }
                    for name, box, confidence, values in _boxes(result, attributes)
                ]
                yield f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(detections, ensure_ascii=False)}"

    _write(path, '{"labels": {', entries(), "}}\n")


def labelling_interface(classes: Sequence[str], attributes: Sequence[Attribute]) -> str:
    """Label Studio's interface for these boxes as XML: each face gets a choice of classes and fields for numbers."""
    lines = [
        "<View>",
        f'  <Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>',
        f'  <RectangleLabels name="{BOX}" toName="{IMAGE}">',
        *(f"    <Label value={quoteattr(name)}/>" for name in classes),
        "  </RectangleLabels>",
    ]
    for attribute in attributes:
        shown = f'toName="{IMAGE}" perRegion="true" whenTagName="{BOX}" whenLabelValue="face"'
        if isinstance(attribute, ClassesBase):
            lines.append(f"  <Choices name={quoteattr(attribute.name)} {shown}>")
            lines += [f"    <Choice value={quoteattr(name)}/>" for name in attribute.classes]
            lines.append("  </Choices>")
        elif not isinstance(attribute, PointsAttribute):
            lines.append(f"  <Number name={quoteattr(attribute.name)} {shown}/>")
    return "\n".join([*lines, "</View>", ""])


def _task(result: Result, folder: str | None, version: str, attributes: Sequence[Attribute]) -> dict[str, Any]:
    """One picture: its address, and its boxes with their attributes."""
    source = result.source or "picture"
    image = source if _is_url(source) else LOCAL_FILES + quote(_below(source, folder))
    entries: list[dict[str, Any]] = []
    for number, (name, box, confidence, values) in enumerate(_boxes(result, attributes)):
        x, y, width, height = (100 * side for side in _shares(box, result))
        place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        common = {
            "id": f"{name}-{number}",
            "to_name": IMAGE,
            "original_width": result.width,
            "original_height": result.height,
            "image_rotation": 0,
        }
        entries.append(
            {**common, "from_name": BOX, "type": "rectanglelabels", "score": confidence,
             "value": {**place, "rectanglelabels": [name]}}
        )  # fmt: skip
        for attribute, value in values.items():
            fields = {"choices": [value]} if isinstance(value, str) else {"number": value}
            entries.append({**common, "from_name": attribute, "type": next(iter(fields)), "value": {**place, **fields}})
    score = min((entry["score"] for entry in entries if "score" in entry), default=0.0)
    return {
        "data": {IMAGE: image},
        "predictions": [{"model_version": version, "score": score, "result": entries}],
    }


def _boxes(
    result: Result, attributes: Sequence[Attribute]
) -> Iterator[tuple[str, Box, float, dict[str, str | int | float]]]:
    """Class, box, confidence and plain attributes of each face, then of each head."""
    for face in result.faces:
        yield "face", face.box, round(face.confidence, 4), plain_values(face.attributes, attributes)
    for head in result.heads:
        yield "head", head.box, round(head.confidence, 4), {}


def _shares(box: Box, result: Result) -> list[float]:
    """Left, top, width and height as fractions of the picture."""
    width, height = result.width or 1, result.height or 1
    sides = box.x1 / width, box.y1 / height, (box.x2 - box.x1) / width, (box.y2 - box.y1) / height
    return [round(side, 6) for side in sides]


def _sources(results: Iterable[Result]) -> Iterator[str]:
    return (each.source for each in results if each.source and each.error is None)


def _below(source: str, folder: str | None) -> str:
    """A picture's path relative to the folder that holds all of them, with forward slashes."""
    name = os.path.relpath(source, folder) if folder and not _is_url(source) else os.path.basename(source)
    return name.replace(os.sep, "/")


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _write(path: Path, before: str, entries: Iterable[str], after: str) -> None:
    """Write entries one at a time, separated by commas."""
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(before)
        for number, entry in enumerate(entries):
            file.write(f"{',' if number else ''}\n{entry}")
        file.write(f"\n{after}")
