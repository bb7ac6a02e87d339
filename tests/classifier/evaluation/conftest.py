"""An evaluation of a random classifier on drawn faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.evaluation import generalisation, plots, subgroups
from facepipe.classifier.evaluation.evaluate import Evaluation, evaluate
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.weights.release import Release


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Groups, and samples of training rows, of a few rows count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subgroups.group_figures, "__defaults__", (2, 50))
        patch.setattr(generalisation, "FEWEST", 3)
        patch.setattr(plots, "SMALLEST", 2)
        yield


@pytest.fixture(scope="module")
def evaluation(small: None, faces: Path, classifier_release: Release) -> Evaluation:
    """Of a random classifier on the val rows of ``faces``."""
    model = AttributeClassifier(release=classifier_release)
    return evaluate(model, read_faces(faces, model.attributes), data=[str(faces)])
