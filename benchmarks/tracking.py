"""Count identity switches of ``pipeline/video/tracking.py`` on composed clips with known people.

    python benchmarks/tracking.py

prints, for every frame and for every third and fifth, the switches when tracking faces, when tracking heads (a face has
the number of its head), and when joining both as facepipe does. A switch means that a person's face has another number
than when it last had one. ``persons`` is how many numbers were assigned; the true count is 17.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from facepipe import FaceDetector
from facepipe.detector.inference.boxes import Detections, iou
from facepipe.pipeline.two_stage import match_heads
from facepipe.pipeline.video.tracking import Follower, Tracker
from moving_faces import RATE, frames, scenes
from scipy.optimize import linear_sum_assignment

Numbering = Callable[[Detections, Detections, list[int | None], float], list[int | None]]
FACE = np.array([0.2, 0.27, 0.8, 0.92])
"""Where a face lies in its head, as fractions of the head's box."""


def of_faces() -> Numbering:
    follower = Follower(RATE)
    return lambda faces, heads, heads_of, time: follower.update(faces.boxes, faces.confidence, time)


def of_heads() -> Numbering:
    follower = Follower(RATE)

    def number(faces: Detections, heads: Detections, heads_of: list[int | None], time: float) -> list[int | None]:
        tracks = follower.update(heads.boxes, heads.confidence, time)
        return [None if head is None else tracks[head] for head in heads_of]

    return number


WAYS: dict[str, Callable[[], Numbering]] = {
    "faces": of_faces,
    "heads": of_heads,
    "joined": lambda: Tracker(RATE).update,
}


def count(found: list[Any], number: Numbering) -> tuple[int, int, int]:
    """Switches, faces that got a number, and numbers assigned."""
    last: dict[int, int] = {}
    switches = numbered = 0
    given: set[int] = set()
    for time, heads_at, detections in found:
        faces, heads = detections.of("face"), detections.of("head")
        numbers = number(faces, heads, match_heads(faces.boxes, heads.boxes), time)
        given |= {each for each in numbers if each is not None}
        if not heads_at or not len(faces):
            continue
        head = np.stack(list(heads_at.values()))
        sides = np.tile(head[:, 2:] - head[:, :2], 2)
        overlaps = iou(np.tile(head[:, :2], 2) + sides * FACE, faces.boxes)
        for row, column in zip(*linear_sum_assignment(overlaps, maximize=True), strict=True):
            person, track = list(heads_at)[row], numbers[column]
            if overlaps[row, column] < 0.25 or track is None:
                continue
            numbered += 1
            switches += last.get(person, track) != track
            last[person] = track
    return switches, numbered, len(given)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--every", type=int, nargs="+", default=[1, 3, 5])
    options = arguments.parse_args()
    detector = FaceDetector()
    found = {
        scene.name: [(time, boxes, detector.detect([frame])[0]) for time, frame, boxes in frames(scene)]
        for scene in scenes()
    }
    for every in options.every:
        for name, make in WAYS.items():
            rows = {scene: count(each[::every], make()) for scene, each in found.items()}
            switches, numbered, given = (sum(row[part] for row in rows.values()) for part in range(3))
            parts = ", ".join(f"{scene} {row[0]}" for scene, row in rows.items() if row[0])
            print(
                f"every {every}  {name:6}  {switches:3} switches  {given:3} persons  {numbered:5} faces   {parts}",
                flush=True,
            )


if __name__ == "__main__":
    main()
