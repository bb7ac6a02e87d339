"""Clips of moving faces with known positions, composed from examples/astronaut.jpg.

Each scene is a list of people (the astronaut, mirrored and in other colours) who move in front of a plain room. Each
person's position is known in every frame, so trackers can be scored. Used by ``benchmarks/tracking.py`` and for the
pictures in docs/video.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from facepipe.pipeline.video.reader import VideoReader
from facepipe.pipeline.video.writer import VideoWriter

PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
CUT, HEAD = (110, 0, 340, 260), (150, 5, 300, 195)
"""In the photo: the area to cut out, and the head in it (x1, y1, x2, y2)."""
RATE, SIZE = 25, (960, 540)

Place = tuple[float, float, float]
"""Centre of the head, x and y in pixels, and its height."""


@dataclass(frozen=True)
class Person:
    """Somebody in a scene.

    Attributes:
        place: returns the place at a time in seconds, or None if the person is not there.
        look: number of the look: 0 is the astronaut herself, the others are mirrored or coloured.
        turned: whether the face is turned away (only hair is visible) at a time.
    """

    place: Callable[[float], Place | None]
    look: int = 0
    turned: Callable[[float], bool] = lambda time: False


@dataclass(frozen=True)
class Scene:
    """People, front-most last, and the upright bars that pass in front of them (x1 and x2 at a time)."""

    name: str
    seconds: float
    persons: tuple[Person, ...]
    bar: Callable[[float], tuple[float, float] | None] = lambda time: None


def looks(count: int = 8) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Cut-outs of head and shoulders: BGR, the same turned away, and the mask, (height, width, 1) 0 to 1."""
    photo = cv2.imread(str(PHOTO))
    assert photo is not None
    x1, y1, x2, y2 = CUT
    cut = photo[y1:y2, x1:x2]
    mask: np.ndarray = np.zeros(cut.shape[:2], np.float32)
    cv2.ellipse(mask, (115, 105), (82, 105), 0, 0, 360, 1, -1)
    cv2.ellipse(mask, (115, 265), (115, 85), 0, 0, 360, 1, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    oval: np.ndarray = np.zeros(cut.shape[:2], np.float32)
    cv2.ellipse(oval, (115, 98), (66, 88), 0, 0, 360, 1, -1)
    oval = cv2.GaussianBlur(oval, (0, 0), 2)[..., None]
    strands = np.random.default_rng(0).normal(0, 14, (1, cut.shape[1], 1))  # from crown to neck
    shade = np.linspace(1.25, 0.7, cut.shape[0])[:, None, None]
    away = ((np.array([38, 66, 92]) + strands) * shade * oval + cut * (1 - oval)).clip(0, 255).astype(np.uint8)
    made = []
    for number in range(count):
        mirror = number % 2 == 1
        tint = np.array([(0, 0, 0), (18, 4, -14), (-16, -6, 12), (10, -12, -10)][number // 2 % 4], np.float32)
        front, back, soft = (
            (image[:, ::-1] if mirror else image) for image in (cut.astype(np.float32), away.astype(np.float32), mask)
        )
        made.append((np.clip(front + tint, 0, 255), np.clip(back + tint, 0, 255), soft))
    return made


def room(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A wall and a floor, uint8, (height, width, 3)."""
    width, height = size
    shade = np.linspace(200, 140, height, dtype=np.float32)[:, None, None]
    wall = shade + np.linspace(-20, 25, width, dtype=np.float32)[None, :, None] + np.array([6, 0, -8], np.float32)
    wall[height * 4 // 5 :] -= 45
    return np.clip(wall, 0, 255).astype(np.uint8)


def frames(scene: Scene, size: tuple[int, int] = SIZE) -> Iterator[tuple[float, np.ndarray, dict[int, np.ndarray]]]:
    """Draw a scene.

    Yields:
        The time in seconds, the frame, and by person the box of the whole head, hidden or not, as (4,).
    """
    cuts, wall = looks(), room(size)
    for number in range(round(scene.seconds * RATE)):
        time = number / RATE
        frame, boxes = wall.astype(np.float32), {}
        for index, person in enumerate(scene.persons):
            place = person.place(time)
            if place is not None:
                front, back, mask = cuts[person.look % len(cuts)]
                boxes[index] = _paste(frame, back if person.turned(time) else front, mask, place, person.look % 2 == 1)
        if (bar := scene.bar(time)) is not None:
            frame[:, max(0, round(bar[0])) : max(0, round(bar[1]))] = (70, 82, 90)
        noise = np.random.default_rng(number).normal(0, 2, frame.shape[:2])[..., None]
        yield time, np.clip(frame + noise, 0, 255).astype(np.uint8), boxes


def _paste(frame: np.ndarray, cut: np.ndarray, mask: np.ndarray, place: Place, mirrored: bool) -> np.ndarray:
    """Paste a cut-out so that its head is at the place; return the head's box."""
    x, y, tall = place
    zoom = tall / (HEAD[3] - HEAD[1])
    middle = (HEAD[0] + HEAD[2]) / 2 - CUT[0]
    if mirrored:
        middle = (CUT[2] - CUT[0]) - middle
    left, top = x - middle * zoom, y - ((HEAD[1] + HEAD[3]) / 2 - CUT[1]) * zoom
    matrix = np.array([[zoom, 0, left], [0, zoom, top]], np.float32)
    target = (frame.shape[1], frame.shape[0])
    soft = cv2.warpAffine(np.ascontiguousarray(mask), matrix, target, flags=cv2.INTER_LINEAR)[..., None]
    drawn = cv2.warpAffine(np.ascontiguousarray(cut), matrix, target, flags=cv2.INTER_LINEAR)
    frame[:] = drawn * soft + frame * (1 - soft)
    half = (HEAD[2] - HEAD[0]) * zoom / 2
    return np.array([x - half, y - tall / 2, x + half, y + tall / 2], np.float32)


def scenes() -> list[Scene]:
    """Typical movements of people in front of cameras."""
    wide = SIZE[0]

    def across(start: float, end: float, y: float, tall: float, seconds: float) -> Callable[[float], Place]:
        return lambda t: (start + (end - start) * t / seconds, y + 12 * math.sin(4 * t), tall)

    crowd = tuple(
        Person(
            lambda t, k=k: (  # type: ignore[misc]
                wide / 2 + (wide / 2 - 70) * math.sin(t * (0.5 + 0.13 * k) + 1.7 * k),
                150 + 55 * (k % 4) + 18 * math.sin(t * 1.1 + k),
                95 + 14 * k,
            ),
            look=k,
        )
        for k in range(6)
    )
    return [
        Scene("walk", 6, (Person(across(-40, wide + 40, 260, 190, 6)),)),
        Scene(
            "near and far", 6, (Person(lambda t: (wide / 2 + 90 * math.sin(t), 280, 160 + 120 * math.sin(1.3 * t))),)
        ),
        Scene(
            "two cross",
            8,
            (Person(across(120, wide - 120, 250, 170, 8)), Person(across(wide - 120, 120, 285, 190, 8), look=1)),
        ),
        Scene(
            "a pillar passes",
            6,
            (Person(across(300, 560, 260, 180, 6)), Person(across(700, 800, 260, 170, 6), look=3)),
            bar=lambda t: (wide - 260 * t, wide - 260 * t + 210),
        ),
        Scene(
            "turns away",
            8,
            (
                Person(across(250, 420, 260, 190, 8), turned=lambda t: 2 < t < 4.5),
                Person(across(750, 640, 270, 180, 8), look=1, turned=lambda t: 3 < t < 6),
            ),
        ),
        Scene(
            "leaves, comes back",
            8,
            (Person(lambda t: (wide / 2 - 680 * math.sin(math.pi * t / 8) ** 2 * (1 if t < 8 else 0), 270, 190)),),
        ),
        Scene("six in a crowd", 10, crowd),
        Scene(
            "runs",
            5,
            (
                Person(lambda t: (wide / 2 + 400 * math.sin(2.6 * t), 270, 150)),
                Person(lambda t: (200, 200, 130), look=2),
            ),
        ),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description="Write a scene as a video, or a sheet of a video's frames.")
    commands = arguments.add_subparsers(dest="command", required=True)
    clip = commands.add_parser("clip", help="write a scene, to try facepipe detect on")
    clip.add_argument("scene", choices=[scene.name for scene in scenes()])
    clip.add_argument("out", type=Path)
    sheet = commands.add_parser("sheet", help="lay frames of a video out in one picture")
    sheet.add_argument("video")
    sheet.add_argument("out", type=Path)
    sheet.add_argument("--times", type=float, nargs="+", required=True, help="seconds")
    sheet.add_argument("--columns", type=int, default=3)
    sheet.add_argument("--width", type=int, default=400, help="of a frame, in pixels")
    options = arguments.parse_args()
    if options.command == "clip":
        with VideoWriter(options.out, RATE) as writer:
            for time, frame, _ in frames(next(scene for scene in scenes() if scene.name == options.scene)):
                writer.add(frame, time)
        print(writer.summary)
        return
    with VideoReader(options.video) as video:
        every = list(video)
    chosen = [min(every, key=lambda frame: abs(frame.time - time)).image for time in options.times]
    size = options.width, round(options.width * video.info.height / video.info.width)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in chosen]
    rows = [np.hstack(small[start : start + options.columns]) for start in range(0, len(small), options.columns)]
    cv2.imwrite(str(options.out), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
