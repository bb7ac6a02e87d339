"""The worst mistakes of an evaluation: which crops, what was said, what was labelled; and a sheet that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.plotting import require_matplotlib
from ...weights.manifest import Attribute, ClassesBase, NumericAttribute, PointsAttribute
from ..data.loader import CropSource
from ..inference.attributes import numbers, softmax
from .evaluate import Evaluation
from .metrics import row_errors
from .predictions import Observation

MOST = 8
"""Crops shown for each attribute."""


@dataclass(frozen=True)
class Mistake:
    """One row that went wrong.

    Attributes:
        attribute: its name.
        row: index into the evaluation's rows.
        file: the picture's name.
        said, labelled: in words.
        size: how bad it is: the probability of the wrong class above that of the right one; the error.
    """

    attribute: str
    row: int
    file: str
    said: str
    labelled: str
    size: float


def worst_mistakes(seen: Observation, attribute: Attribute, most: int = MOST) -> list[Mistake]:
    """The worst rows of an attribute, the worst first; none that is right."""
    output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
    errors = row_errors(attribute, output, target)
    if isinstance(attribute, ClassesBase):
        probabilities = softmax(output, attribute.temperature)
        truth = np.where(np.isnan(target), 0, target).astype(int)
        surer = probabilities.max(axis=1) - probabilities[np.arange(len(truth)), truth]
        errors = np.where(errors > 0, surer, np.nan)
    order = [int(row) for row in np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")[:most]]
    found = []
    for row in order:
        if np.isnan(errors[row]) or errors[row] <= 0:
            continue
        said, labelled = _words(attribute, output[row], target[row], errors[row])
        name = str(seen.table.files[row].name)
        found.append(Mistake(attribute.name, row, name, said, labelled, float(errors[row])))
    return found


def plot_worst(evaluation: Evaluation, path: Path, most: int = MOST) -> bool:
    """A row of crops for each attribute, the worst mistakes first; points green as labelled, red as said."""
    seen = evaluation.seen
    rows = [found for attribute in seen.attributes if (found := worst_mistakes(seen, attribute, most))]
    if not rows:
        return False
    source = CropSource(seen.table, evaluation.size, (114, 114, 114))
    figure = require_matplotlib().Figure(figsize=(1.75 * most, 2.25 * len(rows) + 0.4), dpi=100, layout="constrained")
    panels = figure.subplots(len(rows), most, squeeze=False)
    by_name = {attribute.name: attribute for attribute in seen.attributes}
    for line, found in zip(panels, rows, strict=True):
        for axes in line[len(found) :]:
            axes.remove()
        for axes, mistake in zip(line, found, strict=False):
            crop, _, _ = source.crop(mistake.row, None, np.random.default_rng(0))
            axes.imshow(crop[..., ::-1])
            if isinstance(by_name[mistake.attribute], PointsAttribute):
                true = seen.targets[mistake.attribute][mistake.row] * evaluation.size
                said = seen.outputs[mistake.attribute][mistake.row].reshape(-1, 2) * evaluation.size
                axes.plot(*true.T, ".", color="#20c040", markersize=5)
                axes.plot(*said.T, ".", color="#f03030", markersize=5)
            axes.set_axis_off()
            axes.set_title(f"{mistake.attribute}: {mistake.said}\nlabelled {mistake.labelled}", fontsize=7)
    figure.suptitle(f"{evaluation.title}: the worst mistakes; what looks right may be labelled wrong", fontsize=10)
    figure.savefig(path, format="png", metadata={"Software": None})
    return True


def _words(attribute: Attribute, output: np.ndarray, target: np.ndarray, error: float) -> tuple[str, str]:
    if isinstance(attribute, NumericAttribute):
        value = float(numbers(attribute, output[None])[0][0])
        return f"{value:.0f} {attribute.unit}", f"{float(target[0]):g}"
    if isinstance(attribute, ClassesBase):
        row = softmax(output[None], attribute.temperature)[0]
        return f"{attribute.classes[int(row.argmax())]} {row.max():.2f}", attribute.classes[int(target)]
    of = "eye distance" if attribute.mirror else "side"
    return f"{error:.2f} of {of}", "green, said red"
