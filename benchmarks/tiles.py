"""How well one pass, a larger input and tiles find the faces and heads in large photos, and how long each takes.

Large labelled photos are made from a data set's pictures: a mosaic of GRID x GRID of them, each in a cell of CELL
pixels (4 x 4 of 640: photos of 2560 x 2560), with all their boxes and ignore regions. Every method processes each
mosaic in turn, so that other load on the machine affects all of them; times are reported as ratios.

    python benchmarks/tiles.py --data DATA.yaml --detector VERSION --mosaics 4
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from facepipe import FaceDetector
from facepipe.core.errors import FacepipeError
from facepipe.detector.data.dataset import DataDescription, Picture, read_description
from facepipe.detector.evaluation.matching import Scored, Sizes, match
from facepipe.detector.evaluation.predictions import CONFIDENCE, read_picture
from facepipe.detector.inference.boxes import Detections, from_yolo, share_inside
from facepipe.detector.inference.preprocessing import GREY
from rich.console import Console
from rich.table import Table

SIZES = (Sizes(), Sizes(16))
"""In pixels of the mosaic."""
MANY = 5000
"""Maximum boxes per mosaic, high enough not to truncate any method."""


@dataclass
class Mosaic:
    """A large photo made of many pictures, with boxes in its pixels."""

    frame: np.ndarray
    cells: list[tuple[np.ndarray, int, int]]
    """The pictures, with left and top of each."""
    truth: dict[str, np.ndarray]
    ignored: np.ndarray


@dataclass
class Way:
    """One method, with all its boxes, and the time at serving confidence."""

    name: str
    detector: FaceDetector
    look: Callable[[FaceDetector, Mosaic], Detections]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    found: list[tuple[Mosaic, Detections]] = field(default_factory=list)

    def run(self, photo: Mosaic, confidence: float) -> None:
        """Run twice: timed, at the serving confidence; for the curves, at a confidence that lets all boxes through."""
        self.detector.confidence = confidence
        started, worked = time.perf_counter(), time.process_time()
        self.look(self.detector, photo)
        self.seconds.append(time.perf_counter() - started)
        self.cpu_seconds.append(time.process_time() - worked)
        self.detector.confidence = CONFIDENCE
        self.found.append((photo, self.look(self.detector, photo)))


def mosaics(description: DataDescription, split: str, grid: int, cell: int, count: int, seed: int) -> Iterator[Mosaic]:
    """Up to ``count`` mosaics for each set of labelled classes, from pictures drawn without repetition."""
    random = np.random.default_rng(seed)
    alike: dict[tuple[bool, ...], list[Picture]] = defaultdict(list)
    for picture in description.pictures[split]:
        if len(description.boxes(picture)):
            alike[picture.labelled].append(picture)
    for labelled, pictures in sorted(alike.items(), reverse=True):
        drawn = [pictures[index] for index in random.permutation(len(pictures))]
        for start in range(0, min(len(drawn), count * grid * grid), grid * grid):
            if len(chosen := drawn[start : start + grid * grid]) == grid * grid:
                yield mosaic(description, labelled, chosen, grid, cell)


def mosaic(
    description: DataDescription, labelled: tuple[bool, ...], pictures: list[Picture], grid: int, cell: int
) -> Mosaic:
    """One mosaic; pictures larger than a cell are scaled down to it."""
    frame = np.full((grid * cell, grid * cell, 3), GREY, np.uint8)
    cells, boxes, ignored = [], [np.zeros((0, 5))], [np.zeros((0, 4))]
    for place, picture in enumerate(pictures):
        image = read_picture(picture.path)
        scale = min(1.0, cell / max(image.shape[:2]))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = image.shape[:2]
        left, top = place % grid * cell + (cell - width) // 2, place // grid * cell + (cell - height) // 2
        frame[top : top + height, left : left + width] = image
        cells.append((image, left, top))
        rows = description.boxes(picture)
        boxes.append(np.column_stack([rows[:, 0], from_yolo(rows[:, 1:], width, height) + [left, top] * 2]))
        ignored.append(from_yolo(description.ignored(picture)[:, 1:], width, height) + [left, top] * 2)
    joined = np.concatenate(boxes)
    truth = {
        name: joined[joined[:, 0] == index, 1:] for index, name in enumerate(description.classes) if labelled[index]
    }
    return Mosaic(frame, cells, truth, np.concatenate(ignored))


def at_once(detector: FaceDetector, photo: Mosaic) -> Detections:
    """Process a mosaic with the detector as configured."""
    return detector.detect([photo.frame])[0]


def by_itself(detector: FaceDetector, photo: Mosaic) -> Detections:
    """Process every picture of a mosaic alone: the upper limit for tiles."""
    found = detector.detect([image for image, _, _ in photo.cells])
    boxes = [each.boxes + [left, top] * 2 for each, (_, left, top) in zip(found, photo.cells, strict=True)]
    confidence = np.concatenate([each.confidence for each in found])
    order = np.argsort(-confidence, kind="stable")
    labels = np.concatenate([each.labels for each in found])
    return Detections(np.concatenate(boxes)[order], confidence[order], labels[order], detector.classes)


def doubles(found: np.ndarray, photo: Mosaic, name: str) -> int:
    """Count the wrong boxes that share half of themselves, or half of an object, with an object that another box took.

    The boxes are given most confident first.
    """
    matched = match(found, photo.truth[name], photo.ignored)
    wrong, taken = (
        found[matched.counts & ~matched.correct],
        photo.truth[name][np.unique(matched.truth[matched.correct])],
    )
    return int(((share_inside(wrong, taken) >= 0.5) | (share_inside(taken, wrong).T >= 0.5)).any(axis=1).sum())


def table(ways: list[Way], classes: tuple[str, ...], confidence: float) -> Table:
    """One row per class and method."""
    shown = Table(
        title=f"recall, precision and doubles at confidence {confidence:g}; time, CPU time: as many times one pass"
    )
    headings = (
        "class",
        "way",
        *(f"AP50\n{_size(sizes)}" for sizes in SIZES),
        "recall\n>= 16 px",
        "precision\n>= 16 px",
    )
    for heading in (*headings, "doubles", "time", "CPU"):
        shown.add_column(heading, justify="left" if heading in ("class", "way") else "right", no_wrap=True)
    base, cpu_base = float(np.median(ways[0].seconds)), float(np.median(ways[0].cpu_seconds))
    for name in classes:
        for way in ways:
            mine = [(photo, each.of(name)) for photo, each in way.found if name in photo.truth]
            if not mine:
                continue
            scores = [
                Scored.joined(
                    (each.confidence, match(each.boxes, photo.truth[name], photo.ignored, sizes))
                    for photo, each in mine
                )
                for sizes in SIZES
            ]
            kept = [(photo, each.boxes[each.confidence >= confidence]) for photo, each in mine]
            twice = sum(doubles(boxes, photo, name) for photo, boxes in kept)
            precision, recall = scores[-1].at(confidence)
            shown.add_row(
                name,
                way.name,
                *(_number(score.average_precision()) for score in scores),
                _number(recall),
                _number(precision),
                f"{twice} of {sum(len(boxes) for _, boxes in kept)}",
                f"{np.median(way.seconds) / base:.1f}",
                f"{np.median(way.cpu_seconds) / cpu_base:.1f}",
            )
        shown.add_section()
    return shown


def _size(sizes: Sizes) -> str:
    return f">= {sizes.low:g} px" if sizes.low else "every size"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main(
    data: Annotated[Path, typer.Option(help="DATA.yaml.")],
    detector: Annotated[str | None, typer.Option(help="A version or a release's folder. Default: newest.")] = None,
    precision: Annotated[str | None, typer.Option(help="Which of the release's files.")] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "val",
    mosaic_count: Annotated[
        int, typer.Option("--mosaics", min=1, help="Mosaics for each set of labelled classes.")
    ] = 3,
    grid: Annotated[int, typer.Option(min=1, help="Pictures in a row and in a column of a mosaic.")] = 4,
    cell: Annotated[int, typer.Option(min=32, help="Side of a cell, in pixels.")] = 640,
    imgsz: Annotated[int, typer.Option(min=32, help="The larger input.")] = 1280,
    tile: Annotated[int | None, typer.Option(min=32, help="Side of a tile. Default: the release's size.")] = None,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
    device: Annotated[str, typer.Option(help="Where the detector runs.")] = "cpu",
    save: Annotated[Path | None, typer.Option(help="Save the first mosaic with what the tiles found, as PNG.")] = None,
) -> None:
    """Print a table of average precision, recall, duplicates and time."""
    console = Console(width=110)
    description = read_description(data)

    def ready(imgsz: int | None = None, tiles: bool | int = False) -> FaceDetector:
        made = FaceDetector(detector, device=device, precision=precision, imgsz=imgsz, tiles=tiles)
        made.max_detections = MANY
        return made

    once, tiled = ready(), ready(tiles=tile or True)
    threshold = once.confidence
    ways = [Way(f"one pass at {once.imgsz}", once, at_once)]
    if once.input.dynamic:
        larger = ready(imgsz=imgsz)
        ways.append(Way(f"one pass at {larger.imgsz}", larger, at_once))
    ways.append(Way(f"tiles of {tiled.tiles}", tiled, at_once))
    ways.append(Way("each picture alone", once, by_itself))
    for number, photo in enumerate(mosaics(description, split, grid, cell, mosaic_count, seed)):
        if number == 0:
            for way in ways:
                way.look(way.detector, photo)  # the first call allocates
        for way in ways:
            way.run(photo, threshold)
        console.print(
            f"mosaic {number + 1}: {', '.join(f'{len(v)} {k}' for k, v in photo.truth.items())}", highlight=False
        )
        if save is not None and number == 0:
            shown = photo.frame.copy()
            sure = ways[-2].found[0][1]
            for box, score in zip(sure.boxes.round().astype(int).tolist(), sure.confidence, strict=True):
                if score >= threshold:
                    cv2.rectangle(shown, box[:2], box[2:], (60, 220, 60), 2)
            cv2.imwrite(str(save), shown)
    if not ways[0].found:
        raise FacepipeError(
            f"{data}: the split {split} has fewer than {grid * grid} pictures with boxes that share labels"
        )
    used = f"detector {once.release.version} ({once.release.entry(precision).precision})"
    milliseconds = 1000 * np.median(ways[0].seconds)
    console.print(
        f"{used}, {grid} x {grid} pictures in {grid * cell} px; one pass took {milliseconds:.0f} ms (median)",
        highlight=False,
    )
    console.print(table(ways, once.classes, threshold))


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
