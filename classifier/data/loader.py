"""Batches for the trainer: pictures decoded once, crops and targets made ahead of the model by threads.

Every batch is a function of the seed and the step alone: a resumed run goes on with the batches it would have had.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ...core.errors import DataError
from .augmentation import Augmentation, draw_placing, fill_border, place, place_points, relight
from .sampling import draw_rows
from .table import FaceTable, read_picture

BROKEN = 0.01
"""Share of a table's pictures that may be broken, before a training stops for it; a single one always may."""


@dataclass(frozen=True)
class Batch:
    """``images``: uint8 (n, size, size, 3) BGR. ``targets``: as in FaceTable, points as fractions of the side."""

    images: np.ndarray
    targets: dict[str, np.ndarray]


class BrokenPictures:
    """Rows whose pictures cannot be read: each is reported once, and training goes on without it.

    Args:
        count: rows of the table.
        report: takes a line for each.
        share: of the rows that may be broken; a single one always may.
    """

    def __init__(self, count: int, report: Callable[[str], None], share: float = BROKEN):
        self.report, self.most = report, max(1, int(share * count))
        self.count, self.known = count, dict[int, str]()
        self._lock = threading.Lock()

    def add(self, index: int, error: DataError) -> None:
        """Take note of a row.

        Raises:
            DataError: there are too many.
        """
        with self._lock:
            if index in self.known:
                return
            self.known[index] = str(error)
            if len(self.known) > self.most:
                raise DataError(
                    f"{error}; that is broken picture {len(self.known)} of {self.count} rows, more than the "
                    f"{self.most} that may be left out; 'facepipe data check' lists them all"
                ) from error
            self.report(f"left out: {error}")


class CropSource:
    """The crops of a table at one size.

    Args:
        table: rows that are crops (``require_crops``).
        size: side of the crops in pixels.
        border: colour outside the stored picture.
        memory: bytes that decoded pictures may take; the rest are decoded each time.
        broken: takes note of pictures that cannot be read, whose rows then stand in their batches as the border's
            colour without any label, so that they teach nothing. None: such a picture is an error.
    """

    def __init__(
        self,
        table: FaceTable,
        size: int,
        border: tuple[int, int, int],
        memory: int = 0,
        broken: BrokenPictures | None = None,
    ):
        self.table, self.size, self.border, self.broken = table, size, border, broken
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
        return float(max(image.shape[:2])) / (1 + 2 * float(np.nan_to_num(self.table.contexts[index])))

    def crop(
        self, index: int, strength: Augmentation | None, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """One crop, uint8 (size, size, 3), with the affine from the *stored* picture to it, and whether it mirrors.

        Args:
            index: of the row.
            strength: of the augmentation; None cuts as serving does.
            random: decides.
        """
        image, scale = self.picture(index)
        square = image.shape[1] / 2, image.shape[0] / 2, self._side(index, image)
        placing, mirrored = draw_placing(square, self.size, strength, random)
        crop = place(image, placing, self.size, self.border)
        if strength is not None:
            if strength.border_fill and random.random() < strength.border_fill:
                crop = fill_border(crop, self.border, random)
            crop = relight(crop, strength, random)
        placing[:, :2] *= scale
        return crop, placing, mirrored

    def batch(self, indices: np.ndarray, strength: Augmentation | None, random: np.random.Generator) -> Batch:
        """Crops and targets of some rows.

        Args:
            indices: of the rows, int (n,).
            strength: of the augmentation; None cuts as serving does.
            random: decides.

        Raises:
            DataError: a picture cannot be read, and ``broken`` is None or has too many.
        """
        images = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        targets = {name: values[indices].copy() for name, values in self.table.targets.items()}
        for slot, index in enumerate(indices):
            try:
                images[slot], placing, mirrored = self.crop(int(index), strength, random)
            except DataError as error:
                if self.broken is None:
                    raise
                self.broken.add(int(index), error)
                images[slot] = self.border
                for values in targets.values():
                    values[slot] = np.nan
                continue
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
    draw: np.ndarray | None = None,
) -> Generator[Batch]:
    """Endless batches in an order that is new in each epoch, from step ``first`` on, prepared by threads.

    The last, incomplete batch of an epoch is left out; what falls out differs from epoch to epoch.

    Args:
        source: of the crops.
        size: crops a batch.
        strength: of the augmentation; None for none.
        seed: of every random number.
        first: step to begin at.
        workers: threads.
        draw: (rows,) the probability of each row (``sampling.row_weights``); an epoch has as many rows as the table,
            drawn by it. None: each row once.
    """
    count = len(source.table)
    size = min(size, count)
    steps = count // size

    @lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return draw_rows(count, draw, np.random.default_rng((*seed, epoch)))

    def make(step: int) -> Batch:
        epoch, place_in_epoch = divmod(step, steps)
        chosen = order(epoch)[place_in_epoch * size : (place_in_epoch + 1) * size]
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
    """The crops as serving would see them, in order, each row once.

    Args:
        source: of the crops.
        size: of a batch.
        rows: int (n,); None takes all.
        workers: threads that read.
    """
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
