"""The classifier for inference: crops in, typed attribute values out. Needs only NumPy and ONNX Runtime."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from ...core.errors import FrameError, WeightsError
from ...weights.manifest import Attribute, BinaryAttribute, CropRecipe, FileEntry, InputSpec
from ...weights.release import Release
from ...weights.session import choose_file, open_session
from ...weights.store import find
from .attributes import AttributeValue, decode, output_width, probabilities
from .crop import too_small

BATCH, CPU_BATCH = 32, 4
"""Maximum batch size of a session call, on an accelerator and on a CPU. On a CPU, 2 to 16 are equally fast, and each
crop takes about 9 MB."""
FEATURES = "features"
"""Name of the output with the pooled features before the heads."""


SURE = 6.0
"""Log-odds beyond which a face check's probability counts as this much; more is a network's overconfidence."""


def evidence_of(check: BinaryAttribute, output: np.ndarray, sides: np.ndarray | None = None) -> np.ndarray:
    """The evidence for a face, (n,), in log-odds, from a face check's output, (n, 2).

    Args:
        check: an attribute with ``face_check``.
        output: logits.
        sides: longer sides of the boxes in pixels, (n,); None treats every box as large.
    """
    assert check.face_check is not None
    sure = np.clip(probabilities(check, output, sides)[:, 1], 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(sure / (1 - sure)), -SURE, SURE)
    return np.asarray(np.minimum(check.face_check.weight * (odds - check.face_check.neutral), check.face_check.most))


def prepare(crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Turn BGR uint8 crops, (n, S, S, 3), into the model's float32 input batch."""
    if spec.layout == "NHWC" and spec.colour == "BGR" and spec.scale == 1 and set(spec.std) == {1.0}:
        rows = crops.reshape(*crops.shape[:2], crops.shape[2] * 3)  # nine times as fast on whole rows
        mean = np.tile(np.array(spec.mean, np.float32), crops.shape[2])
        return np.subtract(rows, mean, dtype=np.float32).reshape(crops.shape)
    batch = crops[..., ::-1] if spec.colour == "RGB" else crops
    batch = batch.astype(np.float32)
    if spec.scale != 1 or any(spec.mean) or set(spec.std) != {1.0}:
        batch = (batch * np.float32(spec.scale) - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else batch)


class AttributeClassifier:
    """Reads the attributes of faces with a released classifier.

    >>> crops = np.zeros((2, 224, 224, 3), np.uint8)
    >>> [sorted(values) for values in AttributeClassifier("1.0.0").classify(crops)][0]
    ['age', 'eyes', 'gender', 'glasses', 'mask', 'smile']

    Args:
        version: a version (``1.0.0``; for a named classifier ``shirt@0.1.0`` or ``shirt``), a release folder, or None
            for the version in use.
        device: see :func:`facepipe.weights.session.open_session`.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        release: an open release to use instead of ``version``.
        precision: which of the release's files to run, see ``weights.session.choose_file``; None uses the first.

    Attributes:
        attributes: those that are reported.
        face_check: the attribute that tells faces from the detector's false alarms, if there is one.
        crop: the crop recipe used in training.
        least_sides: by attribute, the minimum longer side of a box in pixels for the attribute to be read.

    A classifier may be called from several threads at once.

    Raises:
        WeightsError: the release does not exist or is damaged.
        DeviceError: the device is not available.
    """

    def __init__(
        self,
        version: str | Path | None = None,
        device: str = "cpu",
        threads: int | None = None,
        release: Release | None = None,
        precision: str | None = None,
    ):
        self.release = release or find("classifier", version)
        manifest = self.release.manifest
        if manifest.crop is None:
            raise WeightsError(f"{self.release.folder}: the manifest has no crop recipe, so it is not a classifier's")
        self.crop: CropRecipe = manifest.crop
        self.attributes: tuple[Attribute, ...] = manifest.reported
        self.face_check: BinaryAttribute | None = manifest.face_check
        self.input = manifest.input
        self.least_sides: dict[str, float] = {
            each.name: max(each.min_side or 0.0, self.crop.min_side) for each in self.attributes
        }
        if self.crop.size != self.input.size:
            raise WeightsError(
                f"{self.release.folder}: crops are {self.crop.size} px, the input takes {self.input.size} px"
            )
        self.features: int | None = manifest.features
        self.device = device
        self.batch = CPU_BATCH if device == "cpu" else BATCH
        self.entry: FileEntry = choose_file(self.release, precision, device)
        self._session = open_session(self.release.read(self.entry.precision), device, threads)
        widths = {output.name: output.shape[-1] for output in self._session.get_outputs()}
        for attribute in manifest.attributes:
            if widths.get(attribute.name) != output_width(attribute):
                raise WeightsError(
                    f"{self.release.folder}: the model's output {attribute.name!r} should have "
                    f"{output_width(attribute)} numbers a face, it has {widths.get(attribute.name, 'no such output')}"
                )
        if self.features is not None and widths.get(FEATURES) != self.features:
            raise WeightsError(
                f"{self.release.folder}: the model's output {FEATURES!r} should have {self.features} numbers a face, "
                f"it has {widths.get(FEATURES, 'no such output')}"
            )

    def with_threads(self, threads: int) -> Self:
        """Return a copy with its own session and this many threads within one operator, for concurrent callers.

        See ``FaceDetector.with_threads``.
        """
        other = copy.copy(self)
        other._session = open_session(self.release.read(self.entry.precision), self.device, threads)
        return other

    @property
    def served_crop(self) -> CropRecipe:
        """The crop recipe for serving: a box too small for every attribute gives no crop."""
        return self.crop.model_copy(update={"min_side": min(self.least_sides.values())})

    def unread(self, side: float) -> dict[str, str]:
        """Explain, by attribute, which attributes of a box are not read because it is too small.

        Args:
            side: the box's longer side in pixels.
        """
        return {name: too_small(side, least) for name, least in self.least_sides.items() if side < least}

    def feature_width(self) -> int:
        """Return the width of ``features``: values per face.

        Raises:
            WeightsError: this release has no features.
        """
        if self.features is None:
            raise WeightsError(
                f"classifier {self.release.label} gives no features: its model has no such output. Use a version whose "
                f"manifest says 'features' (facepipe weights list), or train and publish one with this facepipe"
            )
        return self.features

    def outputs(self, crops: np.ndarray, features: bool = False) -> dict[str, np.ndarray]:
        """Compute the raw outputs, one (n, width) float32 array per attribute and one for the face check.

        Args:
            crops: BGR, uint8, (n, size, size, 3), cut with the crop recipe; n may be 0.
            features: also return ``features``, (n, width): the pooled features before the heads, for your own models.
                They are **not an identity embedding**: the model was not trained to make pictures of one person similar
                or those of different people dissimilar, so they are unfit for recognising anyone.

        Raises:
            FrameError: the array is not such a batch.
            WeightsError: features are requested but this release has none.
        """
        size = self.input.size
        if not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3):
            got = f"{crops.dtype} {crops.shape}" if isinstance(crops, np.ndarray) else type(crops).__name__
            raise FrameError(f"crops must be a uint8 array (n, {size}, {size}, 3) in BGR, got {got}")
        widths = {attribute.name: output_width(attribute) for attribute in self.release.manifest.attributes}
        if features:
            widths[FEATURES] = self.feature_width()
        rows = [  # ONNX Runtime computes only what the named outputs need
            self._session.run([*widths], {self.input.name: prepare(crops[start : start + self.batch], self.input)})
            for start in range(0, len(crops), self.batch)
        ]
        if not rows:
            return {name: np.zeros((0, width), np.float32) for name, width in widths.items()}
        return {name: np.concatenate(parts) for name, parts in zip(widths, zip(*rows, strict=True), strict=True)}

    def values(
        self, outputs: dict[str, np.ndarray], sides: Sequence[float] | None = None
    ) -> list[dict[str, AttributeValue]]:
        """Decode the attributes of n crops from the result of :meth:`outputs`.

        Args:
            outputs: by attribute, (n, width).
            sides: longer sides of the n boxes in frame pixels; they determine the calibration and which attributes are
                read. None treats every face as large.

        Returns:
            One dict per crop, in order: attribute name to value, without the attributes that :meth:`unread` reports.
            Points are in pixels of the crop.
        """
        known = None if sides is None else np.asarray(sides, np.float64)
        columns = [decode(attribute, outputs[attribute.name], self.input.size, known) for attribute in self.attributes]
        names = [attribute.name for attribute in self.attributes]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        if sides is None:
            return rows
        return [
            {name: value for name, value in row.items() if side >= self.least_sides[name]}
            for row, side in zip(rows, sides, strict=True)
        ]

    def face_evidence(self, outputs: dict[str, np.ndarray], sides: Sequence[float]) -> np.ndarray:
        """What the face check adds to the log-odds of n boxes' confidence, float64 (n,); 0 without a check.

        Args:
            outputs: from :meth:`outputs`.
            sides: longer sides of the n boxes in frame pixels. Boxes smaller than the check's ``min_side`` get 0.
        """
        known = np.asarray(sides, np.float64)
        if self.face_check is None:
            return np.zeros(len(known))
        evidence = evidence_of(self.face_check, outputs[self.face_check.name], known)
        return np.where(known < (self.face_check.min_side or 0), 0.0, evidence)

    @property
    def most_evidence(self) -> float:
        """The most that :meth:`face_evidence` can give."""
        if self.face_check is None or (check := self.face_check.face_check) is None:
            return 0.0
        return min(check.weight * (SURE - check.neutral), check.most)

    def classify(self, crops: np.ndarray, sides: Sequence[float] | None = None) -> list[dict[str, AttributeValue]]:
        """Read every attribute of each crop.

        Args:
            crops: BGR, uint8, (n, size, size, 3), cut with the crop recipe; n may be 0.
            sides: as for :meth:`values`.

        Returns:
            As :meth:`values`.

        Raises:
            FrameError: the array is not such a batch.
        """
        return self.values(self.outputs(crops), sides)
