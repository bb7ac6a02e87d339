"""The classifier as it serves: crops in, typed attribute values out. numpy and ONNX Runtime only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..weights.errors import FrameError, WeightsError
from ..weights.manifest import Attribute, CropRecipe, InputSpec
from ..weights.session import open_session
from ..weights.store import Release, find
from .values import AttributeValue, decode, output_width

BATCH = 32
"""Most crops in one call of the session."""


def prepare(crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Turn BGR uint8 crops, (n, S, S, 3), into the float32 batch that the model takes."""
    batch = crops[..., ::-1] if spec.colour == "RGB" else crops
    batch = batch.astype(np.float32)
    if spec.scale != 1 or any(spec.mean) or set(spec.std) != {1.0}:
        batch = (batch * np.float32(spec.scale) - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else batch)


class AttributeClassifier:
    """Reads the attributes of faces with a released classifier.

    Args:
        version: a version, a release's folder, or None for the newest.
        device: see :func:`facepipe.weights.session.open_session`.
        threads: threads within one operator; None leaves it to ONNX Runtime.
        release: a release at hand, in place of ``version``.
        precision: the release's file in that precision; None takes its default file.

    Raises:
        WeightsError: no such release, or a damaged one.
        DeviceError: the device is not there.
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
        self.attributes: tuple[Attribute, ...] = manifest.attributes
        self.input = manifest.input
        if self.crop.size != self.input.size:
            raise WeightsError(
                f"{self.release.folder}: crops are {self.crop.size} px, the input takes {self.input.size} px"
            )
        self._session = open_session(self.release.read(precision), device, threads)
        widths = {output.name: output.shape[-1] for output in self._session.get_outputs()}
        for attribute in self.attributes:
            if widths.get(attribute.name) != output_width(attribute):
                raise WeightsError(
                    f"{self.release.folder}: the model's output {attribute.name!r} should have "
                    f"{output_width(attribute)} numbers a face, it has {widths.get(attribute.name, 'no such output')}"
                )

    def outputs(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """The raw outputs, one (n, width) float32 array for each attribute.

        Args:
            crops: BGR, uint8, (n, size, size, 3) as the crop recipe makes them.

        Raises:
            FrameError: the array is not such a batch.
        """
        size = self.input.size
        if not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3):
            got = f"{crops.dtype} {crops.shape}" if isinstance(crops, np.ndarray) else type(crops).__name__
            raise FrameError(f"crops must be a uint8 array (n, {size}, {size}, 3) in BGR, got {got}")
        names = [attribute.name for attribute in self.attributes]
        rows = [
            self._session.run(names, {self.input.name: prepare(crops[start : start + BATCH], self.input)})
            for start in range(0, len(crops), BATCH)
        ]
        if not rows:
            return {attribute.name: np.zeros((0, output_width(attribute)), np.float32) for attribute in self.attributes}
        return {name: np.concatenate(parts) for name, parts in zip(names, zip(*rows, strict=True), strict=True)}

    def classify(self, crops: np.ndarray) -> list[dict[str, AttributeValue]]:
        """Read every attribute of each crop.

        Args:
            crops: BGR, uint8, (n, size, size, 3) as the crop recipe makes them; n may be 0.

        Returns:
            One dict for each crop, in order: attribute name to value. Points are in pixels of the crop.

        Raises:
            FrameError: the array is not such a batch.
        """
        outputs = self.outputs(crops)
        columns = [decode(attribute, outputs[attribute.name], self.input.size) for attribute in self.attributes]
        names = [attribute.name for attribute in self.attributes]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
