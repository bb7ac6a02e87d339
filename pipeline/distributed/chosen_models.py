"""The models of a run: chosen once where it is started, opened by every worker, and seen to be the same there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...classifier.inference.classifier import AttributeClassifier
from ...core.errors import WeightsError
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import Attribute
from ...weights.names import FACE
from ...weights.precision import choose_file
from ...weights.release import Release
from ...weights.store import find


@dataclass(frozen=True)
class ChosenModel:
    """One model.

    Attributes:
        version: what ``weights.store.find`` takes on any machine: a version, or a folder's full path.
        precision: of its file.
        sha256: of that file.
        crop_sha256: of a classifier's crop recipe.
    """

    stage: Literal["detector", "classifier"]
    name: str
    version: str
    precision: str
    sha256: str
    crop_sha256: str | None

    def check(self, sha256: str, crop_sha256: str | None) -> None:
        """See that what was opened is what was chosen.

        Raises:
            WeightsError: it is another file, or has another crop recipe.
        """
        if (sha256, crop_sha256) != (self.sha256, self.crop_sha256):
            raise WeightsError(
                f"{self.stage} {self.version}: is another model there (sha256 {sha256[:12]}, not {self.sha256[:12]}); "
                "install the same release on every machine: facepipe weights pull, or a folder that all of them see"
            )


@dataclass(frozen=True)
class ChosenModels:
    """The detector and the classifiers of a run; ``attributes`` are those of each classifier, by its name."""

    detector: ChosenModel
    classifiers: tuple[ChosenModel, ...]
    attributes: dict[str, tuple[Attribute, ...]]

    @property
    def settings(self) -> dict[str, str]:
        """What names them exactly."""
        named = {"detector": self.detector, **{f"classifier {each.name}": each for each in self.classifiers}}
        return {
            **{what: each.version for what, each in named.items()},
            **{f"{what}'s sha256": each.sha256 for what, each in named.items()},
            **{f"{what}'s crop": each.crop_sha256 for what, each in named.items() if each.crop_sha256 is not None},
        }

    def open(
        self, device: str, threads: int, confidence: float | None, imgsz: int | None, tiles: bool | int
    ) -> tuple[FaceDetector, list[AttributeClassifier]]:
        """Open them here.

        Raises:
            WeightsError: a release is not here, is damaged or is another one.
            DeviceError: the device is not there.
        """
        chosen = self.detector
        detector = FaceDetector(
            chosen.version, device, threads, confidence, precision=chosen.precision, imgsz=imgsz, tiles=tiles
        )
        chosen.check(detector.entry.sha256, None)
        classifiers = []
        for chosen in self.classifiers:
            opened = AttributeClassifier(chosen.version, device, threads, precision=chosen.precision)
            chosen.check(opened.entry.sha256, opened.crop.sha256)
            classifiers.append(opened)
        return detector, classifiers


def choose_models(detector: str | None, classifier: Sequence[str] | None, precision: str, device: str) -> ChosenModels:
    """The models that the options name, without opening them: this machine may not have the device.

    Raises:
        WeightsError: no such release, or no file in that precision.
    """
    first, _ = _choose("detector", detector, precision, device)
    classifiers, attributes = [], {}
    wanted: Sequence[str | None] = classifier or [None]
    for version in wanted:
        chosen, release = _choose("classifier", version, precision, device)
        classifiers.append(chosen)
        attributes[chosen.name] = release.manifest.attributes
    return ChosenModels(first, tuple(classifiers), attributes)


def _choose(
    stage: Literal["detector", "classifier"], version: str | None, precision: str, device: str
) -> tuple[ChosenModel, Release]:
    release = find(stage, version)
    entry: Any = choose_file(release, precision, device)
    by_folder = version is not None and os.sep in version
    crop = release.manifest.crop
    chosen = ChosenModel(
        stage,
        release.name or FACE,
        str(Path(version).absolute()) if by_folder and version is not None else release.label,
        entry.precision,
        entry.sha256,
        None if crop is None else crop.sha256,
    )
    return chosen, release
