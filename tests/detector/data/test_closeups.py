"""Which box a picture of one face gets."""

from __future__ import annotations

import numpy as np
from facepipe.detector.data.closeups import LEAST_EXAMPLES, OneFace, choose

NO_POINTS = np.zeros((0, 2))


def picture(boxes: list[list[float]], points: np.ndarray = NO_POINTS, source: str = "framed") -> OneFace:
    """Boxes: corners and confidence, in a picture of 200 x 100."""
    rows = np.array(boxes, float).reshape(-1, 5)
    return OneFace(source, 200, 100, rows[:, :4], rows[:, 4], points)


def framed(count: int = LEAST_EXAMPLES) -> list[OneFace]:
    return [picture([[60 + n % 3, 10, 140, 95, 0.9]]) for n in range(count)]


def test_the_most_confident_sure_face_around_the_centre_is_taken() -> None:
    (chosen,) = choose([picture([[0, 0, 40, 40, 0.95], [60, 10, 140, 90, 0.6], [70, 20, 130, 80, 0.5]])])
    assert chosen is not None
    assert not chosen.typical
    np.testing.assert_allclose(chosen.box, [60, 10, 140, 90])
    np.testing.assert_allclose(chosen.ignored, [[0, 0, 40, 40]])  # another's face; the box within its own is not one


def test_points_say_whose_face_it_is() -> None:
    points = np.array([[10.0, 12.0], [30.0, 12.0]])
    (chosen,) = choose([picture([[60, 10, 140, 90, 0.9], [0, 0, 40, 40, 0.4]], points)])
    assert chosen is not None
    np.testing.assert_allclose(chosen.box, [0, 0, 40, 40])


def test_without_a_sure_face_the_typical_box_of_a_source_that_frames_alike_stands_in() -> None:
    *_, missed, elsewhere = choose([*framed(), picture([[60, 10, 140, 90, 0.2]]), picture([[80, 30, 120, 60, 0.8]])])
    for chosen in (missed, elsewhere):
        assert chosen is not None
        assert chosen.typical
        np.testing.assert_allclose(chosen.box, [61, 10, 140, 95])


def test_without_either_the_picture_is_left_out() -> None:
    few = framed(LEAST_EXAMPLES - 1)
    assert choose([*few, picture([])])[-1] is None
    varied = [picture([[100 - n, 50 - n / 3, 100 + n, 50 + n / 3, 0.9]]) for n in range(2, 90, 3)]
    assert choose([*varied, picture([])])[-1] is None


def test_boxes_are_clipped_to_the_picture() -> None:
    (chosen,) = choose([picture([[-20, -5, 190, 120, 0.9]])])
    assert chosen is not None
    np.testing.assert_allclose(chosen.box, [0, 0, 190, 100])
