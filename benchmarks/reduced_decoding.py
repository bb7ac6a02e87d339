"""What decoding large JPEGs at a fraction of their size gains, and what it changes, on your own photographs.

    python benchmarks/reduced_decoding.py FOLDER [--turns 3] [--precision float16]

Each JPEG of at least 4 megapixels is run both ways in turn (with ``reduced_decode`` and without). Printed are the time
per picture, by its size; how many of the faces found with every pixel are found with the same box (IoU of at least
0.98) by the fast way; and for how many of these each attribute has the same value (numbers: within half a year, points:
within 2 % of the face's height). For comparison, the effect of a minimal change is shown: every pixel of the whole
picture, scaled to the detector's input, brighter or darker by one level of 255 or unchanged. Pictures that cannot be
read are skipped.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import numpy as np
import typer
from facepipe import Pipeline, Result
from facepipe.classifier.inference.attributes import NumericValue, PointsValue
from facepipe.detector.inference.boxes import iou
from facepipe.detector.inference.preprocessing import Letterbox
from facepipe.pipeline.results import Face

LEAST_PIXELS = 4_000_000
SAME_BOX = 0.98
YEARS = 0.5
POINTS = 0.02


def same(name: str, first: Face, second: Face) -> bool:
    """Whether two readings of one face have the same value of an attribute."""
    one, two = (first.attributes or {}).get(name), (second.attributes or {}).get(name)
    if one is None or two is None:
        return one is two
    if isinstance(one, NumericValue) and isinstance(two, NumericValue):
        return abs(one.value - two.value) <= YEARS
    if isinstance(one, PointsValue) and isinstance(two, PointsValue):
        away = np.abs(np.array([*one.points.values()]) - np.array([*two.points.values()])).max()
        return bool(away <= POINTS * (second.box.y2 - second.box.y1))
    return one.value == two.value  # type: ignore[union-attr]


@dataclass
class Compared:
    """Compares faces found with every pixel with those found another way: box overlap, and which values agree."""

    overlaps: list[float] = field(default_factory=list)
    alike: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def add(self, first: Result, second: Result) -> None:
        """Add a picture's faces."""
        overlap = iou(boxes(first), boxes(second))
        for number, face in enumerate(first.faces):
            best = int(overlap[number].argmax()) if len(second.faces) else -1
            self.overlaps.append(float(overlap[number, best]) if best >= 0 else 0.0)
            if self.overlaps[-1] >= 0.5:
                for name in face.attributes or {}:
                    self.alike[name].append(same(name, face, second.faces[best]))

    def print_shares(self, what: str) -> None:
        """Print the shares."""
        if not self.overlaps:
            return
        found = np.array(self.overlaps)
        values = ", ".join(f"{name} {np.mean(each):.3f}" for name, each in self.alike.items())
        again, exact = np.mean(found >= 0.5), np.mean(found >= SAME_BOX)
        print(f"{what}: {again:.3f} of {len(found)} faces found, {exact:.3f} with the same box (IoU >= {SAME_BOX})")
        print(f"  mean IoU {found.mean():.4f}; the same value: {values}")


def boxes(result: Result) -> np.ndarray:
    """The faces' boxes, (n, 4)."""
    return np.array([(f.box.x1, f.box.y1, f.box.x2, f.box.y2) for f in result.faces], np.float32).reshape(-1, 4)


@contextmanager
def noise() -> Iterator[None]:
    """Add one level of noise to the detector's input for the duration of the block."""
    exact = Letterbox.resize

    def noisy(self: Letterbox, frame: np.ndarray) -> np.ndarray:
        shown = exact(self, frame).astype(np.int16)
        return np.clip(shown + np.random.default_rng(0).integers(-1, 2, shown.shape), 0, 255).astype(np.uint8)

    with patch.object(Letterbox, "resize", noisy):
        yield


def main(
    folder: Annotated[Path, typer.Argument(help="Of large photographs.")],
    turns: Annotated[int, typer.Option(min=1, help="Times that each picture is run each way.")] = 3,
    precision: Annotated[str, typer.Option(help="auto, int8, float16 or float32: the models' files.")] = "auto",
) -> None:
    seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
    reduced, shaken = Compared(), Compared()
    pictures = 0
    with Pipeline(reduced_decode=True, precision=precision) as quick, Pipeline(precision=precision) as thorough:
        for path in sorted(folder.rglob("*.[jJ][pP]*[gG]")):
            first = thorough.run([path])[0]
            pixels = (first.width or 0) * (first.height or 0)
            if pixels < LEAST_PIXELS:
                continue
            pictures += 1
            reduced.add(first, quick.run([path])[0])
            with noise():
                shaken.add(first, thorough.run([path])[0])
            size = min((4, 8, 16, 24, 50), key=lambda each: abs(each - pixels / 1e6))
            for turn in range(turns):
                for name, pipeline in [("whole", thorough), ("reduced", quick)][:: 1 if turn % 2 else -1]:
                    began = time.perf_counter()
                    pipeline.run(path)
                    seconds[size, name].append(time.perf_counter() - began)
    print(f"{pictures} pictures")
    for size in sorted({size for size, _ in seconds}):
        slow, fast = (float(np.median(seconds[size, name])) for name in ("whole", "reduced"))
        count = len(seconds[size, "whole"]) // turns
        times = f"{1e3 * slow:.0f} ms whole, {1e3 * fast:.0f} ms reduced, {slow / fast:.2f} x"
        print(f"about {size} MP ({count} pictures): {times}")
    reduced.print_shares("decoded at a fraction")
    shaken.print_shares("one level of noise")


if __name__ == "__main__":
    typer.run(main)
