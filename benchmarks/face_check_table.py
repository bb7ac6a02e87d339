"""What a classifier's face check gains and costs, by its weight and its neutral log-odds.

    python benchmarks/face_check_table.py --data DATA.yaml --classifier 1.2.1

Runs the detector once over the pictures, and the check once over every face that it is at least a little sure of, and
prints for each pair of parameters, at the detector's own threshold: recall of faces from 32 and from 16 px on (at 640),
precision, average precision, false faces a picture without a person, and how many crops are looked at for each one that
is kept; last, what the check costs in time. The parameters in a released manifest were chosen from this table.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facepipe import AttributeClassifier, FaceDetector, Pipeline
from facepipe.classifier.inference.classifier import SURE
from facepipe.core.errors import FacepipeError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.evaluation.matching import BIG, CLEAR, Scored, Sizes
from facepipe.detector.evaluation.predictions import Prediction, predict, read_picture
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.classifiers import Classifiers
from facepipe.pipeline.face_check import face_evidence
from facepipe.pipeline.two_stage import CHECKED, joint_confidence, least_checked
from facepipe.weights.manifest import FaceCheck
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

TIMED = 12
"""One picture of so many is timed."""
WEIGHTS = (0.3, 0.5, 0.8, 1.2)
NEUTRALS = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0)


def joined(prediction: Prediction, odds: np.ndarray, check: FaceCheck) -> Prediction:
    """A picture whose faces have their joint confidence.

    Args:
        prediction: with faces of any confidence.
        odds: log-odds that each face is one, (n,); NaN where it was not checked.
        check: the parameters.
    """
    faces = prediction.found.of("face")
    evidence = np.where(np.isnan(odds), 0.0, np.minimum(check.weight * (odds - check.neutral), check.most))
    confidence = np.array(
        [joint_confidence(float(one), added) for one, added in zip(faces.confidence, evidence, strict=True)], np.float32
    )
    order = np.argsort(-confidence, kind="stable")
    found = Detections(faces.boxes[order], confidence[order], faces.labels[order], faces.classes)
    return replace(prediction, found=found)


def scored(predictions: Sequence[Prediction], sizes: Sizes) -> Scored:
    """The faces of all pictures that are labelled for them."""
    return Scored.joined(each.match("face", sizes) for each in predictions if "face" in each.truth)


def time_ratio(paths: Sequence[str], detector: str | None, classifier: str) -> float:
    """Time of the pipeline with the face check, as its manifest has it, over that without, in turn and twice."""
    spent = {True: 0.0, False: 0.0}
    pipelines = {check: Pipeline(detector, classifier, face_check=check) for check in spent}
    for path in [paths[0], *paths, *paths]:  # the first warms up
        for check, pipeline in pipelines.items():
            start = time.perf_counter()
            pipeline.run(path)
            spent[check] += time.perf_counter() - start
    return spent[True] / spent[False]


def _add(table: Table, start: tuple[str, str], predictions: Sequence[Prediction], least: float, crops: float) -> None:
    big, clear = scored(predictions, BIG), scored(predictions, CLEAR)
    empty = [each for each in predictions if each.empty]
    alarms = sum(len(each.of("face", least)) for each in empty) / max(len(empty), 1)
    (precision, recall), (_, large) = big.at(least), clear.at(least)
    figures = (large, recall, precision, big.average_precision(), alarms)
    kept = sum(len(each.of("face", least)) for each in predictions)
    table.add_row(*start, *(f"{figure or 0:.4f}" for figure in figures), f"{max(crops / max(kept, 1), 1):.2f}")


def main(
    data: Annotated[Path, typer.Option(help="DATA.yaml of the pictures.")],
    classifier: Annotated[str, typer.Option(metavar="VERSION", help="With a face check.")],
    detector: Annotated[str | None, typer.Option(metavar="VERSION", help="Default: the version in use.")] = None,
    split: Annotated[str, typer.Option()] = "val",
    most: Annotated[float, typer.Option(help="The most by which log-odds rise.")] = 0.6,
) -> None:
    """Print the table."""
    finder, reader = FaceDetector(detector), AttributeClassifier(classifier)
    if reader.face_check is None:
        raise FacepipeError(f"classifier {classifier} has no face check")
    odds_alone = FaceCheck(weight=1.0, neutral=0.0, most=10.0)
    reader.face_check = reader.face_check.model_copy(update={"face_check": odds_alone})
    least = finder.confidence
    predictions = predict([finder], read_description(data), split)[0][0]
    odds = []
    with Progress() as bar:
        for each in bar.track(predictions, description="faces"):
            faces = each.found.of("face")
            known = np.full(len(faces), np.nan)
            likely = np.flatnonzero(faces.confidence >= CHECKED)
            heads = each.found.of("head").boxes
            evidence = face_evidence(Classifiers([reader]), read_picture(each.picture.path), faces.boxes[likely], heads)
            known[likely] = np.where(evidence == 0, np.nan, evidence)
            odds.append(known)
    table = Table(title=f"at {least:g}; {sum(each.empty for each in predictions)} pictures of nobody")
    headings = (
        "weight",
        "neutral",
        "recall >= 32 px",
        "recall >= 16",
        "precision >= 16",
        "AP50 >= 16",
        "false",
        "crops",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    _add(table, ("none", ""), predictions, least, 0)
    for weight in WEIGHTS:
        for neutral in NEUTRALS:
            check = FaceCheck(weight=weight, neutral=neutral, most=most)
            left = [joined(each, known, check) for each, known in zip(predictions, odds, strict=True)]
            looked = least_checked(least, min(weight * (SURE - neutral), most))
            crops = sum(len(each.of("face", looked)) for each in predictions)
            _add(table, (f"{weight:g}", f"{neutral:g}"), left, least, crops)
    Console(width=120).print(table)
    paths = [str(each.picture.path) for each in predictions[::TIMED]]
    print(
        f"time with the check over that without: {time_ratio(paths, detector, classifier):.3f} ({len(paths)} pictures)"
    )


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
