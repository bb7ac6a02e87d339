"""The classifiers of a pipeline: which are switched on, and what all of them read of the faces in some frames.

Each cuts its own region of a face by its own recipe; the crops of all frames go into one call a classifier. What they
read is merged by attribute, so no two of them may read an attribute of the same name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..classifier.crop import FaceCrop
from ..classifier.region import cut_region
from ..classifier.runtime import FEATURES, AttributeClassifier
from ..classifier.values import AttributeValue, PointsValue
from ..weights.errors import WeightsError
from ..weights.names import FACE
from .reader import Frame

Chosen = str | os.PathLike[str] | AttributeClassifier
"""One classifier: a version, a release's folder, or one at hand."""
NAME_THEM = "publish one of them under a name: facepipe weights publish RUN --version NAME@VERSION"


@dataclass(frozen=True)
class Placed:
    """The faces that were found in one frame.

    Attributes:
        frame: BGR, uint8, (height, width, 3).
        faces: boxes, (n, 4), in frame pixels.
        heads: for each face the box of the head that it lies in, or None.
    """

    frame: Frame
    faces: np.ndarray
    heads: Sequence[np.ndarray | None]


@dataclass
class Reading:
    """What was read of one face.

    Attributes:
        attributes: by name; points are in frame pixels.
        reasons: by classifier, why it read nothing.
        features: by classifier, where they were asked for.
    """

    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    features: dict[str, tuple[float, ...]] = field(default_factory=dict)


class Classifiers:
    """One or several classifiers that look at the same faces.

    Args:
        chosen: what ``Pipeline`` was given.
        device, threads: of those that are loaded here.

    Attributes:
        by_name: the classifiers; ``face`` is the one without a name of its own.

    Raises:
        WeightsError: no such release, a damaged one, two of one name, or two that read the same attribute.
        DeviceError: the device is not there.
    """

    def __init__(self, chosen: Chosen | Sequence[Chosen] | None, device: str = "cpu", threads: int | None = None):
        several = isinstance(chosen, Sequence) and not isinstance(chosen, str)
        wanted: Sequence[Chosen | None] = chosen if several else [chosen]  # type: ignore[assignment, list-item]
        if not wanted:
            raise WeightsError("no classifier is named: leave classifier out for the one in use, or name one")
        self.by_name: dict[str, AttributeClassifier] = {}
        readers: dict[str, str] = {}
        for each in wanted:
            loaded = each
            if not isinstance(loaded, AttributeClassifier):
                loaded = AttributeClassifier(_version(loaded), device, threads)
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
        """Numbers a face in ``features``, by classifier.

        Raises:
            WeightsError: one of them gives none.
        """
        return {name: classifier.feature_width() for name, classifier in self.by_name.items()}

    def read(self, placed: Sequence[Placed], features: bool = False) -> list[list[Reading]]:
        """Read every attribute of every face, all frames' crops in one call for each classifier.

        Args:
            placed: the frames and their faces.
            features: read the features, too.

        Returns:
            For each frame one reading for each face, in order.

        Raises:
            WeightsError: features are asked for, and a classifier gives none.
        """
        readings = [[Reading() for _ in each.faces] for each in placed]
        flat = [reading for frame in readings for reading in frame]
        for name, classifier in self.by_name.items():
            crops = [
                cut_region(each.frame, face, head, classifier.crop)
                for each in placed
                for face, head in zip(each.faces, each.heads, strict=True)
            ]
            cut = [(reading, crop) for reading, crop in zip(flat, crops, strict=True) if crop.image is not None]
            for reading, crop in zip(flat, crops, strict=True):
                if crop.reason is not None:
                    reading.reasons[name] = crop.reason
            if not cut:
                continue
            outputs = classifier.outputs(np.stack([crop.image for _, crop in cut]), features)  # type: ignore[misc]
            for number, ((reading, crop), values) in enumerate(zip(cut, classifier.values(outputs), strict=True)):
                reading.attributes |= _in_frame(values, crop)
                if features:
                    reading.features[name] = tuple(outputs[FEATURES][number].tolist())
        return readings


def _in_frame(attributes: dict[str, AttributeValue], crop: FaceCrop) -> dict[str, AttributeValue]:
    """Take the points among a face's attributes from pixels of its crop to pixels of the frame (two decimals)."""
    moved: dict[str, AttributeValue] = {}
    for name, value in attributes.items():
        if isinstance(value, PointsValue):
            places = crop.to_frame(np.array(list(value.points.values()))).round(2).tolist()
            value = PointsValue(points={point: (x, y) for point, (x, y) in zip(value.points, places, strict=True)})
        moved[name] = value
    return moved


def _version(chosen: str | os.PathLike[str] | None) -> str | Path | None:
    return Path(chosen) if isinstance(chosen, os.PathLike) else chosen
