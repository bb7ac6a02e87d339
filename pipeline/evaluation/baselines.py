"""The version in use, and the released one that a run started from, measured on the run's own validation rows.

The reports lie beside those of the run's files (``RUN/evaluation/<version>``), where publishing reads them. A training
that publishes does the same at its end (``weights.rivals``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...weights.publish import exported_release
from ...weights.release import Release
from ...weights.rivals import measure_rivals


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
    measure = _measure_detector if exported.stage == "detector" else _measure_classifier
    return measure_rivals(run, exported, partial(measure, run), name)


def _measure_detector(run: Path, release: Release, folder: Path) -> None:
    from ...detector.data.dataset import read_description
    from ...detector.export.release import measure_rival
    from ...detector.training.run_folder import read_settings

    measure_rival(read_description(Path(read_settings(run).data)), release, folder)


def _measure_classifier(run: Path, release: Release, folder: Path) -> None:
    from ...classifier.training.keras_backend import import_keras

    import_keras()  # the modules below do, with all that its backend says
    from ...classifier.export.release import measure_rival
    from ...classifier.training.run_folder import read_settings

    measure_rival(read_settings(run), release, folder)
