"""Batches for the trainer: pictures decoded once, crops and targets made ahead of the model by threads.

Every batch is a function of the seed and the step alone: a resumed run goes on with the batches it would have had.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ..weights.manifest import CropRecipe
from .augment import Augmentation, draw_placing, place, place_points, relight
from .data import FaceTable, read_picture


@dataclass(frozen=True)
class Batch:
    """``images``: uint8 (n, size, size, 3) BGR. ``targets``: as in FaceTable, points as fractions of the side."""

    images: np.ndarray
    targets: dict[str, np.ndarray]


class CropSource:
    """The crops of a table at one size.

    Args:
        table: rows that are crops (``require_crops``).
        size: side of the crops in pixels.
        border: colour outside the stored picture.
        memory: bytes that decoded pictures may take; the rest are decoded each time.
    """

    def __init__(self, table: FaceTable, size: int, border: tuple[int, int, int], memory: int = 0):
        self.table, self.size, self.border = table, size, border
        self._memory = memory
        self._kept: dict[int, tuple[np.ndarray, float]] = {}
        self._lock = threading.Lock()

    def picture(self, index: int) -> tuple[np.ndarray, float]:
        """A row's stored picture, shrunk so that the face's square is about ``size``, and the scale of that."""
        if (kept := self._kept.get(index)) is not None:
            return kept
        image = read_picture(self.table.files[index])
        scale = min(1.0, self.size / self._side(index, image))
        if scale < 1:
            width, height = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        with self._lock:
            if self._memory >= image.nbytes and index not in self._kept:
                self._memory -= image.nbytes
                self._kept[index] = image, scale
        return image, scale

    def _side(self, index: int, image: np.ndarray) -> float:
        """Side of the recipe's crop within a stored picture."""
        side = float(max(image.shape[:2]))
        crops = self.table.crops
        if self.table.columns["framing"][index] == "crop" and crops is not None:
            return side / (1 + 2 * crops.context)
        return side

    def crop(
        self, index: int, strength: Augmentation | None, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """One crop, uint8 (size, size, 3), with the affine from the *stored* picture to it, and whether it mirrors."""
        image, scale = self.picture(index)
        square = image.shape[1] / 2, image.shape[0] / 2, self._side(index, image)
        placing, mirrored = draw_placing(square, self.size, strength, random)
        crop = place(image, placing, self.size, self.border)
        if strength is not None:
            crop = relight(crop, strength, random)
        placing[:, :2] *= scale
        return crop, placing, mirrored

    def batch(self, indices: np.ndarray, strength: Augmentation | None, random: np.random.Generator) -> Batch:
        """Crops and targets of some rows."""
        images = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        targets = {name: values[indices].copy() for name, values in self.table.targets.items()}
        for slot, index in enumerate(indices):
            images[slot], placing, mirrored = self.crop(int(index), strength, random)
            for attribute in self.table.attributes:
                if attribute.kind == "points":
                    points = targets[attribute.name]
                    points[slot] = place_points(points[slot], placing, mirrored, self.size, attribute)
        return Batch(images, targets)


def training_batches(
    source: CropSource,
    size: int,
    strength: Augmentation | None,
    seed: tuple[int, ...],
    first: int = 0,
    workers: int = 2,
) -> Generator[Batch]:
    """Endless batches in an order that is new in each epoch, from step ``first`` on, prepared by threads.

    The last, incomplete batch of an epoch is left out; what falls out differs from epoch to epoch.
    """
    count = len(source.table)
    size = min(size, count)
    steps = count // size

    def make(step: int) -> Batch:
        epoch, place_in_epoch = divmod(step, steps)
        order = np.random.default_rng((*seed, epoch)).permutation(count)
        chosen = order[place_in_epoch * size : (place_in_epoch + 1) * size]
        return source.batch(chosen, strength, np.random.default_rng((*seed, epoch, place_in_epoch)))

    with ThreadPoolExecutor(workers, thread_name_prefix="crops") as pool:
        ahead: deque[Future[Batch]] = deque(pool.submit(make, first + step) for step in range(workers + 2))
        step = first + len(ahead)
        try:
            while True:
                batch = ahead.popleft().result()
                ahead.append(pool.submit(make, step))
                step += 1
                yield batch
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def exact_batches(source: CropSource, size: int, rows: np.ndarray | None = None, workers: int = 2) -> Iterator[Batch]:
    """The crops as serving would see them, in order, each row once."""
    rows = np.arange(len(source.table)) if rows is None else rows
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    random = np.random.default_rng(0)
    with ThreadPoolExecutor(workers, thread_name_prefix="crops") as pool:
        ahead: deque[Future[Batch]] = deque()
        for part in parts:
            ahead.append(pool.submit(source.batch, part, None, random))
            if len(ahead) > workers + 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def serving_recipe(table: FaceTable, size: int, default: CropRecipe) -> CropRecipe:
    """The recipe that a classifier trained on this table must be served with: the crops' own, at ``size``."""
    recipe = table.crops.recipe if table.crops else default
    return recipe.model_copy(update={"size": size})
