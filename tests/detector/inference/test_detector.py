"""``FaceDetector``: free and fixed input sizes, batches of mixed shapes, and the input it builds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import FaceDetector
from facepipe.core.errors import WeightsError
from facepipe.detector.inference.boxes import Detections
from facepipe.detector.inference.detector import BATCH, BATCH_PIXELS
from facepipe.detector.inference.preprocessing import GREY, InputBuffer, fit, letterbox
from facepipe.weights.manifest import InputSpec
from facepipe.weights.release import Release
from hypothesis import given
from hypothesis import strategies as st

SHAPES = ((50, 80), (90, 40), (64, 64), (50, 80), (300, 10), (31, 33)) * 4


class Recorder:
    """A session that notes the shapes of its inputs."""

    def __init__(self, session: Any):
        self.session = session
        self.shapes: list[tuple[int, ...]] = []

    def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.shapes.extend(array.shape for array in inputs.values())
        return self.session.run(outputs, inputs)


def same(one: Sequence[Detections], other: Sequence[Detections]) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.labels.tolist() == b.labels.tolist()
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
        np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-5)


def test_a_free_size_changes_nothing_for_square_frames(
    detector_release: Release, dynamic_release: Release, photo: Callable[..., np.ndarray]
) -> None:
    frames = [photo(seed, 100, 100) for seed in range(4)]
    fixed = FaceDetector(release=detector_release).detect(frames)
    assert sum(map(len, fixed)) > 0
    same(fixed, FaceDetector(release=dynamic_release).detect(frames))


@pytest.mark.parametrize("batch_pixels", [1, BATCH_PIXELS])
def test_frames_of_mixed_shapes_keep_their_order(
    dynamic_release: Release, photo: Callable[..., np.ndarray], batch_pixels: int
) -> None:
    """On a CPU each frame has a call of its own; elsewhere those with inputs of one shape share one."""
    detector = FaceDetector(release=dynamic_release)
    assert detector.batch_pixels == 1
    frames = [photo(seed, height, width) for seed, (height, width) in enumerate(SHAPES)]
    alone = [detector.detect([frame])[0] for frame in frames]
    detector.batch_pixels = batch_pixels
    detector.session = recorder = Recorder(detector.session)
    together = detector.detect(frames)
    assert sum(map(len, together)) > 0
    same(alone, together)
    if batch_pixels == 1:
        assert {shape[0] for shape in recorder.shapes} == {1}
    else:  # two of the six shapes are narrow enough for 32 px of width; the others fill 64 x 64, 8 at a time
        assert sorted(recorder.shapes) == [(8, 3, 64, 32), (BATCH, 3, 64, 64), (BATCH, 3, 64, 64)]


def test_large_inputs_come_in_smaller_batches(dynamic_release: Release, photo: Callable[..., np.ndarray]) -> None:
    detector = FaceDetector(release=dynamic_release, imgsz=1280)
    detector.batch_pixels = BATCH_PIXELS
    detector.session = recorder = Recorder(detector.session)
    detector.detect([photo(seed) for seed in range(5)])
    assert recorder.shapes == [(2, 3, 960, 1280), (2, 3, 960, 1280), (1, 3, 960, 1280)]


def test_a_free_size_is_rounded_up_and_finds_other_things(
    dynamic_release: Release, photo: Callable[..., np.ndarray]
) -> None:
    for asked, used in ((None, 64), (1, 32), (64, 64), (65, 96), (960, 960)):
        detector = FaceDetector(release=dynamic_release, imgsz=asked)
        assert detector.imgsz == used
        detector.session = recorder = Recorder(detector.session)
        found = detector.detect([photo(1, 40, 80)])[0]
        assert recorder.shapes == [(1, 3, -(-used // 64) * 32, used)]
        assert (found.boxes[:, [0, 2]] <= 80).all()
        assert (found.boxes[:, [1, 3]] <= 40).all()
    assert len(FaceDetector(release=dynamic_release, imgsz=256).detect([photo(1)])[0]) > len(
        FaceDetector(release=dynamic_release).detect([photo(1)])[0]
    )
    assert "96 px, padded" in FaceDetector(release=dynamic_release, imgsz=96).input_text


def test_a_fixed_size_takes_no_other(detector_release: Release, dynamic_release: Release) -> None:
    assert FaceDetector(release=detector_release, imgsz=50).imgsz == 64
    assert FaceDetector(release=detector_release).input_text == "64 px square"
    with pytest.raises(WeightsError, match=r"detector 99\.0\.0 cannot run at imgsz 96; it takes 64 only"):
        FaceDetector(release=detector_release, imgsz=96)
    for size in (0, -64):
        with pytest.raises(WeightsError, match=f"imgsz {size}; it takes any multiple of 32 from 32"):
            FaceDetector(release=dynamic_release, imgsz=size)


def spec(**fields: Any) -> InputSpec:
    return InputSpec(name="images", size=64, layout="NCHW", **{"colour": "RGB", "scale": 1 / 255, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"padding": (114, 114, 114)},
        {"colour": "BGR", "padding": (1, 2, 3)},
        {"scale": 1.0, "mean": (123.7, 116.8, 103.9), "std": (58.4, 57.1, 57.4), "padding": (0, 50, 200)},
    ],
)
def test_the_buffer_holds_letterboxed_and_normalised_frames(fields: dict[str, Any]) -> None:
    """Against the plain formula; frames of many shapes one after another, so that nothing of an earlier one stays."""
    random = np.random.default_rng(2)
    expects = spec(**fields)
    buffer = InputBuffer(expects)
    for stride in (None, 32):
        for height, width in ((64, 64), (20, 100), (200, 30), (9, 9), (64, 40), (1, 70)):
            frames = [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2)]
            box = fit(width, height, 64, stride)
            got = buffer.fill(frames, [box, box])
            assert got.dtype == np.float32
            for one, frame in zip(got, frames, strict=True):
                padded, _ = letterbox(frame, 64, expects.padding or GREY, stride)
                pixels = padded.astype(np.float64)[:, :, :: -1 if expects.colour == "RGB" else 1]
                expected = (pixels * expects.scale - expects.mean) / expects.std
                np.testing.assert_allclose(one, expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-5)


def test_the_buffer_is_used_again_but_not_by_two_threads() -> None:
    buffer = InputBuffer(spec())
    frame = np.full((64, 64, 3), 255, np.uint8)
    box = fit(64, 64, 64)
    first = buffer.fill([frame], [box])
    assert np.shares_memory(first, buffer.fill([frame], [box]))
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: buffer.fill([frame * 0], [box])).result()
    assert not np.shares_memory(first, other)
    assert first.min() == 1.0


def test_threads_may_share_a_detector(dynamic_release: Release, photo: Callable[..., np.ndarray]) -> None:
    detector = FaceDetector(release=dynamic_release)
    frames = [photo(seed, height, width) for seed, (height, width) in enumerate(SHAPES)]
    expected = detector.detect(frames)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: detector.detect(frames), range(8)):
            same(expected, got)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 64, 160]))
def test_a_rectangle_is_the_least_that_holds_the_frame(height: int, width: int, size: int) -> None:
    padded, box = letterbox(np.full((height, width, 3), 7, np.uint8), size, stride=32)
    square = fit(width, height, size)
    assert (box.scale, box.inner) == (square.scale, square.inner)
    for side, inner in zip(padded.shape[1::-1], box.inner, strict=True):
        assert side % 32 == 0
        assert side - 32 < inner <= side <= size
    place = np.argwhere((padded == 7).all(axis=2))
    assert tuple(place.max(axis=0) + 1 - place.min(axis=0)) == box.inner[::-1]
    corners = np.array([[*place.min(axis=0)[::-1], *(place.max(axis=0)[::-1] + 1)]], float)
    assert np.abs(box.to_frame(corners)[0] - [0, 0, width, height]).max() <= 1 / box.scale + 1e-3


@pytest.mark.parametrize(("width", "height"), [(4001, 3003), (2560, 640), (1280, 6400)])
def test_a_frame_that_is_halved_first_is_nearly_the_mean_of_its_pixels(
    width: int, height: int, photo: Callable[..., np.ndarray]
) -> None:
    frame = cv2.resize(photo(3, height // 8, width // 8), (width, height), interpolation=cv2.INTER_CUBIC)
    box = fit(width, height, 640)
    expected = cv2.resize(frame, box.inner, interpolation=cv2.INTER_AREA)
    found = box.resize(frame)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 1
