"""Which found boxes are right: cases by hand, and any case against a plain, slow reading of the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.core.bootstrap import draws
from facepipe.detector.evaluation.matching import BANDS, BIG, EVERY, Match, Scored, Sizes, match, resampled_precision
from hypothesis import given, settings
from hypothesis import strategies as st

NONE = np.zeros((0, 4))


def test_a_box_is_found_once() -> None:
    truth = np.array([[0, 0, 20, 20]], float)
    found = np.array([[0, 0, 20, 20], [1, 0, 21, 20]], float)
    result = match(found, truth, NONE, BIG)
    assert result.correct.tolist() == [True, False]
    assert result.counts.tolist() == [True, True]
    assert result.truth.tolist() == [0, -1]
    assert result.wanted.tolist() == [True]


def test_small_boxes_and_ignored_regions_count_neither_way() -> None:
    truth = np.array([[0, 0, 20, 20], [100, 100, 110, 110]], float)
    found = np.array([[100, 100, 110, 110], [102, 100, 119, 110], [300, 300, 330, 330], [0, 0, 20, 20]], float)
    ignored = np.array([[290, 290, 340, 340]], float)
    result = match(found, truth, ignored, BIG)
    assert result.correct.tolist() == [False, False, False, True]
    # a small truth found; a second, bigger box on it that overlaps too little; one in the ignored region; a hit
    assert result.counts.tolist() == [False, True, False, True]
    assert result.wanted.tolist() == [True, False]


def test_a_truth_in_an_ignore_region_can_be_found() -> None:
    box = np.array([[10, 10, 40, 40]], float)
    result = match(box, box, np.array([[0, 0, 100, 100]], float))
    assert (result.correct.tolist(), result.counts.tolist()) == ([True], [True])


def test_a_box_takes_what_counts_before_what_overlaps_more() -> None:
    truth = np.array([[0, 0, 15, 15], [0, 0, 17, 15]], float)
    found = np.array([[0, 0, 15, 15]], float)
    assert match(found, truth, NONE, EVERY).truth.tolist() == [0]
    assert match(found, truth, NONE, BIG).truth.tolist() == [1]


def test_bands_share_no_size_and_leave_none_out_from_8_px_up() -> None:
    sides = np.array([7.99, 8, 15.99, 16, 31.99, 32, 95.99, 96, 5000])
    held = np.stack([band.holds(sides) for band in BANDS])
    assert held.sum(axis=0).tolist() == [0] + [1] * 8
    assert [str(band) for band in BANDS] == [
        "8-16 px at 640",
        "16-32 px at 640",
        "32-96 px at 640",
        ">= 96 px at 640",
    ]
    assert (str(BIG), str(EVERY)) == (">= 16 px at 640", "of every size")


corner = st.integers(0, 40)
side = st.integers(1, 30)
boxes = st.lists(st.tuples(corner, corner, side, side), max_size=8).map(
    lambda rows: np.array([[x, y, x + w, y + h] for x, y, w, h in rows], float).reshape(-1, 4)
)


@settings(max_examples=300, deadline=None)
@given(boxes, boxes, boxes, st.sampled_from([EVERY, BIG, Sizes(8, 16), Sizes(5, 20)]))
def test_any_case_is_as_the_protocol_reads(
    found: np.ndarray, truth: np.ndarray, ignored: np.ndarray, sizes: Sizes
) -> None:
    result = match(found, truth, ignored, sizes)
    taken, correct, counts = _slowly(found.tolist(), truth.tolist(), ignored.tolist(), sizes)
    assert result.truth.tolist() == taken
    assert result.correct.tolist() == correct
    assert result.counts.tolist() == counts


def _slowly(found: list, truth: list, ignored: list, sizes: Sizes) -> tuple[list[int], list[bool], list[bool]]:
    def common(a: list, b: list) -> float:
        return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))

    def area(a: list) -> float:
        return (a[2] - a[0]) * (a[3] - a[1])

    def inside(a: list) -> bool:
        return sizes.low <= max(a[2] - a[0], a[3] - a[1]) < sizes.high

    free, taken, correct, counts = set(range(len(truth))), [], [], []
    for box in found:
        choice = -1
        for counted in (True, False):
            overlaps = {
                t: common(box, truth[t]) / (area(box) + area(truth[t]) - common(box, truth[t]))
                for t in sorted(free)
                if inside(truth[t]) == counted
            }
            enough = [t for t in overlaps if overlaps[t] >= 0.5]
            if enough:
                choice = max(enough, key=lambda t: (overlaps[t], -t))
                break
        free.discard(choice)
        taken.append(choice)
        correct.append(choice >= 0 and inside(truth[choice]))
        if choice >= 0:
            counts.append(inside(truth[choice]))
        else:
            hidden = any(common(box, region) > 0.5 * area(box) for region in ignored)
            counts.append(inside(box) and not hidden)
    return taken, correct, counts


def test_average_precision_by_hand() -> None:
    # Right, wrong, right of three to find: precision 1 up to a recall of 1/3, then 2/3 up to 2/3.
    scored = Scored(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 3)
    assert scored.average_precision() == pytest.approx((1 + 2 / 3) / 3)
    assert scored.at(0.85) == (1.0, pytest.approx(1 / 3))
    recall, precision, confidence = scored.curve()
    assert recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert confidence.tolist() == [0.9, 0.8, 0.7]
    # A later box lifts the precision of those before it: wrong, right, right of two.
    assert Scored(np.array([0.9, 0.8, 0.7]), np.array([False, True, True]), 2).average_precision() == pytest.approx(
        2 / 3
    )


def test_nothing_to_find_has_no_average_precision() -> None:
    scored = Scored(np.array([]), np.array([], bool), 0)
    assert scored.average_precision() is None
    assert scored.at(0.5) == (None, None)
    assert Scored(np.array([]), np.array([], bool), 3).average_precision() == 0


def test_scores_are_joined_over_pictures() -> None:
    box, far = np.array([[0, 0, 20, 20]], float), np.array([[50, 50, 90, 90]], float)
    parts = [(np.array([0.5]), match(box, box, NONE)), (np.array([0.8]), match(far, box, NONE))]
    joined = Scored.joined(parts)
    assert joined.positives == 2
    assert joined.confidence.tolist() == [0.5, 0.8]
    assert joined.average_precision() == pytest.approx(0.25)
    assert Scored.joined([]).positives == 0


def picture(confidence: list[float], correct: list[bool], wanted: int) -> tuple[np.ndarray, Match]:
    """A picture of a hand-made table: found boxes, all of which count, and how many boxes there are to find."""
    right = np.array(correct, bool)
    return np.array(confidence), Match(np.full(len(right), -1), right, np.ones(len(right), bool), np.ones(wanted, bool))


TABLE = [
    picture([0.9, 0.8, 0.3], [True, False, True], 2),
    picture([0.95, 0.2], [False, False], 1),
    picture([], [], 1),
    picture([0.7, 0.6, 0.5, 0.1], [True, True, False, False], 3),
    picture([0.4], [False], 0),
]
"""Of five pictures; the last has nothing to find."""


def test_resampling_draws_whole_pictures() -> None:
    drawn = resampled_precision(TABLE, 60)
    for value, times in zip(drawn, draws(len(TABLE), 60), strict=True):
        parts = [part for part, count in zip(TABLE, times, strict=True) for _ in range(count)]
        wanted = Scored.joined(parts).average_precision()
        assert value == pytest.approx(np.nan if wanted is None else wanted, nan_ok=True)
    assert len(set(drawn.tolist())) > 20


def test_resampling_of_nothing_right_and_of_nothing_to_find() -> None:
    assert resampled_precision([TABLE[1], TABLE[2]], 5).tolist() == [0.0] * 5
    assert np.isnan(resampled_precision([TABLE[4]], 5)).all()
    assert resampled_precision([picture([0.9], [True], 1)] * 3, 5).tolist() == [1.0] * 5
