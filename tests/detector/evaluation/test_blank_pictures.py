"""Pictures of nothing, and in how many a detector finds something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from facepipe.detector.evaluation.blank_pictures import (
    COUNT,
    EACH,
    KINDS,
    SHAPES,
    blank_alarms,
    blank_metrics,
    blank_picture,
)
from facepipe.detector.inference.boxes import Detections


def of_kind(kind: str, turn: int = 0) -> np.ndarray:
    return blank_picture(KINDS.index(kind) + len(KINDS) * turn)


def test_every_kind_looks_as_it_is_called() -> None:
    assert (of_kind("plain") == of_kind("plain")[0, 0]).all()
    for kind in ("graded", "radial", "smooth"):
        steps = np.abs(np.diff(of_kind(kind).astype(int), axis=0))
        assert len(np.unique(of_kind(kind))) > 10, kind
        assert steps.max() < 16, f"{kind} has an edge"
    assert np.abs(np.diff(of_kind("noisy").astype(int), axis=1)).mean() > 1


def test_shapes_take_turns_in_every_kind_and_pictures_are_the_same_each_time() -> None:
    for kind in KINDS:
        assert [of_kind(kind, turn).shape[:2] for turn in range(3)] == list(SHAPES)
    assert (blank_picture(7) == blank_picture(7)).all()
    assert (blank_picture(7) != blank_picture(7, seed=1)).any()


class SeesNoise:
    """Finds a face in every noisy picture, and something unsure in all others."""

    classes: tuple[str, ...] = ("face", "head")

    def __init__(self, confidence: float):
        self.confidence, self.max_detections = confidence, 10

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        sure = [0.8 if np.abs(np.diff(frame.astype(int), 2, axis=1)).mean() > 2 else 0.3 for frame in frames]
        box = np.array([[0, 0, 9, 9]], np.float32)
        return [Detections(box, np.array([each], np.float32), np.zeros(1, np.int64), self.classes) for each in sure]


def test_pictures_count_at_the_detectors_own_threshold() -> None:
    done: list[tuple[int, int]] = []
    strict, lax = blank_alarms([SeesNoise(0.5), SeesNoise(0.2)], lambda *at: done.append(at))
    assert strict == {**dict.fromkeys(KINDS, 0), "noisy": EACH}
    assert lax == dict.fromkeys(KINDS, EACH)
    assert done[-1] == (COUNT, COUNT)
    metrics, protocol = blank_metrics(strict, 0.5)
    assert (metrics[0].name, metrics[0].value, metrics[0].count) == (
        "generated pictures of nothing with something found at 0.5",
        0.2,
        390,
    )
    assert metrics[-1].value == 1
    assert metrics[-1].name.endswith(", noisy")
    assert "78 each of plain" in protocol
