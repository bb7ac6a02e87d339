"""The training data set: ultralytics' own, told which classes a picture is labelled for and which regions to ignore.

Ignore regions travel through the augmentation as boxes of one class more than there are, and the loss and the validator
take them out again (``split_ignored``). Pictures that mosaic, mixup or cutmix join to another always come from the same
group of labelled classes, so that one mask holds for the whole of the result.
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
"""Pixels of the shorter side that ultralytics trains on."""


class PartlyLabelledDataset(YOLODataset):
    """A YOLO data set with labelled classes and ignore regions by picture.

    ``img_path`` is the list of picture files; ``data`` holds, beside ultralytics' own keys, the ``description`` and,
    for training pictures, the ``augmentation`` recipe. Samples have, beside ultralytics' own keys, ``labelled``: bool
    tensor, shape (classes,).
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
        """The pictures of the description in order of their names; the first of them where a fraction is asked for."""
        files = sorted(map(str, img_path))
        part = self.fraction
        return files[: part if isinstance(part, int) else max(1, round(len(files) * part))]

    def get_cache_hash(self) -> str:
        """Of the labels as facepipe has read them: ultralytics' own goes by names and sizes of files alone."""
        return f"facepipe {self.description.labels_sha256} {super().get_cache_hash()}"

    def verify_args(self) -> tuple[Any, Any]:
        """What reads one picture and its labels, and its arguments."""
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
            raise TrainingError(f"{self.description.yaml}: {first} (facepipe data check tells more)") from error
        pictures = {str(p.path): p for split in self.description.pictures.values() for p in split}
        classes = len(self.description.classes)
        for label in labels:
            ignored = self.description.ignored(pictures[label["im_file"]])
            if len(ignored):
                label["cls"] = np.concatenate([label["cls"], np.full((len(ignored), 1), classes, np.float32)])
                label["bboxes"] = np.concatenate([label["bboxes"], ignored[:, 1:]])
        return labels

    def build_transforms(self, hyp: Any = None) -> Any:
        """Ultralytics' transforms with the steps of the recipe among them; its order is told in ``augmentation``."""
        transforms = super().build_transforms(hyp)
        if not self.augment:
            return transforms
        recipe: Recipe = self.data["augmentation"]
        classes = len(self.description.classes)
        steps = transforms.transforms
        if not getattr(hyp, "augmentations", None):  # else ultralytics has four of its own wherever albumentations is
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
        """A picture and its boxes; a partner of another group than the main picture's is replaced by one of its own."""
        group = self.labelled[self.main]
        if self.labelled[index] != group:
            index = random.choice(self.groups[group])
        return super().get_image_and_label(index)


def _verify(given: tuple[str, str, str, LabelReader]) -> list[Any]:
    """Read a picture's size and its labels, in place of ultralytics' ``verify_image_label``, which reads keypoints and
    polygons by other rules and writes what it takes for damaged pictures anew.

    Returns:
        The picture's file, its boxes of shape (n, 5), height and width upright, segments and key points (none), whether
        it has no label file, has one, has an empty one, cannot be read, and a message.
    """
    file, label, prefix, reader = given
    missing = not Path(label).is_file()
    try:
        with Image.open(file) as image:
            image.verify()
        with Image.open(file) as image:  # none that was verified can be asked more
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) >= 5 and image.format != "TIFF"  # whose size is upright
        if min(width, height) < SMALLEST:
            raise ValueError(f"{width} x {height} pixels, under {SMALLEST}")
    except Exception as error:  # whatever Pillow makes of a damaged file
        nothing = [None, None, None, None, None]
        return [*nothing, int(missing), int(not missing), 0, 1, f"{prefix}{file}: passed over: {error}"]
    shape = (width, height) if turned else (height, width)
    boxes = reader.boxes(Path(label))
    distinct = np.unique(boxes, axis=0)
    boxes = distinct if len(distinct) < len(boxes) else boxes
    empty = not missing and not len(boxes)
    return [file, boxes, shape, [], None, int(missing), int(not missing), int(empty), 0, ""]


class ShuffledRectangles(torch.utils.data.Sampler[int]):
    """Shuffles a data set whose batches each have a shape of their own (``rect``), which ultralytics leaves in order.

    Pictures change places within batches of one shape, and the batches are shuffled; a short last batch stays last, so
    that batches of ``batch_size`` in a row are those that the data set has given shapes to. The order depends on the
    seed and on ``epoch``, which counts up by itself; a resumed run sets it.
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
    """Take the ignore regions out of a collated batch, in place.

    ``cls``, ``bboxes`` and ``batch_idx`` keep the objects; ``ignored`` becomes a float tensor, shape (n, 5): index of
    the picture in the batch, then the box (normalised cx, cy, w, h). A batch already split is left alone.
    """
    if "ignored" not in batch:
        ignored = batch["cls"].view(-1) >= classes
        batch["ignored"] = torch.cat([batch["batch_idx"].view(-1, 1), batch["bboxes"]], 1)[ignored]
        for key in ("cls", "bboxes", "batch_idx"):
            batch[key] = batch[key][~ignored]
    return batch
