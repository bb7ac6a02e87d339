"""The training data set reads what the check reads: places of labels, kinds of lines, and nothing is written to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import TrainingError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.training.augmentation import as_recipe
from facepipe.detector.training.torch_dataset import PartlyLabelledDataset
from PIL import Image
from ultralytics.cfg import get_cfg

BOX = (0.44, 0.23, 0.18, 0.24)
POINTS = " 0.4 0.2 0.42 0.21 0.43 0.22 0.44 0.23 0.45 0.24"
YAML = "train: images/train\nval: images/val\nnames: [face]\n"


def opened(yaml: Path) -> PartlyLabelledDataset:
    description = read_description(yaml)
    recipe = as_recipe({}).resolved({}, False)
    return PartlyLabelledDataset(
        img_path=[str(picture.path) for picture in description.pictures["train"]],
        imgsz=64,
        batch_size=2,
        hyp=get_cfg(overrides=recipe.arguments()),
        data={"description": description, "augmentation": recipe, "names": {0: "face"}, "nc": 1, "channels": 3},
    )


@pytest.fixture
def save(photo: Callable[..., np.ndarray]) -> Callable[..., Path]:
    def make(path: Path, line: str | None, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), photo(seed, 60, 80))
        if line is not None:
            label = Path("labels".join(str(path).rsplit("images", 1))).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_bytes(b"\xef\xbb\xbf" + f"{line}\r\n".encode())
        return path

    return make


def test_labels_are_those_that_the_check_reads(tmp_path: Path, save: Callable[..., Path]) -> None:
    box = " ".join(map(str, BOX))
    for number, place in enumerate(("images/train/one/images", "images/train/two", "images/train", "images/val")):
        save(tmp_path / place / f"p{number}.png", f"0 {box}{POINTS if number % 2 else ''}", number)
    (tmp_path / "data.yaml").write_text(f"{YAML}kpt_shape: [5, 2]\n")
    labels = opened(tmp_path / "data.yaml").labels
    assert len(labels) == 3
    for label in labels:
        np.testing.assert_allclose(label["bboxes"], [BOX], rtol=1e-6)
        assert label["shape"] == (60, 80)
        assert not label["segments"]


def test_an_edited_label_of_the_same_length_is_read_anew(tmp_path: Path, save: Callable[..., Path]) -> None:
    for split in ("train", "val"):
        save(tmp_path / f"images/{split}/a.png", "0 0.5 0.5 0.2 0.2")
    (tmp_path / "data.yaml").write_text(YAML)
    assert opened(tmp_path / "data.yaml").labels[0]["bboxes"][0, 2] == pytest.approx(0.2)
    (tmp_path / "labels/train/a.txt").write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.4 0.2\r\n")
    assert opened(tmp_path / "data.yaml").labels[0]["bboxes"][0, 2] == pytest.approx(0.4)


def test_pictures_are_left_as_they_are(tmp_path: Path, save: Callable[..., Path]) -> None:
    save(tmp_path / "images/val/v.png", "0 0.5 0.5 0.2 0.2")
    save(tmp_path / "images/train/a.jpg", "0 0.5 0.5 0.2 0.2")
    whole = (tmp_path / "images/train/a.jpg").read_bytes()
    (tmp_path / "images/train/a.jpg").write_bytes(whole[:-2])  # ultralytics would write it anew
    turned = tmp_path / "images/train/b.tif"
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(turned, tiffinfo={274: 6})
    (tmp_path / "data.yaml").write_text(YAML)
    made = opened(tmp_path / "data.yaml")
    assert [label["shape"] for label in made.labels] == [(60, 80), (80, 60)]
    assert made.load_image(1)[1] == (80, 60)
    assert (tmp_path / "images/train/a.jpg").read_bytes() == whole[:-2]
    for name in ("a.jpg", "b.tif"):
        (tmp_path / "images/train" / name).write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"data\.yaml: No valid images found .*for details: facepipe data check"):
        opened(tmp_path / "data.yaml")
