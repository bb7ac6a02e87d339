"""Tiled detection: what is joined and dropped, on made boxes and with a detector that finds bright rectangles."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.core.errors import MissingExtraError, WeightsError
from facepipe.detector.inference.boxes import Detections
from facepipe.detector.inference.preprocessing import letterbox
from facepipe.detector.inference.tiling import OVERLAP, add_tiles, detect_tiles, gaps_to_edges, join
from facepipe.weights.release import Release

FRAME = (1000, 800)
SIDE = 400
FACE, HEAD = 0, 1
Found = Sequence[tuple[tuple[float, float, float, float], float, int]]


def detections(found: Found) -> Detections:
    found = sorted(found, key=lambda one: -one[1])
    return Detections(
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([confidence for _, confidence, _ in found], np.float32),
        np.array([label for _, _, label in found], np.int64),
        ("face", "head"),
    )


def joined(whole: Found, tiles: Mapping[tuple[int, int], Found], most: int = 100) -> list[list[int]]:
    """The boxes that stay of those of the whole and of the tiles (by left and top), all in pixels of the frame."""
    parts = [(detections(found), place) for place, found in tiles.items()]
    gaps = [gaps_to_edges(found.boxes - [*place, *place], SIDE, SIDE) for found, place in parts]
    tiled = Detections(
        np.concatenate([found.boxes for found, _ in parts] or [np.zeros((0, 4))]),
        np.concatenate([found.confidence for found, _ in parts] or [np.zeros(0)]),
        np.concatenate([found.labels for found, _ in parts] or [np.zeros(0, int)]),
        ("face", "head"),
    )
    every = np.concatenate([*gaps, np.zeros((0, 4))])
    return join(detections(whole), tiled, every, FRAME, SIDE * OVERLAP, 0.4, 0.5, most).boxes.astype(int).tolist()


def test_a_face_on_a_tile_border_gives_one_box() -> None:
    whole_face = (370, 100, 430, 160)  # the first tile ends at 400, the second begins at 320
    tiles = {(0, 0): [((370, 100, 400, 160), 0.9, FACE)], (320, 0): [(whole_face, 0.6, FACE)]}
    assert joined([], tiles) == [list(whole_face)]
    # Both tiles have the whole of it: the surer box stays.
    seen_twice = {(0, 0): [((330, 100, 380, 160), 0.7, FACE)], (320, 0): [((331, 101, 380, 160), 0.8, FACE)]}
    assert joined([], seen_twice) == [[331, 101, 380, 160]]


def test_a_face_larger_than_the_overlap_is_the_whole_looks() -> None:
    big = (300, 100, 500, 330)
    parts = {(0, 0): [((300, 100, 400, 330), 0.95, FACE)], (320, 0): [((320, 100, 500, 330), 0.9, FACE)]}
    assert joined([(big, 0.8, FACE)], parts) == [list(big)]
    # Where the whole look missed it, the longer parts are better than nothing; shorter ones never are.
    assert joined([], parts) == [[300, 100, 400, 330], [320, 100, 500, 330]]
    assert joined([], {(0, 0): [((340, 100, 400, 330), 0.95, FACE)]}) == []
    # A part in a head is covered by heads only.
    assert len(joined([(big, 0.8, HEAD)], parts)) == 3


def test_the_edge_of_the_frame_cuts_nothing() -> None:
    at_edges = [((0, 100, 30, 160), 0.9, FACE), ((100, 0, 160, 20), 0.8, FACE)]
    assert joined([], {(0, 0): at_edges}) == [[0, 100, 30, 160], [100, 0, 160, 20]]
    last = [((960, 760, 1000, 800), 0.9, FACE)]
    assert joined([], {(600, 400): last}) == [[960, 760, 1000, 800]]
    assert joined([], {(600, 400): [((600, 760, 640, 800), 0.9, FACE)]}) == []


def test_small_boxes_of_the_whole_look_are_left_to_the_tiles() -> None:
    """16 px at a scale of 0.4 are 40 px of the frame."""
    assert joined([((100, 100, 139, 139), 0.9, FACE), ((500, 500, 540, 541), 0.8, FACE)], {}) == [[500, 500, 540, 541]]
    coarse, fine = ((100, 100, 136, 136), 0.9, FACE), ((112, 110, 138, 140), 0.5, FACE)
    assert joined([coarse], {(0, 0): [fine]}) == [[112, 110, 138, 140]]


def test_classes_stay_apart_and_the_surest_come_first() -> None:
    face, head = ((100, 100, 150, 150), 0.5, FACE), ((98, 98, 150, 150), 0.9, HEAD)
    assert joined([face], {(0, 0): [head]}) == [[98, 98, 150, 150], [100, 100, 150, 150]]
    assert joined([face], {(0, 0): [head]}, most=1) == [[98, 98, 150, 150]]
    assert joined([], {}) == []


class Rectangles:
    """Finds bright rectangles on black, exactly at full size, as a detector would: in the input that it is given."""

    imgsz, iou, max_detections, classes = 128, 0.5, 1000, ("face", "head")
    tiles_seen: list[tuple[int, int]]

    def detect_whole(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        self.tiles_seen = [*getattr(self, "tiles_seen", []), *(frame.shape[:2] for frame in frames)]
        return [self._find(frame) for frame in frames]

    def _find(self, frame: np.ndarray) -> Detections:
        square, box = letterbox(frame, self.imgsz, (0, 0, 0))
        count, _, stats, _ = cv2.connectedComponentsWithStats((square[:, :, 0] > 100).astype(np.uint8))
        corners = stats[1:count, :2], stats[1:count, :2] + stats[1:count, 2:4]
        boxes = box.to_frame(np.concatenate(corners, axis=1).astype(float))
        big = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) * box.scale >= 5
        boxes = boxes[big]
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64), self.classes)


@pytest.mark.parametrize("seed", range(6))
def test_rectangles_anywhere_are_found_once_and_whole(seed: int) -> None:
    """Of 6 to 90 px, with tiles of 128 px that overlap by 26: small, on borders and corners, and larger than that."""
    pytest.importorskip("supervision", reason="needs the extra tiles")
    random = np.random.default_rng(seed)
    height, width = (500, 700) if seed % 2 else (620, 100)
    frame, truth = np.zeros((height, width, 3), np.uint8), []
    taken = np.zeros((height, width), bool)
    for _ in range(300):
        w, h = random.choice([60, 90] if random.random() < 0.2 else [6, 9, 14, 22], 2)
        x, y = random.integers(0, width - w), random.integers(0, height - h)
        if not taken[max(0, y - 20) : y + h + 20, max(0, x - 20) : x + w + 20].any():
            taken[y : y + h, x : x + w] = True
            frame[y : y + h, x : x + w] = 255
            truth.append([x, y, x + w, y + h])
    finder = Rectangles()
    whole = finder.detect_whole([frame])[0]
    found = add_tiles(frame, whole, finder.detect_whole, 128, finder.imgsz, finder.iou, finder.max_detections)
    assert len(whole) < len(truth) == len(found)
    for box in found.boxes:
        # The large ones are found in the whole look, where a pixel is up to 5.5 of the frame.
        tolerance = 1e-3 if (box[2:] - box[:2]).max() <= 26 else 1.5 * max(height, width) / 128
        assert np.abs(np.array(truth) - box).max(axis=1).min() <= tolerance


def test_the_parts_are_there_before_they_are_dropped() -> None:
    pytest.importorskip("supervision", reason="needs the extra tiles")
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[60:70, 120:136] = 255  # the first tile ends at 128
    tiled, gaps = detect_tiles(frame, Rectangles().detect_whole, 128, ("face", "head"))
    assert sorted(tiled.boxes.astype(int).tolist()) == [[120, 60, 128, 70], [120, 60, 136, 70]]
    assert gaps.min(axis=1).tolist().count(0) == 1
    empty, none = detect_tiles(frame * 0, Rectangles().detect_whole, 128, ("face", "head"))
    assert len(empty) == len(none) == 0


def test_only_frames_larger_than_a_tile_are_tiled(dynamic_release: Release, photo: Callable[..., np.ndarray]) -> None:
    pytest.importorskip("supervision", reason="needs the extra tiles")
    frames = [photo(0, 64, 50), photo(1, 150, 200), photo(2, 30, 64), photo(3, 65, 64)]
    plain, tiled = FaceDetector(release=dynamic_release), FaceDetector(release=dynamic_release, tiles=True)
    assert (plain.tiles, tiled.tiles) == (None, 64)
    once, more = plain.detect(frames), tiled.detect(frames)
    for index in (0, 2):
        assert once[index].boxes.tolist() == more[index].boxes.tolist()
    assert len(more[1]) > len(once[1])
    assert len(more[1]) <= tiled.max_detections
    assert (np.diff(more[1].confidence) <= 0).all()
    assert (more[1].boxes <= [200, 150, 200, 150]).all()
    assert more[1].boxes.dtype == np.float32
    large = FaceDetector(release=dynamic_release, tiles=200)
    assert [each.boxes.tolist() for each in large.detect(frames)] == [each.boxes.tolist() for each in once]
    assert "in tiles of 200 px" in large.input_text
    assert tiled.detect([]) == []


def test_bad_tiles_and_a_missing_supervision(dynamic_release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (0, 31, -640):
        with pytest.raises(WeightsError, match=f"tiles of {size} px: they must have at least 32"):
            FaceDetector(release=dynamic_release, tiles=size)
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facepipe\[tiles\]'"):
        FaceDetector(release=dynamic_release, tiles=True)
    FaceDetector(release=dynamic_release)
