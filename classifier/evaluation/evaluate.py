"""Evaluation of a released classifier on labelled crops, through the served ONNX file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ...core.bootstrap import central, resampled_means
from ...weights.manifest import ClassesBase, CropRecipe, Metric, Metrics
from ...weights.metrics import BY_SIZE
from ..config.recipe import Split
from ..data.readers import parse_source, read_data
from ..data.table import FaceTable
from ..inference.classifier import AttributeClassifier
from .generalisation import ROWS, Fit, compare, measure_of, training_sample
from .metrics import row_errors, scores
from .predictions import Predictions, predict, predict_sizes
from .reliability import answers, reliability
from .sizes import ROWS as SIZE_ROWS
from .sizes import size_metrics, size_sample
from .subgroups import SMALLEST, Gap, GroupFigure, features, group_figures, largest_gaps


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one classifier on one split.

    Attributes:
        name: of the classifier, with the file's precision: ``1.0.0 (int8)``.
        classifier: its label, as ``--classifier`` takes it.
        precision: of the file that ran.
        file_sha256: of that file.
        seen: the rows with the classifier's outputs.
        split: train, val or test.
        figures: by group.
        fits: comparison with training rows, if they were measured.
        crop: the crop recipe.
        data: the ``--data`` values without local folders.
        command: the command that repeats the evaluation.
        sized: predictions on a sample of the rows by the face's longer side in pixels; empty if not measured.
    """

    name: str
    classifier: str
    precision: str
    file_sha256: str
    seen: Predictions
    split: str
    figures: tuple[GroupFigure, ...]
    fits: tuple[Fit, ...]
    crop: CropRecipe
    data: tuple[str, ...]
    command: str
    sized: Mapping[float, Predictions] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"classifier {self.name}"

    @property
    def protocol(self) -> str:
        """Description of what was measured."""
        table = self.seen.table
        return (
            f"{' and '.join(self.data)} (sha256 {table.sha256[:12]}), split {self.split}, {len(table)} crops of "
            f"{self.crop.size} px through the released ONNX file; unlabelled cells left out"
        )

    @cached_property
    def resampled(self) -> dict[str, np.ndarray]:
        """Bootstrap values of each attribute's main measure over its labelled rows, (boots,), by metric name."""
        seen, found = self.seen, {}
        for attribute in seen.attributes:
            errors = row_errors(attribute, seen.outputs[attribute.name], seen.targets[attribute.name])
            errors = errors[~np.isnan(errors)]
            if len(errors):
                means, measure = resampled_means(errors), measure_of(attribute)
                found[f"{attribute.name}.{measure}"] = 1 - means if measure == "accuracy" else means
        return found

    @cached_property
    def overall(self) -> tuple[Metric, ...]:
        """Metrics over all rows. Errors have a bootstrap interval; that of an accuracy follows from its row count."""
        seen, found = self.seen, []
        for attribute in seen.attributes:
            output, target = seen.outputs[attribute.name], seen.targets[attribute.name]
            found += scores(attribute, output, target, detailed=True)
            if isinstance(attribute, ClassesBase) and len((given := answers(attribute, output, target)).right):
                name = f"{attribute.name}.ece"
                found.append(Metric(name=name, value=reliability(given).error, count=len(given.right)))
        return tuple(map(self._with_interval, found))

    def _with_interval(self, metric: Metric) -> Metric:
        if metric.name.endswith(".accuracy") or metric.name not in self.resampled:
            return metric
        return metric.model_copy(update={"interval": central(self.resampled[metric.name])})

    @cached_property
    def sizes(self) -> tuple[Metric, ...]:
        """Metrics of the same rows at every face size: ``gender.accuracy/16 px``, ``gender.accuracy/whole``."""
        return tuple(size_metrics(self.sized, self.crop))

    @cached_property
    def details(self) -> tuple[Metric, ...]:
        """Metrics by source (``<attribute>.<metric>/<source>``) and group (``.../race=...``), and the largest gaps."""
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
        """The largest gap between groups of people of each kind."""
        figures = [figure for figure in self.figures if tuple(figure.group) != ("source",)]
        return tuple(largest_gaps(figures))

    def records(self) -> list[Metrics]:
        """Return the figures as manifest records: all rows, by source and group, training rows, and by face size."""
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
        if self.sizes:
            rows = len(next(iter(self.sized.values())).table)
            protocol = (
                f"{BY_SIZE} {rows} of the rows, each crop shrunk as if the longer side of the face's box had so many "
                f"pixels in the photo, and enlarged again as serving does: {self.protocol}"
            )
            found.append(Metrics(protocol=protocol, values=self.sizes, **known))
        return found

    def metrics(self) -> Metrics:
        """Return all figures of these rows in one record."""
        return self.records()[0].model_copy(update={"values": (*self.overall, *self.details, *self.sizes)})


@dataclass(frozen=True)
class Rows:
    """Numbers of rows to measure in addition to the split; 0 for none.

    Attributes:
        training: rows of the split ``train``, for the generalisation gap.
        sizes: rows of the split, at every face size.
    """

    training: int = ROWS
    sizes: int = SIZE_ROWS


def evaluate(
    classifier: AttributeClassifier,
    table: FaceTable,
    split: str = "val",
    workers: int = 2,
    data: Sequence[str] = (),
    rows: Rows = Rows(),
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure one split.

    Args:
        classifier: has attributes of the same names and kinds as the table.
        table: rows that are crops, cut with the classifier's recipe.
        split: train, val or test.
        workers: threads that read and cut the crops.
        data: the ``--data`` values; empty for the table's own path.
        rows: what to measure in addition.
        progress: called with the number of crops done and their total.

    Raises:
        DataError: the rows are not crops or were cut with another recipe, or the split is empty.
        MissingExtraError: fairlearn is not installed.
    """
    chosen = table.split(split)
    has_train = split != "train" and bool((table.columns["split"] == "train").any())
    sample = training_sample(table.split("train"), chosen, rows.training) if has_train and rows.training else None
    sizes = chosen.rows(size_sample(chosen, rows.sizes)) if rows.sizes else None
    parts = [each for each in (chosen, sample, sizes) if each is not None]
    total, before = sum(map(len, parts)), 0

    def count(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, total)

    seen, trained, sized = predict(classifier, chosen, workers, count), None, {}
    before = len(chosen)
    if sample is not None:
        trained = predict(classifier, sample, workers, count)
        before += len(sample)
    if sizes is not None:
        sized = predict_sizes(classifier, sizes, workers, count)
    return assemble(classifier, seen, split, trained, data, sized)


def assemble(
    classifier: AttributeClassifier,
    seen: Predictions,
    split: str = "val",
    trained: Predictions | None = None,
    data: Sequence[str] = (),
    sized: Mapping[float, Predictions] | None = None,
) -> Evaluation:
    """Build the evaluation from existing predictions.

    Args:
        classifier: the one that made them.
        seen: predictions on the split's rows.
        split: train, val or test.
        trained: predictions on training rows, for the generalisation gap.
        data: the ``--data`` values; empty for the table's own path.
        sized: predictions by face size, as returned by ``predict_sizes``.

    Raises:
        MissingExtraError: fairlearn is not installed.
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
        crop=classifier.crop,
        data=tuple(names),
        command=evaluation_command(names, label, entry.precision, split),
        sized=sized or {},
    )


def read_as_trained(classifier: AttributeClassifier, data: Sequence[str]) -> FaceTable:
    """Read data for a classifier.

    Data without splits are split with the shares and seed of the classifier's training, which keeps its training rows
    apart from the others.

    Raises:
        DataError: as ``readers.read_data``.
    """
    training: Any = classifier.release.manifest.training
    recipe = training.get("recipe")
    shares = recipe.get("split") if isinstance(recipe, dict) else None
    seed = training.get("seed")
    try:
        split = Split.model_validate(shares or {})
    except ValidationError:
        split = Split()
    return read_data(data, classifier.release.manifest.attributes, split, seed if isinstance(seed, int) else 0)


def portable(data: Sequence[str]) -> list[str]:
    """Return ``--data`` values without local folders."""
    names = []
    for text in data:
        source = parse_source(text)
        before = "" if source.attribute is None else f"{source.attribute}:"
        names.append(before + (source.path.name or Path(source.path).resolve().name))
    return names


def evaluation_command(data: Sequence[str], classifier: str, precision: str, split: str) -> str:
    """Build the command that evaluates a file.

    Args:
        data: ``--data`` values.
        classifier: its label.
        precision: of the file.
        split: the split to measure.
    """
    given = " ".join(f"--data {shlex.quote(name)}" for name in data)
    return f"facepipe evaluate-classifier {given} --classifier {classifier} --precision {precision} --split {split}"
