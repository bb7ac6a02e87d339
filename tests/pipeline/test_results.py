"""What one does with a result: look at it, go through its faces, keep it."""

from __future__ import annotations

import base64
import os
import pickle
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import facepipe
import numpy as np
import pytest
from facepipe import FacepipeError, ImageError, Pipeline, Result
from PIL import Image

from .test_adapters import result as made

Photo = Callable[..., np.ndarray]


@pytest.fixture
def pipeline(tiny_weights: Path) -> Pipeline:
    return Pipeline(threads=1)


@pytest.fixture
def path(tmp_path: Path, photo: Photo) -> Path:
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), photo(0))
    return file


def test_a_result_is_gone_through_by_its_faces() -> None:
    result = made()
    assert len(result) == 2
    assert list(result) == list(result.faces) == [result[0], result[1]]
    empty = result.model_copy(update={"faces": ()})
    assert len(empty) == 0
    assert empty, "a result is there, whether or not there are faces"


def test_plain_data_is_what_the_json_says() -> None:
    result = made()
    assert Result.model_validate(result.to_dict()) == result
    assert result.to_dict()["faces"][0]["box"] == {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_a_repr_has_one_to_three_lines(count: int) -> None:
    result = made()
    many = result.model_copy(update={"faces": result.faces[:1] * count})
    lines = repr(many).splitlines()
    assert 1 <= len(lines) <= 3
    assert f"{count} face" in lines[0]
    assert all(len(line) <= 120 for line in lines)
    failed = result.model_copy(update={"error": "e" * 500, "source": "s" * 500, "faces": ()})
    assert len(repr(failed)) < 320


def test_every_kind_of_source_can_be_drawn(pipeline: Pipeline, path: Path, photo: Photo) -> None:
    frame = photo(0)
    for source in (path, str(path), path.read_bytes(), frame, Image.fromarray(frame[..., ::-1])):
        for result in (pipeline.run(source), pipeline.run([source])[0]):
            assert np.array_equal(result.plot(), facepipe.draw(frame, result))
            assert np.array_equal(result.plot(frame), result.plot())


def test_a_result_of_a_stream_takes_its_frame(pipeline: Pipeline, photo: Photo) -> None:
    ((result, frame),) = pipeline.stream([photo(0)])
    with pytest.raises(ImageError, match=r"result\.plot\(frame\)"):
        result.plot()
    assert np.array_equal(result.plot(frame), facepipe.draw(photo(0), result))


def test_the_picture_is_no_part_of_the_result(pipeline: Pipeline, photo: Photo) -> None:
    result, again = pipeline.run(photo(0)), pipeline.run(photo(0))
    assert result == again
    assert Result.model_validate_json(result.model_dump_json()) == result
    assert set(result.to_dict()) == set(Result.model_fields) - {"saved"}
    other = pickle.loads(pickle.dumps(result))
    assert other == result
    assert len(pickle.dumps(result)) < photo(0).nbytes
    with pytest.raises(ImageError, match="does not hold its picture"):
        other.plot()


def test_a_picture_that_is_gone_or_another(pipeline: Pipeline, path: Path, photo: Photo) -> None:
    result = pipeline.run(path)
    with pytest.raises(ImageError, match="the picture has 99 x 88 pixels, the result 160 x 120"):
        result.plot(np.zeros((88, 99, 3), np.uint8))
    path.unlink()
    with pytest.raises(ImageError, match="no such file"):
        result.plot()
    (failed,) = pipeline.run([path])
    with pytest.raises(ImageError, match="there is no picture to draw on"):
        failed.plot(photo(0))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_saved_pictures_are_what_is_drawn(pipeline: Pipeline, path: Path, tmp_path: Path, suffix: str) -> None:
    result = pipeline.run(path)
    target = result.save(tmp_path / f"drawn{suffix}")
    saved = cv2.imread(str(target))
    assert saved is not None
    assert np.abs(saved.astype(int) - result.plot()).mean() < 6
    for wrong in (tmp_path / "drawn.txt", tmp_path / "drawn", target / "drawn.png"):
        with pytest.raises(FacepipeError, match=re.escape(str(wrong))):
            result.save(wrong)


def test_crops_are_the_boxes(pipeline: Pipeline, photo: Photo) -> None:
    frame = photo(0)
    result = pipeline.run(frame)
    assert result.faces
    for crop, wide, face in zip(result.crops(), result.crops(margin=0.5), result, strict=True):
        box = face.box
        assert np.array_equal(crop, frame[int(box.y1) : int(np.ceil(box.y2)), int(box.x1) : int(np.ceil(box.x2))])
        assert wide.shape[0] >= crop.shape[0]
        assert wide.shape[1] >= crop.shape[1]


def test_a_notebook_shows_the_picture_and_a_table(
    pipeline: Pipeline, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = tmp_path / "<b>&x.png"
    shutil.copy(path, evil)
    monkeypatch.chdir(tmp_path)  # a long path is cut short
    html = pipeline.run(evil.name)._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;x.png" in html
    content = base64.b64decode(re.search(r'base64,([^"]+)"', html)[1])  # type: ignore[index]
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape) <= 800
    assert html.count("<tr>") == 1 + len(pipeline.run(evil).faces)
    evil.unlink()
    assert "<img" not in made()._repr_html_()
    assert "<table>" in made()._repr_html_()


def test_showing_without_a_display(pipeline: Pipeline, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FacepipeError, match="no display"):
        pipeline.run(photo(0)).show()


def test_showing_opens_a_window_until_a_key(pipeline: Pipeline, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    shown: list[Any] = []
    pressed = iter([-1, -1, ord("a")])

    def note(name: str, *given: Any) -> int:
        called.append(name)
        shown.append(given)
        return next(pressed) if name == "waitKey" else 0

    monkeypatch.setattr("facepipe.pipeline.drawing.window.check_display", lambda instead: None)
    for name in ("namedWindow", "resizeWindow", "imshow", "waitKey", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, partial(note, name))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, asked: 1.0)
    result = pipeline.run(path)
    result.show()
    assert called == ["namedWindow", "resizeWindow", "imshow", *3 * ["waitKey"], "destroyAllWindows"]
    title, picture = shown[2]
    assert title == os.fspath(path)
    assert np.array_equal(picture, result.plot())


def test_faces_can_be_hidden_by_one_call(pipeline: Pipeline, photo: Photo) -> None:
    frame = photo(0)
    result = pipeline.run(frame)
    assert result.heads
    hidden = facepipe.anonymize(frame, result)
    assert hidden.shape == frame.shape
    assert not np.array_equal(hidden, frame)
    assert not np.array_equal(hidden, facepipe.anonymize(frame, result, "pixelate", "heads"))
