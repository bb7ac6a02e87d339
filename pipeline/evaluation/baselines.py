"""The version in use, and the released one that a run started from, measured on the run's own validation rows.

The reports lie beside those of the run's files (``RUN/evaluation/<version>``), where publishing reads them.
"""

from __future__ import annotations

from pathlib import Path

from ...core.errors import FacepipeError
from ...weights.metrics import EVALUATION, EVALUATION_FILE
from ...weights.publish import exported_release, rivals
from ...weights.release import Release


def measure_baselines(run: Path, name: str | None = None) -> list[str]:
    """Measure what a run's model is to be compared with; what is there already is left as it is.

    Args:
        run: the folder of a run that was exported and measured.
        name: of the classifier that it becomes; None for the run's own.

    Returns:
        A sentence for each version that could not be measured: its data is not there any more, say, or was cut by
        another recipe.

    Raises:
        WeightsError: the folder is no run, or was not exported.
    """
    exported = exported_release(run)
    remarks = []
    for role, release in rivals(exported, exported.name if name is None else name):
        folder = run / EVALUATION / release.label
        if (folder / EVALUATION_FILE).is_file() or release.entry().sha256 == exported.entry().sha256:
            continue
        try:
            (_measure_detector if exported.stage == "detector" else _measure_classifier)(run, release, folder)
        except (FacepipeError, OSError) as error:
            remarks.append(f"{release.stage} {release.label} ({role}) was not measured on the run's rows: {error}")
    return remarks


def _measure_detector(run: Path, release: Release, folder: Path) -> None:
    from ...detector.data.dataset import read_description
    from ...detector.export.release import measure
    from ...detector.training.run_folder import read_settings

    measure(release, None, read_description(Path(read_settings(run).data)), "val", folder)


def _measure_classifier(run: Path, release: Release, folder: Path) -> None:
    from ...classifier.data.readers import read_data
    from ...classifier.evaluation.evaluate import Rows, evaluate
    from ...classifier.evaluation.report import write_report
    from ...classifier.inference.classifier import AttributeClassifier
    from ...classifier.training.run_folder import read_settings

    settings = read_settings(run)
    model = AttributeClassifier(release=release, precision=release.entry().precision)
    table = read_data(settings.data, model.attributes, settings.recipe.split, settings.seed)
    evaluation = evaluate(model, table, "val", settings.workers, settings.data, Rows(0, 0))
    write_report(evaluation, folder)
