"""Measurement of a released classifier on labelled crops, through the ONNX file that serves."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ...weights.manifest import ClassesBase, Metric, Metrics
from ..config.recipe import Split
from ..data.readers import parse_source, read_data
from ..data.table import FaceTable
from ..inference.classifier import AttributeClassifier
from .generalisation import ROWS, Fit, compare, measure_of, training_sample
from .metrics import row_errors, scores
from .predictions import Predictions, predict
from .reliability import answers, reliability
from .subgroups import SMALLEST, Gap, GroupFigure, features, group_figures, largest_gaps


@dataclass(frozen=True)
class Evaluation:
    """One classifier on one split.

    Attributes:
        name: of the classifier, with the file's precision: ``1.0.0 (int8)``.
        classifier: what ``--classifier`` was.
        precision: of the file that ran.
        file_sha256: of that file.
        seen: the rows with what the classifier said.
        split: train, val or test.
        figures: by group.
        fits: training rows against these, where they were measured.
        size: side of the crops.
        data: the ``--data`` texts, without folders of this machine.
        command: the command that measures it again.
    """

    name: str
    classifier: str
    precision: str
    file_sha256: str
    seen: Predictions
    split: str
    figures: tuple[GroupFigure, ...]
    fits: tuple[Fit, ...]
    size: int
    data: tuple[str, ...]
    command: str

    @property
    def title(self) -> str:
        return f"classifier {self.name}"

    @property
    def protocol(self) -> str:
        """What was measured, in words."""
        table = self.seen.table
        return (
            f"{' and '.join(self.data)} (sha256 {table.sha256[:12]}), split {self.split}, {len(table)} crops of "
            f"{self.size} px through the released ONNX file; unlabelled cells left out"
        )

    @cached_property
    def overall(self) -> tuple[Metric, ...]:
        """Of all rows."""
        seen, found = self.seen, []
        for attribute in seen.attributes:
            output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
            found += scores(attribute, output, target, detailed=True)
            if isinstance(attribute, ClassesBase) and len((given := answers(attribute, output, target)).right):
                name = f"{attribute.name}.ece"
                found.append(Metric(name=name, value=reliability(given).error, count=len(given.right)))
        return tuple(found)

    @cached_property
    def details(self) -> tuple[Metric, ...]:
        """By source (``<attribute>.<metric>/<source>``), by group (``.../race=...``), and the largest gaps."""
        seen, found = self.seen, []
        names = seen.table.columns["source"]
        for name in np.unique(names):
            if name and (names != name).any():
                part = seen.rows(names == name)
                for attribute in seen.attributes:
                    here = scores(attribute, part.outputs[attribute.name], part.targets[attribute.name])
                    found += [metric.model_copy(update={"name": f"{metric.name}/{name}"}) for metric in here]
        people = [figure for figure in self.figures if "source" not in figure.group and len(figure.group) <= 2]
        found += [figure.metric() for figure in people]
        found += [gap.metric() for gap in self.gaps]
        return tuple(found)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """The largest difference between groups of people of each kind."""
        figures = [figure for figure in self.figures if tuple(figure.group) != ("source",)]
        return tuple(largest_gaps(figures))

    def records(self) -> list[Metrics]:
        """The figures as manifests hold them: those of all rows, those by source and group, those of training rows."""
        known = {"command": self.command, "file_sha256": self.file_sha256, "labels_sha256": self.seen.table.sha256}
        found = [Metrics(protocol=self.protocol, values=self.overall, **known)]
        if self.details:
            protocol = (
                f"by source and group: {self.protocol}; groups of at least {SMALLEST} rows, 95 % confidence intervals "
                "in brackets (Wilson's for accuracies, bootstrap for errors)"
            )
            found.append(Metrics(protocol=protocol, values=self.details, **known))
        if self.fits:
            protocol = f"training rows, without augmentation, for comparison with: {self.protocol}"
            found.append(Metrics(protocol=protocol, values=tuple(fit.metric() for fit in self.fits), **known))
        return found

    def metrics(self) -> Metrics:
        """All figures of these rows in one record."""
        return self.records()[0].model_copy(update={"values": (*self.overall, *self.details)})


def evaluate(
    classifier: AttributeClassifier,
    table: FaceTable,
    split: str = "val",
    workers: int = 2,
    command: str = "",
    data: Sequence[str] = (),
    training_rows: int = ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure one split.

    Args:
        classifier: reads attributes of the same names and kinds as the table's.
        table: rows that are crops; they are cut by the classifier's recipe.
        command: the command that measures it again; "" for the plain one.
        data: the ``--data`` texts; none for the table's own path.
        training_rows: of the split ``train`` that are measured beside, for the gap; 0 for none.

    Raises:
        DataError: the rows are no crops, or were cut by another recipe; or the split has none.
        MissingExtraError: fairlearn is not installed.
    """
    rows = table.split(split)
    has_train = split != "train" and bool((table.columns["split"] == "train").any())
    sample = training_sample(table.split("train"), rows, training_rows) if has_train and training_rows else None
    total = len(rows) + (0 if sample is None else len(sample))
    seen = predict(classifier, rows, workers, None if progress is None else lambda done, _: progress(done, total))
    trained = None
    if sample is not None:
        told = None if progress is None else (lambda done, _: progress(len(rows) + done, total))
        trained = predict(classifier, sample, workers, told)
    return assemble(classifier, seen, split, trained, command, data)


def assemble(
    classifier: AttributeClassifier,
    seen: Predictions,
    split: str = "val",
    trained: Predictions | None = None,
    command: str = "",
    data: Sequence[str] = (),
) -> Evaluation:
    """The evaluation of rows that were observed already; arguments and errors as for :func:`evaluate`.

    Args:
        trained: observed training rows, for the gap.
    """
    entry = classifier.entry
    by = features(seen.table)
    figures: list[GroupFigure] = []
    for attribute in seen.attributes:
        errors = row_errors(attribute, seen.outputs[attribute.name], seen.targets[attribute.name])
        figures += group_figures(attribute, measure_of(attribute), errors, by)
    fits: list[Fit] = []
    if trained is not None:
        fits = compare(seen.attributes, (trained.outputs, trained.targets), (seen.outputs, seen.targets))
    names = portable(data or (str(seen.table.path),))
    label = classifier.release.label
    return Evaluation(
        name=f"{label} ({entry.precision})",
        classifier=label,
        precision=entry.precision,
        file_sha256=entry.sha256,
        seen=seen,
        split=split,
        figures=tuple(figures),
        fits=tuple(fits),
        size=classifier.crop.size,
        data=tuple(names),
        command=command or evaluation_command(names, label, entry.precision, split),
    )


def read_as_trained(classifier: AttributeClassifier, data: Sequence[str]) -> FaceTable:
    """Read data for a classifier. Where they say no split they are parted by its training's shares and seed, so that
    the rows of its training are kept apart from the others.

    Raises:
        DataError: as ``sources.read_data``.
    """
    training: Any = classifier.release.manifest.training
    recipe = training.get("recipe")
    shares = recipe.get("split") if isinstance(recipe, dict) else None
    seed = training.get("seed")
    try:
        split = Split.model_validate(shares or {})
    except ValidationError:
        split = Split()
    return read_data(data, classifier.attributes, split, seed if isinstance(seed, int) else 0)


def portable(data: Sequence[str]) -> list[str]:
    """``--data`` texts without the folders of this machine."""
    names = []
    for text in data:
        source = parse_source(text)
        before = "" if source.attribute is None else f"{source.attribute}:"
        names.append(before + (source.path.name or Path(source.path).resolve().name))
    return names


def evaluation_command(data: Sequence[str], classifier: str, precision: str, split: str) -> str:
    """The command that measures a file."""
    given = " ".join(f"--data {shlex.quote(name)}" for name in data)
    return f"facepipe evaluate-classifier {given} --classifier {classifier} --precision {precision} --split {split}"
