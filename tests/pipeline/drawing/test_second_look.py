"""For hiding, more is looked for than for telling: by a lower confidence, on a second scale, and turned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Box, FaceDetector, read_frame
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.drawing.second_look import COARSE, SecondLook, _large_at_border, _turned_back
from facepipe.weights.store import PACKAGE_ROOT

ASTRONAUT = Path(__file__).parents[3] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    if not (PACKAGE_ROOT / "detector" / "1.0.0").is_dir():
        pytest.skip("the shipped detector is not here")
    return FaceDetector("1.0.0")


@pytest.mark.parametrize("quarter", range(4))
def test_boxes_of_a_turned_picture_come_back_to_their_place(quarter: int) -> None:
    frame = np.zeros((100, 160, 3), np.uint8)
    frame[20:50, 30:90] = 255
    rows, columns = np.nonzero(np.rot90(frame, quarter)[..., 0])
    turned = Box(x1=columns.min(), y1=rows.min(), x2=columns.max() + 1, y2=rows.max() + 1)
    (back,) = _turned_back([turned], quarter, frame)
    assert (back.x1, back.y1, back.x2, back.y2) == (30, 20, 90, 50)


@pytest.mark.parametrize("turn", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE])
def test_a_lying_face_is_found(turn: int, detector: FaceDetector) -> None:
    frame = read_frame(ASTRONAUT)
    box = detector.detect([frame])[0].of("face").boxes[0]
    mask = np.zeros(frame.shape[:2], np.uint8)
    mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 1
    lying = cv2.rotate(frame, turn)
    wanted = cv2.rotate(mask, turn)
    covered = np.zeros_like(wanted)
    for each in SecondLook(detector.with_confidence(0.5), "faces", 0.5).find(lying):
        covered[max(0, int(each.y1)) : int(each.y2), max(0, int(each.x1)) : int(each.x2)] = 1
    assert np.logical_and(covered, wanted).sum() > 0.8 * wanted.sum()


def test_where_the_first_look_finds_something_it_is_the_only_one(detector: FaceDetector) -> None:
    sizes: list[int] = []

    class Watched(SecondLook):
        def __init__(self) -> None:
            super().__init__(detector, "faces")
            for look in self._looks:
                setattr(look, "detect", noting(look))  # noqa: B010

    def noting(look: FaceDetector) -> Callable[[list[np.ndarray]], list[Detections]]:
        real = look.detect

        def detect(frames: list[np.ndarray]) -> list[Detections]:
            sizes.append(look.imgsz)
            return real(frames)

        return detect

    look = Watched()
    frame = read_frame(ASTRONAUT)
    assert look.find(frame)
    assert sizes == [640]
    sizes.clear()
    look.find(np.full((200, 300, 3), 127, np.uint8))
    assert sorted(sizes) == sorted([640] * 4 + [COARSE] * 4)
    sizes.clear()
    look.find(np.full((200, 300, 3), 127, np.uint8), turns=False)
    assert sizes == [640, COARSE]


@pytest.mark.parametrize(
    ("box", "large"),
    [((0, 10, 90, 150), True), ((0, 10, 20, 30), False), ((30, 30, 170, 170), False), ((150, 40, 299, 120), True)],
)
def test_what_is_large_at_the_border(box: tuple[float, ...], large: bool) -> None:
    found = Detections(np.array([box], np.float32), np.ones(1, np.float32), np.zeros(1, int), ("face", "head"))
    assert _large_at_border(found, np.zeros((200, 300, 3), np.uint8)) == large


def test_the_summary_lists_what_has_nothing_hidden(
    tiny_weights: Path, tmp_path: Path, photo: Callable[..., np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    from facepipe.pipeline.cli import main

    cv2.imwrite(str(tmp_path / "a.png"), photo(0))
    cv2.imwrite(str(tmp_path / "b.png"), photo(1))
    review = tmp_path / "review.txt"
    for confidence, bare in (("0", 0), ("1", 2)):
        options = ["--save", str(tmp_path / f"out{confidence}"), "--blur", "heads", "--review", str(review)]
        options += ["--conf", confidence, "--hide-conf", confidence]
        with pytest.raises(SystemExit) as ended:
            main(["detect", str(tmp_path / "a.png"), str(tmp_path / "b.png"), *options])
        assert not ended.value.code
        assert len(review.read_text().splitlines()) == bare
        said = capsys.readouterr().err
        assert ("nothing was hidden in 2 of 2" in said) == (bare == 2)
        assert (str(tmp_path / "a.png") in said) == (bare == 2)
    with pytest.raises(SystemExit) as ended:
        main(["detect", str(tmp_path / "a.png"), "--review", str(review)])
    assert ended.value.code == 2
    capsys.readouterr()
