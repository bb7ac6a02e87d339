"""``facepipe data export``: results as files of labelling tools, to be looked at and corrected there."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ...core.errors import DataError, FacepipeError, os_errors_as
from ...weights.manifest import Attribute
from ...weights.store import find
from ..results import Models, Result


class Tool(StrEnum):
    label_studio = "label-studio"
    fiftyone = "fiftyone"
    coco = "coco"


def export(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS.jsonl", help="Output of detect --json FILE.", show_default=False)
    ],
    tool: Annotated[Tool, typer.Option("--as", help="Tool that will read the file.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="File to write.", show_default=False)],
) -> None:
    """Export results as tasks for Label Studio, labels for FiftyOne, or COCO with labels for CVAT.

    The releases that made the results must be installed: their manifests describe the attributes.
    """
    from ..outputs.coco import labels_path, write_coco
    from ..outputs.labelling import interface_path, write_fiftyone, write_label_studio

    models, pictures, boxes = _survey(results)
    detector = find("detector", models.detector.version)
    attributes: list[Attribute] = []
    for name, used in models.classifiers.items():
        release = find("classifier", used.version if name == "face" else f"{name}@{used.version}")
        attributes += release.manifest.reported
    classes = detector.manifest.classes or ("face", "head")
    readers = [f"{name} {each.version}" for name, each in models.classifiers.items()]
    version = ", ".join([f"detector {models.detector.version}", *readers])
    written = [out]
    with os_errors_as(FacepipeError, f"{out}: cannot be written"):
        match tool:
            case Tool.label_studio:
                write_label_studio(out, classes, attributes, version, lambda: read_results(results))
                written.append(interface_path(out))
            case Tool.fiftyone:
                write_fiftyone(out, attributes, lambda: read_results(results))
            case Tool.coco:
                note = f"facepipe {models.facepipe}, {version}; not corrected"
                write_coco(out, classes, attributes, note, lambda: read_results(results))
                written.append(labels_path(out))
    print(f"{' and '.join(map(str, written))}: {boxes:,} boxes in {pictures:,} pictures")


def read_results(path: Path) -> Iterator[Result]:
    """The results of a file of JSON lines, one at a time.

    Raises:
        DataError: the file cannot be read, or a line is no result; the message names it.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield Result.model_validate_json(line)
                    except ValidationError as error:
                        raise DataError(
                            f"{path}, line {number}: is not a result of facepipe detect --json "
                            f"({error.errors()[0]['msg']})"
                        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _survey(path: Path) -> tuple[Models, int, int]:
    """The models that all results name, how many pictures could be read, and the boxes in them.

    Raises:
        DataError: no results, results of several models, or of videos.
    """
    models: Models | None = None
    pictures = boxes = 0
    for number, result in enumerate(read_results(path), 1):
        if result.frame is not None:
            raise DataError(f"{path}, result {number}: is a frame of a video; only pictures can be exported")
        if models is not None and _versions(models) != _versions(result.models):
            raise DataError(f"{path}, result {number}: was made by different models than the first")
        models = models or result.models
        pictures += result.error is None
        boxes += len(result.faces) + len(result.heads)
    if models is None:
        raise DataError(f"{path}: holds no results")
    return models, pictures, boxes


def _versions(models: Models) -> dict[str, str]:
    return {"detector": models.detector.version, **{name: each.version for name, each in models.classifiers.items()}}
