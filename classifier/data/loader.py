"""Batches for the trainer: pictures are decoded once; threads prepare crops and targets ahead of the model.

Every batch depends only on the seed and the step, so a resumed run gets the same batches as an uninterrupted one.
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
"""Share of a table's pictures that may be broken before training stops; a single one is always allowed."""


@dataclass(frozen=True)
class Batch:
    """One batch of crops with labels.

    Attributes:
        images: BGR, uint8, (n, size, size, 3).
        targets: as in FaceTable, points as fractions of the crop's side.
    """

    images: np.ndarray
    targets: dict[str, np.ndarray]


class BrokenPictures:
    """Rows whose pictures cannot be read: each is reported once and skipped in training.

    Args:
        count: rows of the table.
        report: receives a line for each.
        share: of the rows that may be broken; a single one is always allowed.
    """

    def __init__(self, count: int, report: Callable[[str], None], share: float = BROKEN):
        self.report, self.most = report, max(1, int(share * count))
        self.count, self.known = count, dict[int, str]()
        self._lock = threading.Lock()

    def add(self, index: int, error: DataError) -> None:
        """Record a broken row.

        Raises:
            DataError: there are too many broken rows.
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
        memory: bytes for caching decoded pictures; the rest are decoded each time.
        broken: records unreadable pictures; in batches their crops are filled with the border colour and have no
            labels, so they do not affect training. None: an unreadable picture is an error.
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
        """Load a row's stored picture, shrunk so that the face's square is about ``size``, and return the scale too."""
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
        """Compute the side of the recipe's crop within a stored picture."""
        return float(max(image.shape[:2])) / (1 + 2 * float(np.nan_to_num(self.table.contexts[index])))

    def crop(
        self, index: int, strength: Augmentation | None, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """Cut one crop, uint8 (size, size, 3); also return the affine map from the *stored* picture and if it mirrors.

        Args:
            index: of the row.
            strength: of the augmentation; None cuts the crop as in serving.
            random: the random generator.
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
        """Make the crops and targets of some rows.

        Args:
            indices: of the rows, int (n,).
            strength: of the augmentation; None cuts the crop as in serving.
            random: the random generator.

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
    """Yield endless batches, reshuffled each epoch, from step ``first`` on, prepared by threads.

    The last, incomplete batch of an epoch is dropped; the rows that it drops differ between epochs.

    Args:
        source: of the crops.
        size: crops per batch.
        strength: of the augmentation; None for none.
        seed: of all random numbers.
        first: step to start at.
        workers: number of threads.
        draw: (rows,) sampling probability of each row (``sampling.row_weights``); an epoch draws as many rows as the
            table has. None: each row once.
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
    """Yield the crops as in serving, in order, each row once.

    Args:
        source: of the crops.
        size: crops per batch.
        rows: int (n,); None takes all.
        workers: reader threads.
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
