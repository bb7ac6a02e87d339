"""Check that memory stays flat: 2,000 pictures of all sizes, some of them broken, through one ``Pipeline.stream``.

    python benchmarks/soak.py
    python benchmarks/soak.py --count 500 --precision float16

The process's memory is printed every 100 pictures. It goes up and down with the work in progress; a leak would raise
the minimum in between. So flat means: take the minimum of every 50 pictures; a line through the second half of these
rises by at most 20 MB per 1,000 pictures. In addition, the process must never exceed 1 GB. Exit code 1 if either does
not hold, or if a picture has no result or the wrong one.

A few dozen pictures are drawn in a separate process, so that drawing does not count, and are read again and again in
random order.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from facepipe import Pipeline
from facepipe.core.errors import FacepipeError
from rich.console import Console
from study.machine import resident_mb
from study.pictures import draw, sides

KINDS = (
    ("jpg", 0.1, 6),
    ("png", 0.3, 6),
    ("jpg", 0.3, 6),
    ("webp", 0.5, 4),
    ("jpg", 1.0, 10),
    ("jpg", 2.0, 8),
    ("jpg", 8.0, 3),
    ("jpg", 24.0, 1),
)
"""Format, megapixels and number of the pictures."""
FACES = (0, 1, 1, 2, 3, 5, 10, 20)
BROKEN = ("empty.jpg", "text.jpg", "truncated.jpg", "truncated.png", "missing.jpg")
EVERY, WINDOW = 100, 50
"""Pictures between two printed lines, and pictures per window whose minimum memory is taken."""
FLAT_MB, PEAK_MB = 20.0, 1000.0
"""Maximum rise per 1,000 pictures, and maximum at any time."""


def draw_all(folder: Path, seed: int) -> None:
    """Write the pictures, good and broken, except the one that is meant to be missing."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, megapixels, count in KINDS:
        for number in range(count):
            width, height = sides(megapixels)
            faces = int(random.choice(FACES)) if megapixels > 0.2 else number % 2
            picture = draw(faces, *((height, width) if number % 3 == 2 else (width, height)), random)
            cv2.imencode(f".{suffix}", picture)[1].tofile(folder / f"good-{megapixels}-{number}-{faces}.{suffix}")
    small = draw(1, 320, 240, random)
    jpeg, png = (cv2.imencode(suffix, small)[1].tobytes() for suffix in (".jpg", ".png"))
    contents = (b"", b"once upon a time\n" * 40, jpeg[: len(jpeg) // 2], png[: len(png) // 2])
    for name, content in zip(BROKEN, contents, strict=False):
        (folder / name).write_bytes(content)


def order(folder: Path, count: int, seed: int) -> list[Path]:
    """A random order of this many pictures, about one in twelve of them broken."""
    random = np.random.default_rng(seed)
    good = sorted(folder.glob("good-*"))
    bad = [folder / name for name in BROKEN]
    return [
        bad[int(random.integers(len(bad)))] if random.random() < 1 / 12 else good[int(random.integers(len(good)))]
        for _ in range(count)
    ]


def rise(memory: Sequence[float], window: int = WINDOW) -> float:
    """Slope of a line through the second half of the minimum memory of every ``window`` pictures.

    Args:
        memory: MB after each picture.
        window: pictures.

    Returns:
        MB per 1,000 pictures.

    Raises:
        ValueError: fewer than six windows.
    """
    least = [min(memory[start : start + window]) for start in range(0, len(memory) - window + 1, window)]
    if len(least) < 6:
        raise ValueError(f"{len(memory)} pictures are too few to tell a slope; take {6 * window} or more")
    half = least[len(least) // 2 :]
    return float(np.polyfit(np.arange(len(half)) * window / 1000, half, 1)[0])


def run(paths: Sequence[Path], pipeline: Pipeline, screen: Console) -> tuple[list[float], list[str]]:
    """Stream the pictures.

    Returns:
        MB after each picture, and what went wrong in words.
    """
    memory: list[float] = []
    wrong: list[str] = []
    failed, began = 0, time.perf_counter()
    results = pipeline.stream([*paths])
    for done, (path, (result, _)) in enumerate(zip(paths, results, strict=True), start=1):
        failed += result.error is not None
        if result.source != str(path):
            wrong.append(f"picture {done}: the result of {result.source} came where that of {path} was due")
        if (result.error is None) == (path.name in BROKEN):
            wrong.append(f"{path.name}: {result.error or 'was read, though it is broken'}")
        memory.append(resident_mb() or 0.0)
        if done % EVERY == 0:
            pace = done / (time.perf_counter() - began)
            screen.print(f"{done:5} pictures, {failed:4} failed: {memory[-1]:5.0f} MB, {pace:.1f} pictures/s")
    return memory, wrong


def main(
    count: Annotated[int, typer.Option(min=6 * WINDOW, help="Pictures.")] = 2000,
    precision: Annotated[str, typer.Option(help="As facepipe detect takes it.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="As facepipe detect takes it.")] = None,
    seed: Annotated[int, typer.Option(help="Of the pictures and their order.")] = 0,
    draw_into: Annotated[Path | None, typer.Option("--draw", hidden=True)] = None,
) -> None:
    """Stream, print and judge."""
    if draw_into is not None:
        draw_all(draw_into, seed)
        return
    screen = Console(markup=False, highlight=False, width=140)
    if resident_mb() is None:
        raise FacepipeError("this system does not say how much memory a process takes; run it on Linux")
    with tempfile.TemporaryDirectory(prefix="facepipe-soak-") as folder:
        subprocess.run([sys.executable, __file__, "--draw", folder, "--seed", str(seed)], check=True)
        paths = order(Path(folder), count, seed)
        with Pipeline(threads=threads, precision=precision) as pipeline:
            screen.print(f"    0 pictures, models loaded: {resident_mb():.0f} MB")
            memory, wrong = run(paths, pipeline, screen)
    grown, peak = rise(memory), resident_mb(peak=True) or 0.0
    for line in wrong[:10]:
        screen.print(line)
    flat, small = grown <= FLAT_MB, peak <= PEAK_MB
    screen.print(f"each picture has its result: {'no' if wrong else 'yes'}")
    screen.print(f"second half: {grown:+.1f} MB in 1,000 pictures, at most {FLAT_MB:.0f}: {'yes' if flat else 'NO'}")
    screen.print(f"peak: {peak:.0f} MB, at most {PEAK_MB:.0f}: {'yes' if small else 'NO'}")
    if wrong or not (flat and small):
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
