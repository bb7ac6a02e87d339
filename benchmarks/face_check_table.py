"""What a classifier's face check gains and costs, by its threshold and the detector's confidence.

    python benchmarks/face_check_table.py --data DATA.yaml --classifier 1.2.0

Runs the detector once over the pictures, checks every face that it is at least a little sure of, and prints for each
pair of thresholds: recall of faces from 32 and from 16 px on (at 640), precision, average precision, false faces a
picture without a person. ``drop_below`` in a released manifest was chosen from this table: the highest that loses at
most ``LOSS`` of the recall at the detector's own confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facepipe import AttributeClassifier, FaceDetector
from facepipe.core.errors import FacepipeError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.evaluation.matching import BIG, CLEAR, Scored, Sizes
from facepipe.detector.evaluation.predictions import Prediction, predict, read_picture
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.face_check import CHECKED, face_probabilities
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

LOSS = 0.002
"""Share of the faces from 16 px on that the check may cost."""
DROPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
CONFIDENCES = (0.15, 0.2, 0.25, 0.3)


def checked(prediction: Prediction, sure: np.ndarray, drop: float) -> Prediction:
    """A picture with only those faces whose probability reaches ``drop``."""
    faces = prediction.found.of("face")
    keep = sure >= drop
    found = Detections(faces.boxes[keep], faces.confidence[keep], faces.labels[keep], faces.classes)
    return replace(prediction, found=found)


def scored(predictions: Sequence[Prediction], sizes: Sizes) -> Scored:
    """The faces of all pictures that are labelled for them."""
    return Scored.joined(each.match("face", sizes) for each in predictions if "face" in each.truth)


def main(
    data: Annotated[Path, typer.Option(help="DATA.yaml of the pictures.")],
    classifier: Annotated[str, typer.Option(metavar="VERSION", help="With a face check.")],
    detector: Annotated[str | None, typer.Option(metavar="VERSION", help="Default: the version in use.")] = None,
    split: Annotated[str, typer.Option()] = "val",
) -> None:
    """Print the table."""
    finder, reader = FaceDetector(detector), AttributeClassifier(classifier)
    if reader.face_check is None:
        raise FacepipeError(f"classifier {classifier} has no face check")
    predictions = predict([finder], read_description(data), split)[0][0]
    sure = []
    with Progress() as bar:
        for each in bar.track(predictions, description="faces"):
            faces = each.found.of("face")
            known = np.ones(len(faces))
            likely = np.flatnonzero(faces.confidence >= CHECKED)
            heads = each.found.of("head").boxes
            known[likely] = face_probabilities(reader, read_picture(each.picture.path), faces.boxes[likely], heads)
            sure.append(known)
    table = Table()
    for heading in ("drop below", "confidence", "recall >= 32 px", "recall >= 16", "precision >= 16", "AP50 >= 16"):
        table.add_column(heading, justify="right")
    empty = sum(each.empty for each in predictions)
    table.add_column(f"false faces a picture of nobody ({empty})", justify="right")
    for drop in DROPS:
        left = [checked(each, known, drop) for each, known in zip(predictions, sure, strict=True)]
        big, clear = scored(left, BIG), scored(left, CLEAR)
        for confidence in CONFIDENCES:
            alarms = sum(len(each.of("face", confidence)) for each in left if each.empty)
            (precision, recall), (_, large) = big.at(confidence), clear.at(confidence)
            cells = (large, recall, precision, big.average_precision(), alarms / max(empty, 1))
            table.add_row(f"{drop:g}", f"{confidence:g}", *(f"{cell or 0:.4f}" for cell in cells))
    Console(width=120).print(table)


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
