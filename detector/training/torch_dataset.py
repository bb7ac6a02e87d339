"""The training data set: ultralytics' own, extended by labelled classes and ignore regions per picture.

Ignore regions pass through the augmentation as boxes of an extra class, and the loss and the validator remove them
(``split_ignored``). Pictures joined by mosaic, mixup or cutmix always come from the same group of labelled classes, so
that one mask applies to the whole result.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from PIL import Image
from ultralytics.data.augment import Albumentations, RandomPerspective
from ultralytics.data.dataset import YOLODataset

from ...core.errors import TrainingError
from ..data.dataset import DataDescription
from ..data.exif import ORIENTATION
from ..data.formats.labels import LabelReader
from .augmentation import Recipe
from .transforms import BoxRotation, ExposureStep, PlacedStep, RandomView, Reframe, blur, noise

SMALLEST = 10
"""Least pixels of the shorter side of a picture that ultralytics trains on."""


class PartlyLabelledDataset(YOLODataset):
    """A YOLO data set with labelled classes and ignore regions per picture.

    ``img_path`` is the list of picture files. In addition to ultralytics' own keys, ``data`` holds the ``description``
    and, for training pictures, the ``augmentation`` recipe, and samples have ``labelled``: bool tensor, shape
    (classes,).
    """

    def __init__(self, *args: Any, data: dict[str, Any], **kwargs: Any):
        self.description: DataDescription = data["description"]
        self.main = 0
        super().__init__(*args, data=data, **kwargs)
        known = {str(p.path): p.labelled for split in self.description.pictures.values() for p in split}
        self.labelled = [known[file] for file in self.im_files]
        self.groups: dict[tuple[bool, ...], list[int]] = {}
        for index, labelled in enumerate(self.labelled):
            self.groups.setdefault(labelled, []).append(index)

    def get_img_files(self, img_path: Any) -> list[str]:
        """The pictures of the description, sorted by path; only the first of them if a fraction is requested."""
        files = sorted(map(str, img_path))
        part = self.fraction
        return files[: part if isinstance(part, int) else max(1, round(len(files) * part))]

    def get_cache_hash(self) -> str:
        """Hash of the labels' content; ultralytics' own uses only names and sizes of files."""
        return f"facepipe {self.description.labels_sha256} {super().get_cache_hash()}"

    def verify_args(self) -> tuple[Any, Any]:
        """The function that reads one picture and its labels, and its arguments."""
        return _verify, zip(self.im_files, self.label_files, repeat(self.prefix), repeat(self.description.reader))

    def get_labels(self) -> list[dict[str, Any]]:
        """Ultralytics' labels, with the picture's ignore regions appended as boxes of class ``nc``.

        Raises:
            TrainingError: ultralytics finds no labels, or cannot read them.
        """
        try:
            labels = super().get_labels()
        except (RuntimeError, ValueError) as error:
            first = str(error).splitlines()[0].removeprefix(self.prefix)
            raise TrainingError(f"{self.description.yaml}: {first} (for details: facepipe data check)") from error
        pictures = {str(p.path): p for split in self.description.pictures.values() for p in split}
        classes = len(self.description.classes)
        for label in labels:
            ignored = self.description.ignored(pictures[label["im_file"]])
            if len(ignored):
                label["cls"] = np.concatenate([label["cls"], np.full((len(ignored), 1), classes, np.float32)])
                label["bboxes"] = np.concatenate([label["bboxes"], ignored[:, 1:]])
        return labels

    def build_transforms(self, hyp: Any = None) -> Any:
        """Ultralytics' transforms with the steps of the recipe inserted; ``augmentation`` documents the order."""
        transforms = super().build_transforms(hyp)
        if not self.augment:
            return transforms
        recipe: Recipe = self.data["augmentation"]
        classes = len(self.description.classes)
        steps = transforms.transforms
        if not getattr(hyp, "augmentations", None):  # else ultralytics adds four if albumentations is installed
            steps[:] = [step for step in steps if type(step) is not Albumentations]
        affine = steps[0].transforms
        place = next(number for number, step in enumerate(affine) if type(step) is RandomPerspective)
        if recipe.view is not None:
            affine[place] = RandomView(recipe.view, classes, self.imgsz)
        turn = next((step for step in recipe.rotation if step.where == "picture"), None)
        if turn is not None or recipe.zoom is not None:
            affine.insert(place + 1, Reframe(classes, turn, recipe.zoom))
        if recipe.exposure is not None:
            steps.insert(len(steps) - 3, ExposureStep(recipe.exposure))  # before the flips
        steps[-1:-1] = [
            *(BoxRotation(step, classes) for step in recipe.rotation if step.where == "boxes"),
            *(PlacedStep(step, blur(step), classes) for step in recipe.blur),
            *(PlacedStep(step, noise(step), classes) for step in recipe.noise),
        ]
        return transforms

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.main = index
        sample = super().__getitem__(index)
        sample["labelled"] = torch.tensor(self.labelled[index])
        return sample

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        """A picture and its boxes; one of another group than the main picture is replaced by one of the same group."""
        group = self.labelled[self.main]
        if self.labelled[index] != group:
            index = random.choice(self.groups[group])
        return super().get_image_and_label(index)


def _verify(given: tuple[str, str, str, LabelReader]) -> list[Any]:
    """Read a picture's size and its labels, in place of ultralytics' ``verify_image_label``.

    Ultralytics reads keypoints and polygons by other rules, and rewrites pictures that it considers damaged.

    Returns:
        The picture's file, its boxes of shape (n, 5), upright height and width, segments and keypoints (none), whether
        the label file is missing, present or empty, whether the picture cannot be read, and a message.
    """
    file, label, prefix, reader = given
    missing = not Path(label).is_file()
    try:
        with Image.open(file) as image:
            image.verify()
        with Image.open(file) as image:  # verify() leaves an image unusable
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) >= 5 and image.format != "TIFF"  # a TIFF's size is upright
        if min(width, height) < SMALLEST:
            raise ValueError(f"{width} x {height} pixels, under {SMALLEST}")
    except Exception as error:  # Pillow raises all kinds of errors for a damaged file
        nothing = [None, None, None, None, None]
        return [*nothing, int(missing), int(not missing), 0, 1, f"{prefix}{file}: skipped: {error}"]
    shape = (width, height) if turned else (height, width)
    boxes = reader.boxes(Path(label))
    distinct = np.unique(boxes, axis=0)
    boxes = distinct if len(distinct) < len(boxes) else boxes
    empty = not missing and not len(boxes)
    return [file, boxes, shape, [], None, int(missing), int(not missing), int(empty), 0, ""]


class ShuffledRectangles(torch.utils.data.Sampler[int]):
    """Shuffles a data set whose batches each have their own shape (``rect``), which ultralytics leaves in order.

    Pictures are exchanged between batches of the same shape, and the batches are shuffled. A short last batch stays
    last, so that every ``batch_size`` consecutive pictures form a batch with the shape assigned by the data set. The
    order depends on the seed and on ``epoch``, which increments itself; a resumed run sets it.
    """

    def __init__(self, dataset: PartlyLabelledDataset, seed: int):
        self.dataset, self.seed = dataset, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        size = self.dataset.batch_size
        whole = len(self.dataset) // size
        shapes = np.asarray(self.dataset.batch_shapes[:whole])
        batches: list[np.ndarray] = []
        for shape in np.unique(shapes, axis=0) if whole else ():
            numbers = np.flatnonzero((shapes == shape).all(axis=1))
            members = (numbers[:, None] * size + np.arange(size)).reshape(-1)
            batches.extend(generator.permutation(members).reshape(-1, size))
        for position in generator.permutation(len(batches)):
            yield from batches[position].tolist()
        yield from range(whole * size, len(self.dataset))


def split_ignored(batch: dict[str, Any], classes: int) -> dict[str, Any]:
    """Move the ignore regions out of a collated batch's boxes, in place.

    ``cls``, ``bboxes`` and ``batch_idx`` keep the objects. ``ignored`` becomes a float tensor, shape (n, 5): index of
    the picture in the batch, then the box (normalised cx, cy, w, h). A batch that is already split is left unchanged.
    """
    if "ignored" not in batch:
        ignored = batch["cls"].view(-1) >= classes
        batch["ignored"] = torch.cat([batch["batch_idx"].view(-1, 1), batch["bboxes"]], 1)[ignored]
        for key in ("cls", "bboxes", "batch_idx"):
            batch[key] = batch[key][~ignored]
    return batch
