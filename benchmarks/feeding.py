"""Check whether the input pipeline keeps the model busy: images per second of batches alone, model alone, and both.

Batches are made as in the trainer, decoded from files or taken from memory; the model repeats the trainer's own step on
one batch. What matters is the ratio of both together to the model alone: 1 means preparing pictures costs nothing. Each
part is measured in turn, several times, and the median is printed. Images per second of CPU time give the same answer
on a machine that is busy with other things.

    python benchmarks/feeding.py --data FACES.csv --recipe resnet50 --size 128 --steps 12
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Annotated

import cv2
import numpy as np
import typer
from facepipe.classifier.config.recipe import read_recipe
from facepipe.classifier.config.schema import DEFAULT, read_schema
from facepipe.classifier.data.loader import Batch, CropSource, training_batches
from facepipe.classifier.data.readers import read_data
from facepipe.classifier.data.sampling import row_weights
from facepipe.classifier.inference.classifier import prepare
from facepipe.classifier.training.keras_backend import import_keras
from facepipe.core.errors import FacepipeError
from rich.console import Console
from rich.table import Table


def main(
    data: Annotated[list[str], typer.Option(help="As train-classifier takes it; may be repeated.")],
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a YAML file.")] = "resnet50",
    size: Annotated[int | None, typer.Option(help="Side of the crops. Default: the recipe's last stage's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step. Default: the recipe's.")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps of each measurement.")] = 12,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each part, in turn.")] = 3,
    workers: Annotated[list[int] | None, typer.Option(help="Threads that prepare crops; may be repeated.")] = None,
    border_fill: Annotated[
        float | None, typer.Option(help="In place of the recipe's augmentation.border_fill.")
    ] = None,
) -> None:
    """Measure images per second."""
    cv2.setNumThreads(1)  # as the trainer does
    attributes = read_schema(DEFAULT)
    chosen = read_recipe(recipe).changed(size=size, batch=batch)
    train = read_data(data, attributes, chosen.split).split("train")
    draw = row_weights(train, chosen.balance)
    count, side = min(chosen.batch, len(train)), chosen.size
    strength = chosen.augmentation
    if border_fill is not None:
        strength = strength.model_copy(update={"border_fill": border_fill})
    rows = train.rows(np.random.default_rng(0).permutation(len(train))[: count * steps])
    few = None if draw is None else row_weights(rows, chosen.balance)
    border = train.crops.recipe.border if train.crops else (114, 114, 114)

    def stream(threads: int, source: CropSource) -> Generator[Batch]:
        return training_batches(source, count, strength, (0,), workers=threads, draw=few)

    step = _trainer_step(attributes, chosen, side)
    kept = CropSource(rows, side, border, 8 * 1024**3)
    fixed = next(stream(2, kept))
    for _ in range(3):  # the first step traces the graph
        step(fixed)

    def seconds(threads: int, source: CropSource, step: Callable[[Batch], object]) -> np.ndarray:
        batches = stream(threads, source)
        try:
            for _ in range(threads + 2):  # drain the batches that are already waiting
                next(batches)
            return _seconds(lambda: step(next(batches)), steps)
        finally:
            batches.close()

    parts: dict[str, Callable[[], np.ndarray]] = {"model alone": lambda: _seconds(lambda: step(fixed), steps)}
    for threads in workers or [2]:
        for what, sink in (("batches alone", _nothing), ("both", step)):
            parts |= {
                f"{what}, decoded, {threads} threads": partial(seconds, threads, CropSource(rows, side, border), sink),
                f"{what}, from memory, {threads} threads": partial(seconds, threads, kept, sink),
            }
    measured: dict[str, list[np.ndarray]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            measured[name].append(part())
    rates = {name: count * steps / np.median(each, axis=0) for name, each in measured.items()}
    table = Table(title=f"{recipe}, {side} px, {steps} steps of {count}", title_justify="left", title_style="bold")
    table.add_column("part")
    for column in ("images/s", "over the model alone", "images/s of processor time", "over the model alone"):
        table.add_column(column, justify="right")
    for name, (wall, worked) in rates.items():
        shares = (wall, worked) / rates["model alone"]
        table.add_row(name, f"{wall:,.0f}", f"{shares[0]:.2f}", f"{worked:,.0f}", f"{shares[1]:.2f}")
    Console(width=140).print(table)


def _nothing(batch: Batch) -> None:
    """Accept a batch and do nothing with it."""


def _trainer_step(attributes: tuple, recipe: object, side: int) -> Callable[[Batch], object]:
    """One training step as ``training.trainer.Trainer`` takes it, at the last stage."""
    import_keras()
    import keras
    from facepipe.classifier.config.recipe import Recipe
    from facepipe.classifier.models.backbones import find_backbone
    from facepipe.classifier.training.losses import attribute_losses
    from facepipe.classifier.training.train_step import Devices, bfloat16_pays, build_learner

    assert isinstance(recipe, Recipe)
    keras.config.set_dtype_policy("mixed_bfloat16" if bfloat16_pays(False) else "float32")
    devices = Devices()
    losses = attribute_losses(attributes, recipe.losses, None)
    learner = build_learner(attributes, recipe, recipe.stages[-1], losses, devices)
    spec = find_backbone(recipe.backbone).input_spec(side)
    return lambda batch: devices.step(learner, prepare(batch.images, spec), batch.targets)


def _seconds(work: Callable[[], object], times: int) -> np.ndarray:
    """Run the work this many times; return wall seconds and CPU seconds."""
    started, before = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    return np.array([time.perf_counter() - started, time.process_time() - before])


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
