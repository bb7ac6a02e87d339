"""Measure the version in use, and the release that a run started from, on the run's own validation rows.

The reports are stored with those of the run's files (``RUN/evaluation/<version>``), where publishing reads them. A
training run that publishes does the same at its end (``weights.rivals``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...weights.publish import exported_release
from ...weights.release import Release
from ...weights.rivals import measure_rivals


def measure_baselines(run: Path, name: str | None = None) -> list[str]:
    """Measure the versions that a run's model is to be compared with. Existing reports are left as they are.

    Args:
        run: the folder of a run that was exported and measured.
        name: of the model that it becomes; None for the run's own.

    Returns:
        A sentence for each version that could not be measured, e.g. because its data is gone or was cut by another
        recipe.

    Raises:
        WeightsError: the folder is not a run, or was not exported.
    """
    exported = exported_release(run)
    measure = _measure_detector if exported.stage == "detector" else _measure_classifier
    return measure_rivals(run, exported, partial(measure, run), name)


def _measure_detector(run: Path, release: Release, folder: Path) -> None:
    from ...detector.data.dataset import read_description
    from ...detector.export.release import measure_rival
    from ...detector.training.run_folder import read_settings

    measure_rival(read_description(Path(read_settings(run).data)), release, folder)


def _measure_classifier(run: Path, release: Release, folder: Path) -> None:
    from ...classifier.training.keras_backend import import_keras

    import_keras()  # the modules below do, with all its backend's output
    from ...classifier.export.release import measure_rival
    from ...classifier.training.run_folder import read_settings

    measure_rival(read_settings(run), release, folder)
