"""Figures, in manifests and in a run's folder: how they are named, and which file they are of.

``evaluation/<precision>/evaluation.json`` is of the export's file in that precision: under ``metrics`` a record, or
a list of records, as manifests hold them. Further folders may hold further measurements: of one of these files (on
other data, at another size), or of other models, whose figures the card shows beside.
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
"""The key ``resampled`` of that file."""
Measured = tuple[str | None, str | None]
"""The SHA-256 of the file that was measured, and of the labels."""
BY_SIZE = "by size of the face:"
"""How the protocol of figures by the size of the face begins; they are a card's first table."""
EVERYTHING = "all"
"""Subject of a figure whose name has none."""
LOWER_IS_BETTER = ("alarm", "error", "mae", "loss", "false", "gap", "ece", "width")
"""Measures whose names hold one of these words are the better the lower they are."""


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


@dataclass(frozen=True)
class Evaluations:
    """What a run's folder says of its files.

    Attributes:
        metrics: of the files of the export: first one evaluation of each file, in their order, then all further ones.
        beside: other models that were measured.
        resampled: by the SHA-256 of the file that was measured and that of the labels, figures of resamplings by name;
            those of two files on the same labels have the same rows in each draw.
    """

    metrics: tuple[Metrics, ...]
    beside: tuple[Beside, ...]
    resampled: dict[Measured, dict[str, list[float | None]]]


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
    resampled: dict[Measured, dict[str, list[float | None]]] = {}
    for entry, path in zip(files, first, strict=True):
        if not path.is_file():
            raise WeightsError(f"{path}: not there, so {entry.name} was not evaluated; {how}")
        _, found, draws = _read(path, how)
        resampled[found[0].file_sha256, found[0].labels_sha256] = draws
        if any(each.file_sha256 != entry.sha256 for each in found):
            raise WeightsError(f"{path}: the figures of another file than {entry.name} (SHA-256 differs); {how}")
        metrics += found
    beside: list[Beside] = []
    own = {entry.sha256 for entry in files}
    for path in sorted(set(folder.rglob(EVALUATION_FILE)) - set(first)):
        name, found, draws = _read(path, how)
        resampled.setdefault((found[0].file_sha256, found[0].labels_sha256), draws)
        for each in found:
            if each.file_sha256 not in own:
                beside.append(Beside(name=name, metrics=each))
            elif (new := _news(each, metrics)) is not None:
                metrics.append(new)
    return Evaluations(tuple(metrics), tuple(beside), resampled)


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


def _read(path: Path, how: str) -> tuple[str, list[Metrics], dict[str, list[float | None]]]:
    """Name of what was measured, the figures, and what was resampled of them."""
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
