"""Large JPEGs, decoded at a fraction of their size: what is found and read of them is what every pixel gives."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.classifier.inference.crop import cut_region
from facepipe.core.errors import ImageError
from facepipe.detector.inference.boxes import iou
from facepipe.pipeline.classifiers import Classifiers, Placed
from facepipe.pipeline.inputs.image_reader import Picture, read_frame, read_picture
from PIL import Image

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


def jpeg(width: int, height: int, orientation: int = 1, **options: object) -> bytes:
    """A smooth picture of that stored size."""
    coarse = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    exif, stored = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(stored, "JPEG", exif=exif, quality=95, **options)
    return stored.getvalue()


@pytest.mark.parametrize(
    ("width", "height", "least", "times"),
    [(640, 400, 320, 2), (1281, 963, 320, 4), (963, 2563, 320, 8), (639, 400, 320, 1), (2560, 64, 320, 8)],
)
def test_the_smallest_that_keeps_the_longer_side(width: int, height: int, least: int, times: int) -> None:
    content = jpeg(width, height)
    picture, whole = read_picture(content, least=least), read_frame(content)
    assert (picture.reduction, picture.width, picture.height) == (times, width, height)
    assert picture.view.shape == (-(-height // times), -(-width // times), 3)
    assert max(picture.view.shape) >= least
    small = cv2.resize(whole, picture.view.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - picture.view).mean() < 3
    np.testing.assert_array_equal(picture.frame, whole)
    assert picture.view.shape[1] == -(-width // times), "the view stays what it was"
    assert picture.sha256 == read_picture(content).sha256


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("progressive", [False, True])
def test_a_smaller_one_is_upright_too(orientation: int, progressive: bool) -> None:
    content = jpeg(1282, 801, orientation, progressive=progressive)
    picture, whole = read_picture(content, least=320), read_frame(content)
    assert picture.reduction == 4
    assert (picture.height, picture.width) == whole.shape[:2]
    small = cv2.resize(whole, picture.view.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - picture.view).mean() < 3


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_become_bgr(mode: str) -> None:
    stored = io.BytesIO()
    Image.open(io.BytesIO(jpeg(1280, 800))).convert(mode).save(stored, "JPEG", quality=95)
    picture, whole = read_picture(stored.getvalue(), least=320), read_frame(stored.getvalue())
    assert picture.reduction == (1 if mode == "CMYK" else 4)
    small = cv2.resize(whole, picture.view.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - picture.view).mean() < 3


def test_what_is_no_large_jpeg_is_read_whole(encode: Callable[..., bytes]) -> None:
    frame = read_frame(jpeg(1280, 800))
    for source in (encode(".png", frame), encode(".webp", frame), frame, Image.fromarray(frame)):
        assert read_picture(source, least=320).reduction == 1
    assert read_picture(jpeg(1280, 800)).reduction == 1


def test_a_picture_that_gives_only_its_smaller_form_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = read_picture(jpeg(1280, 800), least=320)
    monkeypatch.setattr("facepipe.pipeline.inputs.image_reader.decode_jpeg", lambda *_: None)
    with pytest.raises(ImageError, match="bytes: the JPEG cannot be decoded at its full size"):
        _ = picture.frame


def test_crops_come_from_the_view_where_it_has_their_pixels(tiny_weights: Path) -> None:
    content = jpeg(2560, 1600)
    whole = read_frame(content)
    classifiers = Classifiers(None)
    recipe = next(iter(classifiers.by_name.values())).served_crop
    side = recipe.size / (1 + 2 * recipe.margin)
    large = np.array([300, 200, 300 + 8.5 * side, 200 + 8.5 * side])
    small = np.array([300, 200, 300 + 2 * side, 200 + 2 * side])

    def cut(box: np.ndarray) -> tuple[Picture, np.ndarray, np.ndarray]:
        picture = read_picture(content, least=320)
        assert picture.reduction == 8
        _, cuts = classifiers.cut([Placed(picture, box[None], [None])])
        (one,) = next(iter(cuts.values()))
        assert one.crop.image is not None
        assert one.crop.side == pytest.approx(box[2] - box[0])
        corners = np.array([[box[0], box[1]], [box[2], box[3]]])
        np.testing.assert_allclose(one.crop.to_frame(one.crop.to_crop(corners)), corners)
        expected = cut_region(whole, box, None, recipe)
        np.testing.assert_allclose(one.crop.to_crop(corners), expected.to_crop(corners), atol=recipe.size / 50)
        assert expected.image is not None
        return picture, one.crop.image, expected.image

    picture, image, expected = cut(large)
    assert picture.stored is not None, "the whole picture was not needed"
    assert np.abs(image.astype(int) - expected).mean() < 3
    picture, image, expected = cut(small)
    assert picture.stored is None
    np.testing.assert_array_equal(image, expected)
    tiny = read_picture(content, least=320)
    readings, cuts = classifiers.cut([Placed(tiny, np.array([[5.0, 5, 5 + recipe.min_side / 2, 7]]), [None])])
    assert not any(cuts.values())
    assert "too small" in "".join(readings[0][0].reasons.values())
    assert tiny.stored is not None


@pytest.fixture
def large_photo(tmp_path: Path) -> Path:
    """The sample photograph at 3,000 x 3,000 pixels, upright only by its EXIF."""
    picture = Image.open(PHOTO).resize((3000, 3000), Image.Resampling.BICUBIC).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "large.jpg", exif=exif, quality=90)
    return tmp_path / "large.jpg"


@pytest.mark.parametrize(("precision", "overlap", "years"), [("float16", 0.98, 1), ("int8", 0.93, 4)])
def test_the_result_is_that_of_every_pixel(large_photo: Path, precision: str, overlap: float, years: float) -> None:
    """An int8 detector's boxes move with any change of the pixels (docs/speed.md), a float one's hardly."""
    with (
        Pipeline(reduced_decode=True, precision=precision) as quick,
        Pipeline(precision=precision) as thorough,
    ):
        ours, theirs = quick.run(large_photo), thorough.run(large_photo)
        assert quick.models.detector.reduced_to == 2 * quick.models.detector.imgsz  # type: ignore[operator]
        assert thorough.models.detector.reduced_to is None
    assert (ours.width, ours.height) == (theirs.width, theirs.height) == (3000, 3000)
    assert ours.source_sha256 == theirs.source_sha256
    (face,), (expected,) = ours.faces, theirs.faces
    sides = [(each.box.x1, each.box.y1, each.box.x2, each.box.y2) for each in (face, expected)]
    assert iou(np.array(sides[:1]), np.array(sides[1:]))[0, 0] >= overlap
    assert face.attributes is not None
    assert expected.attributes is not None
    assert face.attributes["gender"].value == expected.attributes["gender"].value  # type: ignore[union-attr]
    assert face.attributes["age"].value == pytest.approx(expected.attributes["age"].value, abs=years)  # type: ignore[union-attr]
    eyes = [np.array([*each.attributes["eyes"].points.values()]) for each in (face, expected)]  # type: ignore[index,union-attr]
    np.testing.assert_allclose(eyes[0], eyes[1], atol=0.03 * (expected.box.y2 - expected.box.y1))


def test_a_result_does_not_depend_on_who_wants_the_frame(large_photo: Path) -> None:
    with Pipeline(reduced_decode=True) as pipeline:
        alone = pipeline.run(large_photo)
        (kept, frame), (without, none) = (
            next(iter(pipeline.stream([large_photo], frames=frames))) for frames in (True, False)
        )
    assert none is None
    np.testing.assert_array_equal(frame, read_frame(large_photo))
    assert kept.model_dump() == without.model_dump() == alone.model_dump()


def test_a_picture_that_fails_later_is_one_row(large_photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Picture) -> np.ndarray:
        raise ImageError(f"{self.name}: the JPEG cannot be decoded at its full size, only smaller")

    monkeypatch.setattr(Picture, "frame", property(fail))
    small = large_photo.with_name("small.jpg")
    small.write_bytes(PHOTO.read_bytes())
    canvas = np.full((3000, 3000, 3), 128, np.uint8)
    canvas[100:612, 100:612] = read_frame(PHOTO)  # a face of some 90 px: cut out of the whole picture
    cv2.imwrite(str(large_photo), canvas)
    with Pipeline(imgsz=1280, conf=0.5, reduced_decode=True) as pipeline:
        pipeline.least = 1280  # else a face of a 4,000 px picture, for an input of 1,280
        results = pipeline.run([large_photo, small])
    assert "at its full size" in str(results[0].error)
    assert results[1].error is None
    assert len(results[1].faces) == 1
