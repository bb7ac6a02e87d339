from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from facepipe.classifier.inference.attributes import PointsValue
from facepipe.pipeline.results import Box, DetectorUsed, Face, Head, Models, Result
from facepipe.pipeline.video.interpolation import DRAWING, HIDING, GapFiller, Reach, held_frames
from facepipe.pipeline.video.reader import VideoFrame

pytest.importorskip("trackers", reason="trackers is not installed: pip install 'facepipe[video]'")
RATE = 25.0
MODELS = Models(detector=DetectorUsed(version="1", sha256="0"), classifiers={})


def box(x: float, y: float = 100.0, side: float = 40.0) -> Box:
    return Box(x1=x, y1=y, x2=x + side, y2=y + side)


def face(x: float, track: int | None = 1, sure: float = 0.9) -> Face:
    eyes = PointsValue(points={"nose": (x + 20, 120.0)})
    return Face(box=box(x), confidence=sure, head=None, attributes={"eyes": eyes}, reason=None, track=track)


def result(number: int, faces: Sequence[Face], heads: Sequence[Head] = ()) -> Result:
    return Result(
        source="v", width=640, height=480, faces=tuple(faces), heads=tuple(heads), models=MODELS, error=None,
        frame=number, time=number / RATE,
    )  # fmt: skip


def frame(number: int) -> VideoFrame:
    return VideoFrame(number, number / RATE, np.zeros((480, 640, 3), np.uint8))


def places(results: Sequence[Result], reach: Reach, frames: int, every: int = 1) -> list[list[float] | None]:
    """Left sides of the faces in each frame."""
    filler = GapFiller(results, reach, every / RATE, RATE)
    found = [filler.at(frame(number), every) for number in range(frames)]
    return [None if each is None else [round(one.box.x1, 1) for one in each.faces] for each in found]


def test_a_gap_in_a_track_is_interpolated() -> None:
    results = [result(number, [face(10.0 * number)] if number not in (3, 4, 5) else []) for number in range(10)]
    assert places(results, DRAWING, 10) == [[10.0 * number] for number in range(10)]


def test_points_go_along() -> None:
    filler = GapFiller([result(0, [face(0)]), result(1, []), result(2, [face(20)])], DRAWING, 1 / RATE, RATE)
    found = [filler.at(frame(number)) for number in range(3)]
    assert found[1] is not None
    assert found[1].faces[0].attributes == {"eyes": PointsValue(points={"nose": (30.0, 120.0)})}
    assert (found[1].frame, found[1].time) == (1, 0.04)


@pytest.mark.parametrize("gap", [10, 24, 40])
def test_a_gap_that_is_too_long_is_left_when_drawing_and_held_at_its_ends_when_hiding(gap: int) -> None:
    results = [result(number, [face(100.0)] if number < 5 or number >= 5 + gap else []) for number in range(10 + gap)]
    drawn, hidden = (places(results, reach, 10 + gap) for reach in (DRAWING, HIDING))
    assert all(hidden[number] for number in range(10 + gap))
    assert all(drawn[number] for number in range(10 + gap)) == (gap <= 24)


def test_hiding_begins_before_and_ends_after_a_track() -> None:
    results = [result(number, [face(100.0)] if 30 <= number < 50 else []) for number in range(100)]
    hidden = places(results, HIDING, 100)
    there = [number for number, found in enumerate(hidden) if found]
    assert there == list(range(18, 62))  # 0.5 s at each end
    assert hidden[25] == [94.0]  # enlarged by 0.15 of its side
    drawn = places(results, DRAWING, 100)
    assert [number for number, found in enumerate(drawn) if found] == list(range(30, 50))


@pytest.mark.parametrize("every", [2, 5, 12])
def test_frames_between_those_that_are_looked_at_have_boxes(every: int) -> None:
    results = [result(number, [face(4.0 * number)]) for number in range(0, 60, every)]
    for reach in (DRAWING, HIDING):
        found = places(results, reach, 60, every)
        last = results[-1].frame or 0
        assert found[: last + 1] == [[pytest.approx(4.0 * number, abs=0.06)] for number in range(last + 1)]
    assert all(found[last + 1 :])  # hidden to the end


def test_frames_that_nobody_looked_at_are_not_given() -> None:
    """A second reading may go on where the first one broke off; what it gives must not be shown."""
    results = [result(number, []) for number in range(0, 10, 5)]
    assert places(results, HIDING, 14, every=5) == [[]] * 10 + [None] * 4
    assert places([], HIDING, 3) == [None] * 3


@pytest.mark.parametrize("sure", [0.9, 0.3])
def test_faces_without_a_track_and_heads_are_filled_too(sure: float) -> None:
    def heads(number: int) -> list[Head]:
        return [] if number == 3 else [Head(box=box(200 + 2.0 * number, side=80), confidence=sure)]

    results = [result(number, [] if number == 3 else [face(100, None, sure)], heads(number)) for number in range(7)]
    filler = GapFiller(results, HIDING, 1 / RATE, RATE)
    found = [filler.at(frame(number)) for number in range(7)]
    assert all(each is not None and each.faces and each.heads for each in found)


def test_boxes_stay_in_the_frame() -> None:
    results = [result(0, [face(600.0)]), *(result(number, []) for number in range(1, 5))]
    filler = GapFiller(results, HIDING, 1 / RATE, RATE)
    for number in range(5):
        found = filler.at(frame(number))
        assert found is not None
        assert found.faces[0].box.x2 == 640


def test_no_further_ahead_than_needed() -> None:
    """The results are taken as frames are asked for, so neither is memory filled nor the end waited for."""
    taken = []

    def results() -> object:
        for number in range(1000):
            taken.append(number)
            yield result(number, [face(100.0)])

    filler = GapFiller(results(), HIDING, 1 / RATE, RATE)  # type: ignore[arg-type]
    for number in range(500):
        filler.at(frame(number))
    assert len(taken) <= 500 + 2.2 * RATE
    assert sum(map(len, filler._seen.values())) < 120
    assert len(filler._waiting) < 60


def test_frames_of_a_live_source_are_held_back_until_the_results_are_there() -> None:
    kept: deque[VideoFrame] = deque()
    most = 0

    def results() -> object:
        nonlocal most
        for number in range(100):
            kept.append(frame(number))
            most = max(most, len(kept))
            yield result(number, [face(100.0)] if number != 50 else [])

    filler = GapFiller(results(), Reach(0.6, 0.4))  # type: ignore[arg-type]
    found = [(each.number, filler.at(each)) for each in held_frames(filler, kept)]
    assert [number for number, _ in found] == list(range(100))
    assert all(each is not None and each.faces for _, each in found)
    assert most <= 17
