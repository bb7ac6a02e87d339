"""``facepipe data crop``: finding the labelled face, cutting it, and moving its points along."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import CropSet, read_crops, read_faces
from facepipe.classifier.inference.crop import cut_face
from facepipe.core.errors import DataError
from facepipe.detector.inference.boxes import Detections
from facepipe.pipeline.cli import main
from facepipe.pipeline.datasets.crops import CropOptions, crop_table
from facepipe.pipeline.datasets.face_finder import find_boxes, pick_face
from facepipe.weights.manifest import CropRecipe

from ...classifier.conftest import PLACES, POINTS, draw_face

SCHEMA = read_schema()
CROPS = CropSet(recipe=CropRecipe(margin=0.1, size=64), context=0.25)


class DiscFinder:
    """A detector that finds the drawn faces by their red; a face that touches the sheet's edge escapes it."""

    input = SimpleNamespace(size=192, padding=(114, 114, 114))
    release = SimpleNamespace(label="1.2.3")

    def __init__(self) -> None:
        self.sheets = 0

    def detect(self, frames):
        return [self._one(frame) for frame in frames]

    def _one(self, frame) -> Detections:
        self.sheets += 1
        red = ((frame[..., 2] > 150) & (frame[..., 0] < 90)).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(red, cv2.MORPH_CLOSE, np.ones((9, 9))))
        boxes = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area > 60]
        side = self.input.size
        boxes = [b for b in boxes if min(b) > 1 and max(b) < side - 1]
        array = np.array(boxes, np.float32).reshape(-1, 4)
        return Detections(array, np.ones(len(array), np.float32), np.zeros(len(array), np.int64), ("face", "head"))


def photo(folder: Path, name: str, centres: list[tuple[int, int]], side: int = 60, shape: tuple = (150, 200)):
    """A photo with faces; the points of the first."""
    image = np.full((*shape, 3), 60, np.uint8)
    points = PLACES * side
    for x, y in centres:
        face = draw_face(True, 70, False, points, side)
        image[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = face
    cv2.imwrite(str(folder / name), image)
    x, y = centres[0] if centres else (0, 0)
    return image, points + np.array([x - side / 2, y - side / 2])


def write_csv(folder: Path, rows: list[dict[str, str]]) -> Path:
    columns = ["file", "source", "split", "framing", "gender", "race", "x1", "y1", "x2", "y2"]
    columns += [f"{point}_{axis}" for point in POINTS for axis in "xy"]
    path = folder / "faces.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({"gender": "female", "split": "train"} | row for row in rows)
    return path


def cells(points: np.ndarray) -> dict[str, str]:
    return {
        f"{p}_{axis}": f"{v}" for p, xy in zip(POINTS, points, strict=True) for axis, v in zip("xy", xy, strict=True)
    }


def test_faces_are_found_cut_and_their_points_moved(tmp_path):
    image, points = photo(tmp_path, "two.png", [(50, 60), (150, 100)])
    photo(tmp_path, "none.png", [])
    photo(tmp_path, "small.png", [(40, 40)], 50, (80, 80))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    path = write_csv(
        tmp_path,
        [
            {"file": "two.png", "source": "s", "race": "kept"} | cells(points),
            {"file": "none.png", "source": "s"},
            {"file": "broken.png", "source": "s"},
            {"file": "absent.png", "source": "s"},
            {"file": "small.png", "source": "s"},
            {"file": "small.png", "source": "already"},
            {"file": "two.png", "source": "s", "x1": "120", "y1": "70", "x2": "180", "y2": "130"},
        ],
    )
    out = tmp_path / "out"
    report = crop_table(
        read_faces(path, SCHEMA, must_exist=False), out, CROPS, DiscFinder,
        CropOptions(tight=["already"], extension="png"), lambda line: None,
    )  # fmt: skip
    assert (report.cut, report.tight, report.whole) == (3, 1, 0)
    reasons = dict(report.missed)
    assert reasons.keys() == {"none.png", "broken.png", "absent.png"}
    assert reasons["none.png"] == "no face found"
    assert (out / "missed.csv").read_text().count("\n") == 4
    assert read_crops(out) == CROPS.model_copy(update={"detector": "1.2.3"})

    made = read_faces(out / "faces.csv", SCHEMA)
    assert made.columns["framing"].tolist() == ["crop", "crop", "tight", "crop"]
    assert made.columns["race"][0] == "kept"
    assert made.columns["face_side"][2:].tolist() == ["", "60.0"], (
        "pixels of the face in its photo, which evaluation uses"
    )
    made.require_crops(CROPS.recipe)
    # The points lie on their spots in the stored picture, the face's green dots.
    stored = cv2.imread(str(made.files[0]))
    assert stored.shape == (96, 96, 3)
    for x, y in made.targets["eyes"][0]:
        assert stored[int(y), int(x), 1] > 150
    given = cut_face(image, np.array([120, 70, 180, 130]), CROPS.stored)
    np.testing.assert_array_equal(cv2.imread(str(made.files[3])), given.image)


def test_a_face_that_fills_its_picture_is_found_at_the_second_look(tmp_path):
    """The disc reaches the sheet's edge, where the finder is blind, until there is more border around the picture."""
    frame = np.full((100, 100, 3), 60, np.uint8)
    frame[:, :, 2] = 200
    cv2.imwrite(str(tmp_path / "full.png"), frame)
    path = write_csv(tmp_path, [{"file": "full.png", "source": "s"}])

    class Careful(DiscFinder):
        def _one(self, frame):
            found = super()._one(frame)
            keep = (found.boxes[:, 0] > 40) & (found.boxes[:, 1] > 40)
            return Detections(found.boxes[keep], found.confidence[keep], found.labels[keep], found.classes)

    report = crop_table(
        read_faces(path, SCHEMA), tmp_path / "out", CROPS, Careful, CropOptions(pad=0.5, across=1), lambda line: None
    )
    assert (report.cut, report.retried) == (1, 1)


@pytest.mark.parametrize(("missed", "kept"), [("drop", 0), ("whole", 1)])
def test_pictures_without_a_face(tmp_path, missed, kept):
    photo(tmp_path, "none.png", [])
    photo(tmp_path, "one.png", [(60, 60)])
    path = write_csv(tmp_path, [{"file": "none.png", "source": "s"}, {"file": "one.png", "source": "s"}])
    report = crop_table(
        read_faces(path, SCHEMA), tmp_path / "out", CROPS, DiscFinder, CropOptions(missed=missed), lambda line: None
    )
    assert (report.cut, report.whole, len(report.missed)) == (1, kept, 1 - kept)
    assert len(read_faces(tmp_path / "out" / "faces.csv", SCHEMA)) == 1 + kept


def test_crops_are_not_cut_twice_nor_overwritten(tmp_path):
    photo(tmp_path, "one.png", [(60, 60)])
    path = write_csv(tmp_path, [{"file": "one.png", "source": "s"}])
    table = read_faces(path, SCHEMA)
    crop_table(table, tmp_path / "out", CROPS, DiscFinder, report=lambda line: None)
    with pytest.raises(DataError, match="exists"):
        crop_table(table, tmp_path / "out", CROPS, DiscFinder, report=lambda line: None)
    with pytest.raises(DataError, match="crops already"):
        crop_table(read_faces(tmp_path / "out" / "faces.csv", SCHEMA), tmp_path / "new", CROPS, DiscFinder)


@pytest.mark.parametrize("across", [1, 2, 3])
def test_sheets_give_each_picture_its_own_boxes(tmp_path, across):
    places = [(40, 50), (60, 40), (45, 60), (70, 55), (50, 50), (64, 44), (38, 66), (52, 48), (41, 41), (58, 62)]
    frames = [photo(tmp_path, "x.png", [place], 50, (100, 110))[0] for place in places]
    finder = DiscFinder()
    found = find_boxes(finder, frames, 0.1, across)
    assert finder.sheets == -(-len(frames) // across**2)
    for (boxes, confidence), (x, y) in zip(found, places, strict=True):
        assert boxes.shape == (1, 4)
        assert confidence.shape == (1,)
        np.testing.assert_allclose(boxes[0], [x - 23, y - 23, x + 23, y + 23], atol=4)


def test_the_face_that_the_labels_belong_to():
    boxes = np.array([[0.0, 0, 60, 60], [100, 20, 140, 60], [70, 70, 100, 100]])
    nothing = np.zeros((0, 2))
    assert pick_face(boxes, (200, 200), nothing) == 2  # central
    assert pick_face(boxes[:2], (80, 80), nothing) == 0  # large and central
    assert pick_face(boxes, (200, 200), np.array([(110, 30), (130, 30), (120, 50)])) == 1
    assert pick_face(boxes, (200, 200), np.array([(180.0, 180), (190, 190)])) is None
    assert pick_face(boxes[:0], (200, 200), nothing) is None


def torsos(folder: Path, name: str, centres: list[tuple[int, int]]) -> None:
    """A photo of faces, blue below the first and green below the second, which has a white button."""
    image, _ = photo(folder, name, centres, 60, (320, 420))
    for (x, y), colour in zip(centres, ((200, 0, 0), (0, 200, 0)), strict=False):
        image[y + 40 : y + 290, max(x - 90, 0) : x + 90] = colour
    if len(centres) > 1:
        x, y = centres[1]
        image[y + 106 : y + 115, x - 4 : x + 5] = 255
    cv2.imwrite(str(folder / name), image)


def test_torsos_are_cut_below_the_face_and_their_points_move_along(tmp_path):
    """The labelled points lie on the second face's torso, and tell that it is that one's."""
    torsos(tmp_path, "two.png", [(100, 60), (310, 60)])
    torsos(tmp_path, "low.png", [(200, 280)])
    points = np.array([(300, 150), (330, 150), (310, 170), (300, 190), (330, 190)], float)
    path = write_csv(
        tmp_path,
        [
            {"file": "two.png", "source": "s"} | cells(points),
            {"file": "low.png", "source": "s"},
            {"file": "two.png", "source": "s", "x1": "77", "y1": "37", "x2": "123", "y2": "83"},
        ],
    )
    crops = CropSet(recipe=CropRecipe(region="torso", margin=0.0, size=64), context=0.25)
    out = tmp_path / "out"
    report = crop_table(
        read_faces(path, SCHEMA), out, crops, DiscFinder, CropOptions(across=1, extension="png"), lambda line: None
    )
    assert report.cut == 2
    assert [file for file, _ in report.missed] == ["low.png"]
    assert "torso" in report.missed[0][1]
    assert read_crops(out).recipe.region == "torso"
    made = read_faces(out / "faces.csv", SCHEMA)
    made.require_crops(crops.recipe)
    second, first = (cv2.imread(str(file)) for file in made.files)
    for stored, colour in ((second, (0, 200, 0)), (first, (200, 0, 0))):
        assert (stored[62:78, 62:78] == colour).all()
    x, y = made.targets["eyes"][0][2].astype(int)
    assert (second[y, x] == 255).all(), "the third point lies on the button"
    assert (second == 255).all(axis=2).mean() < 0.05


def test_a_head_is_cut_where_the_detector_found_it(tmp_path):
    _, points = photo(tmp_path, "one.png", [(100, 75)])
    path = write_csv(tmp_path, [{"file": "one.png", "source": "s"} | cells(points)])

    class WithHeads(DiscFinder):
        """A head's box lies around each face's, 20 px above it on a sheet where the photo is 160 px wide."""

        def _one(self, frame):
            faces = super()._one(frame)
            heads = faces.boxes + np.array([-4, -20, 4, 4], np.float32)
            labels = np.repeat([0, 1], len(faces))
            return Detections(np.concatenate([faces.boxes, heads]), np.ones(len(labels)), labels, faces.classes)

    crops = CropSet(recipe=CropRecipe(region="head", margin=0.0, size=64), context=0.0)
    crop_table(
        read_faces(path, SCHEMA),
        tmp_path / "out",
        crops,
        WithHeads,
        CropOptions(across=1, extension="png"),
        lambda line: None,
    )
    stored = cv2.imread(str(tmp_path / "out" / "images" / "one-2.png"))
    red = (stored[..., 2] > 150).any(axis=1)
    face = np.nonzero(red)[0]
    assert face[0] == pytest.approx(64 * 20 / 67, abs=6), "above the face there is the head"
    assert 63 - face[-1] == pytest.approx(64 * 4 / 67, abs=6)


def test_the_command(tmp_path, tiny_weights, photo, capsys):
    """With the detector of random weights: whatever it finds, every row is cut or accounted for."""
    for seed in range(4):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), photo(seed))
    path = write_csv(tmp_path, [{"file": f"{seed}.png", "source": "s"} for seed in range(4)])
    with pytest.raises(SystemExit) as left:
        main(["data", "crop", str(path), "--out", str(tmp_path / "out"), "--size", "32", "--missed", "whole"])
    assert left.value.code == 0
    made = read_faces(tmp_path / "out" / "faces.csv", SCHEMA)
    assert len(made) == 4
    assert "left out" in capsys.readouterr().out
    made.require_crops()
    with pytest.raises(SystemExit) as left:
        main(["data", "crop", str(path), "--out", str(tmp_path / "torso"), "--size", "32", "--region", "torso"])
    assert left.value.code == 0
    assert read_crops(tmp_path / "torso").recipe.region == "torso"
    assert "torso lies" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["data", "crop", str(path), "--out", str(tmp_path / "foot"), "--region", "foot"])
    assert left.value.code == 2
