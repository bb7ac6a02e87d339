"""Figures in manifests and in a run's folder: how they are named, and which file they belong to.

``evaluation/<precision>/evaluation.json`` belongs to the exported file of that precision. Its key ``metrics`` holds one
record, or a list of records, as in manifests. Other folders may hold further measurements: of one of these files (on
other data, at another size), or of other models, whose figures the card shows for comparison.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..core.errors import WeightsError
from .manifest import Beside, FileEntry, Metrics

EVALUATION, EVALUATION_FILE = "evaluation", "evaluation.json"
DRAWS = TypeAdapter(dict[str, list[float | None]])
"""Type of the key ``resampled`` in that file."""
Measured = tuple[str | None, str | None]
"""SHA-256 of the measured file, and of the labels."""
BY_SIZE = "by size of the face:"
"""Prefix of the protocol of figures by face size; they are a card's first table."""
EVERYTHING = "all"
"""Subject of a figure whose name does not give one."""
LOWER_IS_BETTER = ("alarm", "error", "mae", "loss", "false", "gap", "ece", "width")
"""Lower is better for measures whose names contain one of these words."""


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
    """A figure's name without the threshold's value, since each model is measured at its own.

    >>> comparable("recall at 0.25, face boxes >= 32 px")
    'recall at its own threshold, face boxes >= 32 px'
    """
    return re.sub(r" at (0(\.\d+)?|1)(?=,)", " at its own threshold", name)


@dataclass(frozen=True)
class Evaluations:
    """The evaluations in a run's folder.

    Attributes:
        metrics: of the exported files: first one evaluation of each file, in file order, then all further ones.
        beside: other models that were measured.
        resampled: resampled figures by name, for each SHA-256 of a measured file and of its labels; two files on the
            same labels have the same rows in each draw.
    """

    metrics: tuple[Metrics, ...]
    beside: tuple[Beside, ...]
    resampled: dict[Measured, dict[str, list[float | None]]]


def read_evaluations(run: Path, files: tuple[FileEntry, ...], how: str) -> Evaluations:
    """Read all evaluations of a run.

    Args:
        run: the run's folder.
        files: the exported files; each needs an evaluation.
        how: what to do if one is missing, for the message.

    Raises:
        WeightsError: a file was not evaluated, or an evaluation is of another file or cannot be read.
    """
    folder = run / EVALUATION
    first = [folder / entry.precision / EVALUATION_FILE for entry in files]
    if not any(path.is_file() for path in first):
        raise WeightsError(f"{run}: this run was not evaluated; {how}")
    metrics: list[Metrics] = []
    resampled: dict[Measured, dict[str, list[float | None]]] = {}
    for entry, path in zip(files, first, strict=True):
        if not path.is_file():
            raise WeightsError(f"{path}: missing, so {entry.name} was not evaluated; {how}")
        _, found, draws = _read(path, how)
        resampled[found[0].file_sha256, found[0].labels_sha256] = draws
        if any(each.file_sha256 != entry.sha256 for each in found):
            raise WeightsError(f"{path}: measured on a file other than {entry.name} (SHA-256 differs); {how}")
        metrics += found
    beside: list[Beside] = []
    own = {entry.sha256 for entry in files}
    for path in sorted(set(folder.rglob(EVALUATION_FILE)) - set(first)):
        name, found, draws = _read(path, how)
        resampled.setdefault((found[0].file_sha256, found[0].labels_sha256), draws)
        for each in found:
            if each.file_sha256 not in own:
                beside.append(Beside(name=name, metrics=each))
            elif (new := _new_metrics(each, metrics)) is not None:
                metrics.append(new)
    return Evaluations(tuple(metrics), tuple(beside), resampled)


def _new_metrics(further: Metrics, known: list[Metrics]) -> Metrics | None:
    """What a further measurement adds to the known ones, if anything.

    A side-by-side evaluation measures the run's own file again, and a more detailed one begins with the usual figures.
    """
    for other in known:
        again = (other.file_sha256, other.labels_sha256) == (further.file_sha256, further.labels_sha256)
        if again and further.protocol.startswith(other.protocol):
            values = tuple(metric for metric in further.values if metric not in other.values)
            protocol = further.protocol.removeprefix(other.protocol).lstrip(".; ") or further.protocol
            return further.model_copy(update={"values": values, "protocol": protocol}) if values else None
    return further


def _read(path: Path, how: str) -> tuple[str, list[Metrics], dict[str, list[float | None]]]:
    """Name of what was measured, its figures, and their resampled values."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        given = content["metrics"]
        records = given if isinstance(given, list) else [given]
        found = [Metrics.model_validate_json(json.dumps(record)) for record in records]
        name = str(content.get("detector") or content.get("classifier") or path.parent.name)
        draws = DRAWS.validate_python(content.get("resampled", {}))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"{error.errors()[0]['msg']}" if isinstance(error, ValidationError) else f"{error!r}"
        raise WeightsError(f"{path}: not an evaluation ({why}); {how}") from error
    if not found or any(each.file_sha256 is None for each in found):
        raise WeightsError(f"{path}: does not say which file was measured; {how}")
    return name, found, draws
