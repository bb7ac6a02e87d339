from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from facepipe.core.errors import MissingExtraError
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.two_stage import match_heads
from facepipe.pipeline.video.analysis import SceneCuts
from facepipe.pipeline.video.tracking import Tracker

CLASSES = ("face", "head")
Place = tuple[float, float]


@pytest.fixture
def tracker() -> Tracker:
    pytest.importorskip("trackers", reason="trackers is not installed: pip install 'facepipe[video]'")
    return Tracker(25.0)


def found(label: int, centres: Sequence[Place], half: float, sure: float = 0.9) -> Detections:
    boxes = np.array([(x - half, y - half, x + half, y + half) for x, y in centres], np.float32).reshape(-1, 4)
    count = len(boxes)
    return Detections(boxes, np.full(count, sure, np.float32), np.full(count, label), CLASSES)


def step(
    tracker: Tracker, time: float, faces: Sequence[Place], heads: Sequence[Place] | None = None, sure: float = 0.9
) -> list[int | None]:
    found_faces, found_heads = found(0, faces, 20, sure), found(1, faces if heads is None else heads, 30)
    return tracker.update(found_faces, found_heads, match_heads(found_faces.boxes, found_heads.boxes), time)


def test_numbers_begin_at_one_in_the_first_frame_and_stay(tracker: Tracker) -> None:
    for number in range(30):
        places = [(100 + 5 * number, 100.0), (600 - 5 * number, 300.0)]
        order = [0, 1] if number % 2 == 0 else [1, 0]  # as the detector's confidences happen to be
        persons = step(tracker, number / 25, [places[index] for index in order])
        assert persons == [index + 1 for index in order]


def test_a_face_that_is_missed_for_a_moment_keeps_its_number(tracker: Tracker) -> None:
    seen = [step(tracker, number / 25, [] if 10 <= number < 20 else [(100.0 + number, 100.0)]) for number in range(40)]
    assert {tuple(persons) for persons in seen} == {(1,), ()}


def test_a_person_who_turns_away_keeps_the_number(tracker: Tracker) -> None:
    """Longer than a face's track lives; the head is seen all the while."""
    for number in range(25):
        step(tracker, number / 25, [(100.0, 100.0)])
    for number in range(25, 150):
        assert step(tracker, number / 25, [], heads=[(100.0 + number - 25, 100.0)]) == []
    assert step(tracker, 150 / 25, [(225.0, 100.0)]) == [1]


def test_somebody_new_on_another_head_has_a_new_number(tracker: Tracker) -> None:
    for number in range(25):
        step(tracker, number / 25, [(100.0, 100.0)])
    for number in range(25, 150):
        step(tracker, number / 25, [])
    assert step(tracker, 6.0, [(100.0, 100.0)]) == [2]


def test_an_unsure_box_begins_nothing(tracker: Tracker) -> None:
    assert step(tracker, 0.0, [(100.0, 100.0)], heads=[], sure=0.3) == [None]
    assert step(tracker, 0.04, [(100.0, 100.0)], heads=[], sure=0.8) == [1]
    assert step(tracker, 0.08, [(100.0, 100.0)], heads=[], sure=0.3) == [1]


def test_nobody_is_followed_across_a_cut(tracker: Tracker) -> None:
    assert step(tracker, 0.0, [(100.0, 100.0)]) == [1]
    tracker.cut()
    assert step(tracker, 0.04, [(100.0, 100.0)]) == [2]


def test_a_cut_is_told_from_a_movement(photo: object) -> None:
    random = np.random.default_rng(0)
    one, other = (np.kron(random.integers(0, 256, (9, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8) for _ in range(2))
    cuts = SceneCuts()
    assert [cuts.cut(frame) for frame in (one, np.roll(one, 4, axis=1), one, other, other)] == [False] * 3 + [
        True,
        False,
    ]


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facepipe\[video\]'"):
        Tracker(25.0)
