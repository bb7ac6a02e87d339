"""A run's history: rows take their place again after a kill, means lead up to them, and its picture is drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.training.curves import draw_curves
from facepipe.classifier.training.run_folder import Meter, add_to_history, read_history
from facepipe.core.errors import DataError


def test_a_validation_done_again_takes_its_own_place(tmp_path: Path) -> None:
    for epoch, stage in ((1.0, "a"), (2.0, "a"), (3.0, "b"), (4.0, "b")):
        add_to_history(tmp_path, {"epoch": epoch, "stage": stage, "val_loss": 5 - epoch})
    add_to_history(tmp_path, {"epoch": 2.0, "stage": "a", "val_loss": 2.5, "factor_age": 0.5})
    rows = read_history(tmp_path)
    assert rows == [
        {"epoch": 1, "stage": "a", "val_loss": 4, "factor_age": None},
        {"epoch": 2, "stage": "a", "val_loss": 2.5, "factor_age": 0.5},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
    (tmp_path / "history.csv").write_text("epoch,stage\nmany,a\n")
    with pytest.raises(DataError, match="line 2"):
        read_history(tmp_path)


def test_means_count_pictures_not_batches() -> None:
    meter = Meter()
    meter.add(3, {"loss": 1.0})
    meter.add(1, {"loss": 5.0})
    assert meter.logs == {"loss": 2.0}
    meter.next()
    meter.add(4, {"loss": 4.0})
    meter.next()
    assert meter.take() == {"loss": 3.0}
    assert meter.take() == {}


def test_the_curves_are_drawn_whatever_was_measured(tmp_path: Path) -> None:
    schema = read_schema()
    assert not draw_curves(tmp_path, schema).exists()
    sizes = []
    for more in ({}, {"gender.accuracy": 0.5}, {"gender.accuracy": 0.6, "factor_age": 0.3, "factor_gender": 2.0}):
        folder = tmp_path / str(len(sizes))
        folder.mkdir()
        add_to_history(folder, {"epoch": 0.5, "stage": "a", "minutes": 0.1, "val_loss": 3.0})
        row = {"epoch": 2.0, "stage": "b", "minutes": 0.2, "train_loss": 4.0, "val_loss": 2.0}
        add_to_history(folder, row | more)
        picture = cv2.imread(str(draw_curves(folder, schema)))
        sizes.append(int((picture != 255).any(axis=2).sum()))
    assert sizes[0] < sizes[1] < sizes[2]
