"""The classifiers of a pipeline: which ones are loaded, and what they read from the faces of some frames.

Each classifier cuts its own region of a face by its own recipe and gets the crops of all frames in one call. Results
are merged by attribute, so no two classifiers may read attributes of the same name.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from ..classifier.inference.attributes import AttributeValue, PointsValue
from ..classifier.inference.classifier import FEATURES, AttributeClassifier
from ..classifier.inference.crop import FaceCrop, cut_face, cut_region, refusal, refuse, region_box
from ..core.errors import WeightsError
from ..weights.manifest import CropRecipe
from ..weights.release import FACE
from .inputs.image_reader import Picture

Chosen = str | os.PathLike[str] | AttributeClassifier
"""One classifier: a version, the folder of a release, or a loaded one."""
NAME_THEM = "publish one of them under a name: facepipe weights publish RUN --version NAME@VERSION"


@dataclass(frozen=True)
class Placed:
    """The faces found in one picture.

    Attributes:
        picture: the picture that was read.
        faces: boxes, (n, 4), in pixels of the whole picture.
        heads: for each face the box of its head, or None.
    """

    picture: Picture
    faces: np.ndarray
    heads: Sequence[np.ndarray | None]


@dataclass
class Reading:
    """What was read from one face.

    Attributes:
        attributes: by name; points are in frame pixels.
        reasons: by classifier, why it read nothing; by attribute, why only that one is missing.
        features: by classifier, if they were requested.
        evidence: what the classifiers' face checks add to the log-odds of the box's confidence.
    """

    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    features: dict[str, tuple[float, ...]] = field(default_factory=dict)
    evidence: float = 0.0


@dataclass(frozen=True)
class Cut:
    """A crop, and the reading to fill with its results."""

    reading: Reading
    crop: FaceCrop


class Classifiers:
    """One or more classifiers that look at the same faces.

    Args:
        chosen: what ``Pipeline`` was given.
        device, threads, precision: for the classifiers that are loaded here.
        check_faces: False ignores their face checks.

    Attributes:
        by_name: the classifiers; the one without a name of its own is ``face``.
        steady: give a face the same numbers to the last digit whatever it is batched with. ONNX Runtime multiplies
            one-row matrices with other code than larger ones and sums in another order (differences of about 1e-6), so
            a crop that would be alone in its batch is classified together with a copy of itself. Off by default,
            because it costs a second crop.

    Raises:
        WeightsError: no such release, a damaged one, two with the same name, or two that read the same attribute.
        DeviceError: the device is not available.
    """

    def __init__(
        self,
        chosen: Chosen | Sequence[Chosen] | None,
        device: str = "cpu",
        threads: int | None = None,
        precision: str | None = None,
        check_faces: bool = True,
    ):
        several = isinstance(chosen, Sequence) and not isinstance(chosen, str)
        wanted: Sequence[Chosen | None] = chosen if several else [chosen]  # type: ignore[assignment, list-item]
        if not wanted:
            raise WeightsError("no classifier is named: leave classifier out for the one in use, or name one")
        self.steady = False
        self.check_faces = check_faces
        self.by_name: dict[str, AttributeClassifier] = {}
        readers: dict[str, str] = {}
        for each in wanted:
            loaded = each
            if not isinstance(loaded, AttributeClassifier):
                loaded = AttributeClassifier(_version(loaded), device, threads, precision=precision)
            name = loaded.release.name or FACE
            if name in self.by_name:
                raise WeightsError(
                    f"two classifiers are called {name!r}: {self.by_name[name].release.folder} and "
                    f"{loaded.release.folder}; switch one off, or {NAME_THEM}"
                )
            self.by_name[name] = loaded
            for attribute in loaded.attributes:
                if attribute.name in readers:
                    raise WeightsError(
                        f"the classifiers {readers[attribute.name]!r} and {name!r} both read an attribute called "
                        f"{attribute.name!r}; switch one of them off, or train one with another name in its schema"
                    )
                readers[attribute.name] = name

    @property
    def feature_widths(self) -> dict[str, int]:
        """Length of each classifier's vector in ``features``.

        Raises:
            WeightsError: a classifier has no features.
        """
        return {name: classifier.feature_width() for name, classifier in self.by_name.items()}

    @property
    def most_evidence(self) -> float:
        """The most that a reading's ``evidence`` can be; 0 without a face check."""
        return sum(each.most_evidence for each in self.by_name.values()) if self.check_faces else 0.0

    def with_threads(self, threads: int) -> Self:
        """The same classifiers, each with a session of its own; see ``AttributeClassifier.with_threads``."""
        other = copy.copy(self)
        other.by_name = {name: classifier.with_threads(threads) for name, classifier in self.by_name.items()}
        return other

    def read(self, placed: Sequence[Placed], features: bool = False) -> list[list[Reading]]:
        """Read every attribute of every face, with one call per classifier for the crops of all frames.

        Args:
            placed: the frames and their faces.
            features: also read the features.

        Returns:
            For each frame one reading per face, in order.

        Raises:
            WeightsError: features are requested and a classifier has none.
        """
        readings, cuts = self.cut(placed)
        for name, waiting in cuts.items():
            if waiting:
                self.fill(name, waiting, features)
        return readings

    def cut(self, placed: Sequence[Placed]) -> tuple[list[list[Reading]], dict[str, list[Cut]]]:
        """The first half of :meth:`read`: cut each classifier's region of every face.

        Returns:
            For each frame one reading per face, still empty except for the reasons why there is no crop; and by
            classifier the crops to classify, in order.
        """
        readings = [[Reading() for _ in each.faces] for each in placed]
        cuts: dict[str, list[Cut]] = {}
        for name, classifier in self.by_name.items():
            waiting = cuts[name] = []
            recipe = classifier.served_crop
            for each, row in zip(placed, readings, strict=True):
                for reading, face, head in zip(row, each.faces, each.heads, strict=True):
                    crop = _cut(each.picture, face, head, recipe)
                    if crop.reason is not None:
                        reading.reasons[name] = crop.reason
                    else:
                        waiting.append(Cut(reading, crop))
        return readings, cuts

    def fill(self, name: str, cuts: Sequence[Cut], features: bool = False, steady: bool = False) -> None:
        """The second half of :meth:`read`: classify crops of any frames and fill their readings.

        Args:
            name: of the classifier.
            cuts: the crops, at least one.
            features: also read the features.
            steady: the attribute ``steady``, for this call.

        Raises:
            WeightsError: features are requested and the classifier has none.
        """
        classifier = self.by_name[name]
        images = [cut.crop.image for cut in cuts if cut.crop.image is not None]
        if (steady or self.steady) and len(images) % classifier.batch == 1:
            images.append(images[-1])
        outputs = classifier.outputs(np.stack(images), features)
        outputs = {output: rows[: len(cuts)] for output, rows in outputs.items()}
        sides = [cut.crop.side for cut in cuts]
        evidence = classifier.face_evidence(outputs, sides) if self.check_faces else np.zeros(len(cuts))
        for number, (cut, values) in enumerate(zip(cuts, classifier.values(outputs, sides), strict=True)):
            cut.reading.evidence += float(evidence[number])
            cut.reading.attributes |= _in_frame(values, cut.crop)
            cut.reading.reasons |= classifier.unread(cut.crop.side)
            if features:
                cut.reading.features[name] = tuple(outputs[FEATURES][number].tolist())

    def tidy(self, reading: Reading) -> None:
        """Put the entries of several classifiers in the classifiers' order, whichever finished first."""
        if len(self.by_name) < 2:
            return
        names = [each.name for classifier in self.by_name.values() for each in classifier.attributes]
        reading.attributes = {name: reading.attributes[name] for name in names if name in reading.attributes}
        order = dict.fromkeys((*self.by_name, *names))
        reading.reasons = {name: reading.reasons[name] for name in order if name in reading.reasons}
        reading.features = {name: reading.features[name] for name in self.by_name if name in reading.features}


def _cut(picture: Picture, face: np.ndarray, head: np.ndarray | None, recipe: CropRecipe) -> FaceCrop:
    """Cut a region from the decoded view if it has enough pixels for the crop, otherwise from the whole picture.

    Raises:
        ImageError: the whole picture cannot be decoded.
    """
    times = picture.reduction
    box, reason = region_box(recipe.region, face, head, (picture.height, picture.width))
    if times == 1 or box is None:
        return cut_region(picture.view, face, head, recipe) if reason is None else refuse(reason)
    if (reason := refusal(box, picture.width, picture.height, recipe.min_side)) is not None:
        return refuse(reason)
    longer = float(max(box[2:] - box[:2])) / times
    if longer < recipe.min_side or longer * (1 + 2 * recipe.margin) < recipe.size:
        return cut_region(picture.frame, face, head, recipe)
    crop = cut_face(picture.view, box / times, recipe)
    return replace(crop, matrix=crop.matrix / [times, times, 1], side=crop.side * times)


def _in_frame(attributes: dict[str, AttributeValue], crop: FaceCrop) -> dict[str, AttributeValue]:
    """Move a face's points from crop pixels to frame pixels (two decimals)."""
    moved: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        if isinstance(value, PointsValue):
            places = crop.to_frame(np.array(list(value.points.values()))).round(2).tolist()
            value = PointsValue(points={point: (x, y) for point, (x, y) in zip(value.points, places, strict=True)})
        moved[name] = value
    return moved


def _version(chosen: str | os.PathLike[str] | None) -> str | Path | None:
    return Path(chosen) if isinstance(chosen, os.PathLike) else chosen
