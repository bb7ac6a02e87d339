"""The work of ``facepipe train-detector`` apart from its options: train, export, measure and publish a run.

The release options are stored in ``release.json`` of the run's folder, so that an interrupted run that is resumed
without options still ends as originally requested.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..core.errors import TrainingError
from ..core.files import write_whole
from ..weights.publish import EXPORT, Published
from .export.release import ReleaseOptions, is_measured, release_run
from .training.settings import SETTINGS, DetectorSettings

RELEASE = "release.json"
DONE = "done"
"""Key of ``release.json``: whether the run has been completed as requested."""
Report = Callable[[str], None]


def train_detector(
    run: Path, settings: DetectorSettings, release: ReleaseOptions, report: Report = print
) -> Published | None:
    """Train a detector in a run folder, export and measure it there, and publish it if a version is given.

    Args:
        run: the run's own folder; a run that fails before its first checkpoint leaves nothing in it.
        settings: how to train.
        release: how to release the run.
        report: called with lines for the user.

    Returns:
        What was published; None if no version is given.

    Raises:
        TrainingError: the folder already holds a run, a setting cannot be met, or the training failed.
        DataError: the data set does not match its description.
        DeviceError: the device is not available.
        WeightsError: the version exists, has a bad name, or is worse than its start or than the one in use.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after writing a checkpoint and a line on how to resume.
    """
    from .training.train import train

    release.check()
    return _train_and_release(run, lambda: train(settings, run), release, report)


def resume_detector(
    run: Path, changes: Mapping[str, Any], release: Mapping[str, Any], report: Report = print
) -> Published | None:
    """Resume an interrupted run. A completed run is left unchanged.

    Args:
        run: the run's folder.
        changes: new values for settings (``settings.CHANGEABLE``).
        release: new values for fields of ``ReleaseOptions``.
        report: called with lines for the user.

    Returns:
        What was published; None if no version is given or nothing was left to do.

    Raises:
        As :func:`train_detector`; also TrainingError if there is no run.
    """
    from .training.train import is_over, train

    if not (run / SETTINGS).is_file():
        raise TrainingError(f"{run}: no run to resume; start one without --resume")
    options, done = _read(run)
    if done and is_over(run, changes):
        name = shlex.quote(str(run))
        report(
            f"{run}: is finished and was released as {EXPORT}; nothing was changed. To go on: "
            f"--minutes with more time; to release it again: facepipe export-detector {name} and facepipe weights "
            f"publish {name}"
        )
        return None
    options = replace(options, **release)
    options.check()
    return _train_and_release(run, lambda: train(DetectorSettings(data=""), run, True, changes), options, report, True)


def _train_and_release(
    run: Path, train: Callable[[], Path], options: ReleaseOptions, report: Report, resumed: bool = False
) -> Published | None:
    before = set(run.iterdir()) if run.exists() else None
    trained = False
    if resumed or not (run / SETTINGS).exists():
        _write(run, options, False)
    try:
        checkpoint = train()
        trained = True
        published = release_run(run, checkpoint, options)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            report(_resume_hint(run, trained))
        if not resumed and not (run / "weights" / "last.pt").is_file():
            _clear(run, before)
        raise
    _write(run, options, True)
    if published is None:
        publish = f"facepipe weights publish {shlex.quote(str(run))} --version VERSION"
        report(f"{run / EXPORT}: a working release; publish it with: {publish}")
    return published


def _clear(run: Path, before: set[Path] | None) -> None:
    """Remove what a run left behind that failed before its first checkpoint, so that its name is free again."""
    for path in set(run.iterdir()) - (before or set()):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if before is None:
        run.rmdir()


def _resume_hint(run: Path, trained: bool) -> str:
    if not (run / "weights" / "last.pt").is_file():
        return f"{run}: stopped before its first checkpoint; nothing was kept"
    at = "training is finished, its release is not" if trained else "the last checkpoint is written"
    return f"{run}: stopped; {at}; go on with: facepipe train-detector --resume --name {shlex.quote(run.name)}"


def _write(run: Path, options: ReleaseOptions, done: bool) -> None:
    write_whole(run / RELEASE, f"{json.dumps({**asdict(options), DONE: done}, indent=2)}\n".encode())


def _read(run: Path) -> tuple[ReleaseOptions, bool]:
    """Read a run's release options and whether it is done; without a record (older facepipe) the export decides."""
    path = run / RELEASE
    if not path.is_file():
        return ReleaseOptions(), is_measured(run)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        done = bool(content.pop(DONE))
        return ReleaseOptions(**{**content, "precisions": tuple(content["precisions"])}), done
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: not the release options of a run: {error}") from error
