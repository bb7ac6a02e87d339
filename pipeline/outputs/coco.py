"""A run's boxes as one COCO file for re-labelling, and beside it the labels for a CVAT task (``coco_entries.py``).

``file_name`` is the picture's path below the deepest folder that holds all of the run's pictures, with forward slashes:
hand that folder to the labelling tool. Pictures that could not be read are left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ...core.files import replacing, write_whole
from ...weights.manifest import Attribute
from ..results import Result
from .coco_entries import coco_annotation, coco_head, coco_image, cvat_labels, plain_values


def labels_path(path: Path) -> Path:
    """Where the labels for CVAT go: ``faces.json`` has ``faces.cvat-labels.json``."""
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
        path: it is there whole or as it was before.
        classes: the detector's, in order.
        attributes: those of the classifiers.
        note: says what made the boxes.
        results: gives them anew each time.

    Raises:
        OSError: it cannot be written.
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
    """The deepest folder that holds all of these files; None where there is none, as of URLs or several drives."""
    folder: str | None = None
    for source in sources:
        if _is_url(source):
            continue
        own = os.path.dirname(os.path.abspath(source))
        try:
            folder = own if folder is None else os.path.commonpath((folder, own))
        except ValueError:  # two drives
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
