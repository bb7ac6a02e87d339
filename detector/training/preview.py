"""Preview of augmented training pictures, with boxes and ignore regions."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import ultralytics_setup  # noqa: F401  isort: skip
from ultralytics.cfg import get_cfg
from ultralytics.utils import LOGGER

from ...core.contact_sheet import Cell, Mark, contact_sheet, write_sheet
from ...core.files import write_whole
from ...core.yaml import dump_yaml
from ..data.dataset import DataDescription
from .augmentation import Recipe
from .torch_dataset import PartlyLabelledDataset

SHEET, CONTENT = "augmentation.png", "augmentation.yaml"
COLOURS = ((80, 220, 80), (60, 160, 255), (230, 120, 230), (240, 200, 60), (60, 230, 230))
"""BGR, by class, repeated if there are more classes."""
IGNORED = (190, 190, 190)
BATCH = 6
"""Pictures per batch, which share a shape with ``rect``."""


class SampleDataset(PartlyLabelledDataset):
    """A few pictures of a data set, read without using or writing ultralytics' cache of the whole set."""

    def cache_labels(self, path: Path = Path("labels.cache")) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="facepipe-") as temporary:
            return super().cache_labels(Path(temporary) / "labels.cache")


def augmented_sheet(
    recipe: Recipe,
    description: DataDescription,
    imgsz: int = 640,
    count: int = 24,
    rect: bool = False,
    seed: int = 0,
    columns: int = 6,
) -> np.ndarray:
    """Draw a contact sheet of augmented training pictures.

    Args:
        recipe: the augmentation.
        description: the data set.
        imgsz: side of training pictures in pixels.
        count: pictures to draw from the training split.
        rect: use batches of similar aspect ratios.
        seed: of the choice of pictures and of the augmentation.
        columns: pictures per row.

    Returns:
        BGR, uint8 (``contact_sheet.contact_sheet``).

    Raises:
        TrainingError: the recipe contradicts ``rect``.
    """
    recipe = recipe.resolved({}, rect)
    pictures = sorted(description.pictures["train"], key=lambda picture: str(picture.path))
    with _seeded(seed), _quiet():
        chosen = random.sample(pictures, min(count, len(pictures)))
        dataset = SampleDataset(
            img_path=[str(picture.path) for picture in chosen],
            imgsz=imgsz,
            batch_size=BATCH,
            augment=True,
            hyp=get_cfg(overrides={**recipe.arguments(), "imgsz": imgsz}),
            rect=rect,
            data={
                "description": description,
                "augmentation": recipe,
                "names": dict(enumerate(description.classes)),
                "nc": len(description.classes),
                "channels": 3,
            },
        )
        cells = [_cell(dataset[index % len(dataset)], description.classes) for index in range(count)]
    return contact_sheet(cells, columns)


def write_augmentation(
    recipe: Recipe, description: DataDescription, run: Path, imgsz: int, rect: bool, seed: int
) -> None:
    """Write a run's effective recipe into its folder, and a preview of it unless there is one.

    Args:
        recipe: the augmentation.
        description: the data set.
        run: the run's folder.
        imgsz: side of training pictures, in pixels.
        rect: whether batches have similar aspect ratios.
        seed: of the choice of pictures and of the augmentation.
    """
    write_whole(run / CONTENT, dump_yaml(recipe.to_dict()).encode())
    if not (run / SHEET).exists():
        write_sheet(run / SHEET, augmented_sheet(recipe, description, imgsz, rect=rect, seed=seed))


def _cell(sample: dict[str, Any], classes: tuple[str, ...]) -> Cell:
    frame = np.ascontiguousarray(sample["img"].numpy().transpose(1, 2, 0)[:, :, ::-1])
    height, width = frame.shape[:2]
    marks = []
    order = np.argsort(-sample["cls"].view(-1).numpy(), kind="stable")  # draw ignore regions below the objects
    for index in order:
        number = int(sample["cls"][index])
        cx, cy, w, h = (sample["bboxes"][index] * torch.tensor([width, height, width, height])).tolist()
        box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        name, colour = ("ignored", IGNORED) if number >= len(classes) else (classes[number], COLOURS[number % 5])
        marks.append(Mark(box, colour, name))
    labelled = ", ".join(name for name, known in zip(classes, sample["labelled"].tolist(), strict=True) if known)
    return Cell(frame, f"{Path(sample['im_file']).name}: {labelled or 'nothing'} labelled", marks)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the random number generators within this context, and restore their states afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  # ultralytics draws there
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


@contextmanager
def _quiet() -> Iterator[None]:
    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
