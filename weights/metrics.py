"""Figures, in manifests and in a run's folder: which file they are of, and what a smaller file loses.

``evaluation/<precision>/evaluation.json`` is of the export's file in that precision: under ``metrics`` a record, or
a list of records, as manifests hold them. Further folders may hold further measurements: of one of these files (on
other data, at another size), or of other models, whose figures the card shows beside.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..core.errors import WeightsError
from .manifest import Beside, FileEntry, Manifest, Metric, Metrics, NumericAttribute, Stage

BY_SIZE = "by size of the face:"
"""How the protocol of figures by the size of the face begins; they are a card's first table."""
EVERYTHING = "all"
"""Subject of a figure whose name has none."""
FEW = 100
"""A figure of fewer boxes, pictures or rows is rough, and no loss is judged by it."""
LOWER_IS_BETTER = ("alarm", "error", "mae", "loss", "false", "gap", "ece", "width")
"""Measures whose names hold one of these words are the better the lower they are."""
EXACT = ("float32", "float16", "int8")
"""Precisions, the most exact first."""


@dataclass(frozen=True)
class Rule:
    """How much worse the smaller file of a release may be in the figures whose names fit."""

    names: re.Pattern[str]
    what: str
    higher_is_better: bool
    most: float
    of_range: bool = False
    """``most`` is a share of the range of the attribute that the figure's name begins with."""


RULES: dict[Stage, tuple[Rule, ...]] = {
    "detector": (Rule(re.compile(r"AP50, .*>= 16 px"), "AP50 of boxes of at least 16 px", True, 0.01),),
    "classifier": (
        Rule(re.compile(r"\w+\.accuracy$"), "accuracy", True, 0.003),
        Rule(re.compile(r"\w+\.mae$"), "mean absolute error", False, 0.001, of_range=True),
    ),
}
"""The project's limits on the loss by int8: 0.3 points of accuracy, and 0.1 years for an age of 0 to 100. ``most`` of a
stage's first rule can be set when a run is published."""


@dataclass(frozen=True)
class Loss:
    """One figure in two files of a release."""

    name: str
    exact: FileEntry
    small: FileEntry
    exact_value: float
    small_value: float
    loss: float
    """By how much the smaller file is worse; negative where it is better."""
    most: float
    count: int
    """Boxes or rows measured."""
    share: bool = True
    """The figure is a share of them, so that each can change it by 1 / ``count``."""

    @property
    def judged(self) -> bool:
        """Whether the limit holds: one box or row alone must not be able to break it."""
        return self.count >= max(FEW, 1 / self.most if self.most and self.share else 0)

    @property
    def too_great(self) -> bool:
        """Whether it is judged, and above the limit."""
        return self.judged and round(self.loss, 6) > self.most

    @property
    def limit(self) -> str:
        """The limit in words."""
        return f"at most {self.most:g}" if self.judged else f"not judged: only {self.count}"

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.exact.precision} {self.exact_value:.4f}, {self.small.precision} "
            f"{self.small_value:.4f}, loss {self.loss:.4f} ({self.limit})"
        )


def measure_and_subject(name: str) -> tuple[str, str]:
    """Split a figure's name into what was measured and on what.

    >>> measure_and_subject("AP50, face boxes of every size")
    ('AP50', 'face boxes of every size')
    >>> measure_and_subject("gender.accuracy/UTKFace")
    ('gender.accuracy', 'UTKFace')
    """
    measure, _, subject = name.partition("/" if "/" in name and ", " not in name.partition("/")[0] else ", ")
    return measure, subject or EVERYTHING


def comparable(name: str) -> str:
    """A figure's name without the value of the threshold, since each model is measured at its own.

    >>> comparable("recall at 0.25, face boxes >= 32 px")
    'recall at its own threshold, face boxes >= 32 px'
    """
    return re.sub(r" at (0(\.\d+)?|1)(?=,)", " at its own threshold", name)


def metrics_of(manifest: Manifest, entry: FileEntry) -> list[Metrics]:
    """The measurements of one file. Older manifests do not name it; theirs are of the only file there is."""
    alone = len(manifest.files) == 1
    return [
        metrics
        for metrics in manifest.metrics
        if metrics.file_sha256 == entry.sha256 or (metrics.file_sha256 is None and alone)
    ]


def values_of(manifest: Manifest, entry: FileEntry) -> dict[str, Metric]:
    """All figures of one file by name; where several measurements have one, the first one's."""
    found: dict[str, Metric] = {}
    for metrics in metrics_of(manifest, entry):
        found = {metric.name: metric for metric in metrics.values} | found
    return found


def losses(manifest: Manifest, most: float | None = None) -> list[Loss]:
    """What each smaller file of a release loses against its most exact one, in the figures that the rules are about.

    Args:
        manifest: of a release whose files are all measured.
        most: takes the place of the first rule's limit.

    Raises:
        WeightsError: the files were measured on different rows, or no rule fits any figure of theirs.
    """
    files = sorted(manifest.files, key=lambda entry: EXACT.index(entry.precision))
    exact = files[0]
    found: list[Loss] = []
    reference = values_of(manifest, exact)
    rules = RULES[manifest.stage]
    for small in files[1:]:
        mine = values_of(manifest, small)
        known = len(found)
        for number, rule in enumerate(rules):
            names = [name for name in reference if rule.names.match(name) and reference[name].value is not None]
            for name in names:
                allowed = most if most is not None and number == 0 else limit(manifest, name, rule)
                if name not in mine or mine[name].value is None or mine[name].count != reference[name].count:
                    raise WeightsError(
                        f"{manifest.stage} {manifest.version}: {exact.name} and {small.name} were not measured on the "
                        f"same rows ({name}); measure both anew"
                    )
                values = float(reference[name].value or 0), float(mine[name].value or 0)
                worse = values[0] - values[1] if rule.higher_is_better else values[1] - values[0]
                count = reference[name].count or 0
                found.append(Loss(name, exact, small, *values, worse, allowed, count, not rule.of_range))
        if len(found) == known:
            raise WeightsError(
                f"{manifest.stage} {manifest.version}: no {' or '.join(rule.what for rule in rules)} was measured of "
                f"{exact.name}; what {small.name} loses is not known"
            )
    return found


def limit(manifest: Manifest, name: str, rule: Rule) -> float:
    """What a figure may lose by a rule.

    Args:
        manifest: of the release.
        name: of the figure.
        rule: one of the stage's ``RULES`` that the name fits.
        manifest: of the version that is compared.
        name: of the figure.
        rule: says how much is allowed.

    Returns:
        In the figure's own unit: of a number's error the rule's share of the number's range.
    """
    return rule.most * _range(manifest, name, rule)


def _range(manifest: Manifest, name: str, rule: Rule) -> float:
    """What ``Rule.most`` is multiplied by for a figure."""
    for attribute in manifest.attributes:
        if rule.of_range and isinstance(attribute, NumericAttribute) and name.startswith(f"{attribute.name}."):
            return attribute.high - attribute.low
    return 1.0


EVALUATION, EVALUATION_FILE = "evaluation", "evaluation.json"


@dataclass(frozen=True)
class Evaluations:
    """What a run's folder says of its files.

    Attributes:
        metrics: of the files of the export: first one evaluation of each file, in their order, then all further ones.
        beside: other models that were measured.
    """

    metrics: tuple[Metrics, ...]
    beside: tuple[Beside, ...]


def read_evaluations(run: Path, files: tuple[FileEntry, ...], how: str) -> Evaluations:
    """Read all evaluations of a run.

    Args:
        run: the run's folder.
        files: of its export; each needs an evaluation.
        how: what to do where one is missing, for the message.

    Raises:
        WeightsError: a file was not evaluated, or an evaluation is of another file or cannot be read.
    """
    folder = run / EVALUATION
    first = [folder / entry.precision / EVALUATION_FILE for entry in files]
    if not any(path.is_file() for path in first):
        raise WeightsError(f"{run}: this run was not evaluated; {how}")
    metrics: list[Metrics] = []
    for entry, path in zip(files, first, strict=True):
        if not path.is_file():
            raise WeightsError(f"{path}: not there, so {entry.name} was not evaluated; {how}")
        found = _read(path, how)[1]
        if any(each.file_sha256 != entry.sha256 for each in found):
            raise WeightsError(f"{path}: the figures of another file than {entry.name} (SHA-256 differs); {how}")
        metrics += found
    beside: list[Beside] = []
    own = {entry.sha256 for entry in files}
    for path in sorted(set(folder.rglob(EVALUATION_FILE)) - set(first)):
        name, found = _read(path, how)
        for each in found:
            if each.file_sha256 not in own:
                beside.append(Beside(name=name, metrics=each))
            elif (new := _news(each, metrics)) is not None:
                metrics.append(new)
    return Evaluations(tuple(metrics), tuple(beside))


def _news(further: Metrics, known: list[Metrics]) -> Metrics | None:
    """What a further measurement says beyond the known ones, if anything.

    A side-by-side evaluation measures the run's own file again, and one of more figures begins with the usual ones.
    """
    for other in known:
        again = (other.file_sha256, other.labels_sha256) == (further.file_sha256, further.labels_sha256)
        if again and further.protocol.startswith(other.protocol):
            values = tuple(metric for metric in further.values if metric not in other.values)
            protocol = further.protocol.removeprefix(other.protocol).lstrip(".; ") or further.protocol
            return further.model_copy(update={"values": values, "protocol": protocol}) if values else None
    return further


def _read(path: Path, how: str) -> tuple[str, list[Metrics]]:
    """Name of what was measured, and the figures."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        given = content["metrics"]
        records = given if isinstance(given, list) else [given]
        found = [Metrics.model_validate_json(json.dumps(record)) for record in records]
        name = str(content.get("detector") or content.get("classifier") or path.parent.name)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"{error.errors()[0]['msg']}" if isinstance(error, ValidationError) else f"{error!r}"
        raise WeightsError(f"{path}: not an evaluation ({why}); {how}") from error
    if not found or any(each.file_sha256 is None for each in found):
        raise WeightsError(f"{path}: does not say which file was measured; {how}")
    return name, found
