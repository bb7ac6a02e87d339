"""WIDER FACE's protocol on official-looking files, small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.dataset import Picture
from facepipe.detector.evaluation.predictions import Prediction
from facepipe.detector.evaluation.wider import SETTINGS, WiderPicture, read_splits, wider_metrics, wider_scores
from facepipe.detector.inference.boxes import Detections

io = pytest.importorskip("scipy.io")

# Two events; the second picture of the first has no box that counts anywhere.
BOXES = {
    "0--Parade": {"0_Parade_1": [[0, 0, 99, 99], [200, 0, 99, 99], [400, 0, 9, 9]], "0_Parade_2": [[10, 10, 49, 49]]},
    "1--Handshaking": {"1_Handshaking_1": [[0, 0, 49, 49]]},
}
COUNTED = {
    "easy": {"0_Parade_1": [1], "0_Parade_2": [], "1_Handshaking_1": []},
    "medium": {"0_Parade_1": [1, 2], "0_Parade_2": [], "1_Handshaking_1": [1]},
    "hard": {"0_Parade_1": [1, 2, 3], "0_Parade_2": [], "1_Handshaking_1": [1]},
}


def cells(values: list[Any]) -> np.ndarray:
    """A MATLAB cell column."""
    column = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        column[index, 0] = value
    return column


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """A folder with the four files as WIDER FACE's eval_tools have them."""
    io.savemat(
        tmp_path / "wider_face_val.mat",
        {
            "event_list": cells(list(BOXES)),
            "file_list": cells([cells(list(pictures)) for pictures in BOXES.values()]),
            "face_bbx_list": cells(
                [cells([np.array(boxes, float) for boxes in pictures.values()]) for pictures in BOXES.values()]
            ),
        },
    )
    for setting, counted in COUNTED.items():
        lists = [
            cells([np.array(counted[name], float).reshape(-1, 1) for name in pictures]) for pictures in BOXES.values()
        ]
        io.savemat(tmp_path / f"wider_{setting}_val.mat", {"gt_list": cells(lists)})
    return tmp_path


def test_the_official_files_are_read(splits: Path) -> None:
    pictures = read_splits(splits)
    assert list(pictures) == ["0_Parade_1", "0_Parade_2", "1_Handshaking_1"]
    first = pictures["0_Parade_1"]
    assert first.event == "0--Parade"
    assert first.boxes.tolist() == BOXES["0--Parade"]["0_Parade_1"]
    assert {setting: first.counted[setting].tolist() for setting in SETTINGS} == {
        "easy": [True, False, False],
        "medium": [True, True, False],
        "hard": [True, True, True],
    }


def test_by_hand(splits: Path) -> None:
    found = {
        "0_Parade_1": np.array(
            [
                [0, 0, 99, 99, 1.0],  # right
                [200, 0, 299, 99, 0.9],  # right, but left out where that face does not count
                [1, 0, 100, 99, 0.8],  # the first face again: false everywhere
                [400, 0, 409, 9, 0.7],  # right in hard only, else left out
                [600, 0, 650, 50, 0.6],  # false everywhere
            ]
        ),
        "0_Parade_2": np.array([[10, 10, 59, 59, 0.95]]),  # on a face that counts nowhere: left out
        "1_Handshaking_1": np.array([[300, 300, 350, 350, 0.0]]),  # false, the last of all
    }
    scores = wider_scores(found, read_splits(splits))
    assert {setting: score.faces for setting, score in scores.items()} == {"easy": 1, "medium": 3, "hard": 4}
    # easy: found first of all. medium: two of three found before anything false. hard: a third after one false box.
    assert scores["easy"].average_precision == pytest.approx(1)
    assert scores["medium"].average_precision == pytest.approx(2 / 3)
    assert scores["hard"].average_precision == pytest.approx((1 + 1 + 3 / 4) / 4)


def test_scores_are_normalised_over_all_pictures_and_boxes_include_their_last_pixel() -> None:
    counted = {setting: np.array([True]) for setting in SETTINGS}
    pictures = {"a": WiderPicture("e", np.array([[0, 0, 9, 9.0]]), counted)}
    # Shifted by 3: (7 + 1) * 10 common of 10 * 10 each with the last pixel counted; scores far from 0..1.
    found = {"a": np.array([[3, 0, 12, 9, 40.0], [500, 500, 520, 520, -3.0]])}
    assert wider_scores(found, pictures)["easy"].average_precision == pytest.approx(1)
    # Shifted by 4, 6 of 14 columns: under a half.
    found["a"][0, [0, 2]] = 4, 13
    assert wider_scores(found, pictures)["easy"].average_precision == 0


def test_nothing_found_and_nothing_counted(splits: Path) -> None:
    pictures = read_splits(splits)
    assert wider_scores({}, pictures)["hard"].average_precision == 0
    only = {"0_Parade_2": pictures["0_Parade_2"]}
    assert wider_scores({}, only)["easy"].average_precision is None


@pytest.mark.parametrize("seed", range(6))
def test_it_follows_the_official_procedure_step_by_step(seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures, found = {}, {}
    for name in "abcd":
        low = random.uniform(0, 300, (random.integers(0, 6), 2))
        truth = np.concatenate([low, random.uniform(10, 90, (len(low), 2))], axis=1)
        counted = {setting: random.random(len(truth)) < 0.6 for setting in SETTINGS}
        pictures[name] = WiderPicture("e", truth, counted)
        corners = np.concatenate([truth[:, :2], truth[:, :2] + truth[:, 2:]], axis=1)
        boxes = np.repeat(corners, 2, axis=0) + random.normal(0, 6, (2 * len(corners), 4))
        low = random.uniform(0, 300, (3, 2))
        boxes = np.concatenate([boxes, np.concatenate([low, low + 40], axis=1)])
        found[name] = np.column_stack([boxes, random.random(len(boxes))])
    scores = wider_scores(found, pictures)
    for setting in SETTINGS:
        assert scores[setting].average_precision == pytest.approx(_official(found, pictures, setting))


def _official(found: dict[str, np.ndarray], pictures: dict[str, WiderPicture], setting: str) -> float:
    """The MATLAB code's loops, one threshold and one box at a time."""
    everything = np.concatenate([boxes[:, 4] for boxes in found.values()])
    curve, faces = np.zeros((1000, 2)), 0
    for name, picture in pictures.items():
        counted = picture.counted[setting]
        faces += int(counted.sum())
        if not len(picture.boxes):
            continue
        boxes = sorted(found[name].tolist(), key=lambda box: -box[4])
        state, right, proposals = [0] * len(counted), [], []
        for x1, y1, x2, y2, _ in boxes:
            overlaps = []
            for x, y, w, h in picture.boxes.tolist():
                wide, high = min(x2, x + w) - max(x1, x) + 1, min(y2, y + h) - max(y1, y) + 1
                common = wide * high if wide > 0 and high > 0 else 0
                overlaps.append(common / ((x2 - x1 + 1) * (y2 - y1 + 1) + (w + 1) * (h + 1) - common))
            best = int(np.argmax(overlaps))
            proposals.append(1)
            if overlaps[best] >= 0.5:
                if not counted[best]:
                    state[best], proposals[-1] = -1, -1
                elif state[best] == 0:
                    state[best] = 1
            right.append(state.count(1))
        scores = [(box[4] - everything.min()) / (everything.max() - everything.min()) for box in boxes]
        for step in range(1000):
            above = [index for index, score in enumerate(scores) if score >= 1 - (step + 1) / 1000]
            if above:
                curve[step] += proposals[: above[-1] + 1].count(1), right[above[-1]]
    with np.errstate(invalid="ignore"):
        precision = np.nan_to_num(curve[:, 1] / curve[:, 0])
    recall = np.concatenate([[0], curve[:, 1] / faces, [1]])
    precision = np.concatenate([[0], precision, [0]])
    for index in range(len(precision) - 1, 0, -1):
        precision[index - 1] = max(precision[index - 1], precision[index])
    return sum((recall[i + 1] - recall[i]) * precision[i + 1] for i in range(len(recall) - 1))


def _evaluation(found: dict[str, np.ndarray], width: int) -> Any:
    """What wider_metrics looks at."""
    predictions = []
    for name, boxes in found.items():
        picture = Picture(Path(f"images/val/{name}.webp"), name, "wider_val", (True,))
        detections = Detections(
            boxes[:, :4].astype(np.float32), boxes[:, 4].astype(np.float32), np.zeros(len(boxes), int), ("face",)
        )
        predictions.append(Prediction(picture, width, width, detections, {"face": np.zeros((0, 4))}, np.zeros((0, 4))))
    return SimpleNamespace(predictions=predictions, classes=("face",))


def test_smaller_copies_and_parts_of_the_split(splits: Path) -> None:
    # The picture is stored 512 wide, half of WIDER's 1024.
    evaluation = _evaluation({"wider_val__1_Handshaking_1": np.array([[0, 0, 24.5, 24.5, 0.9]])}, 512)
    metrics, protocol = wider_metrics(evaluation, splits)
    assert [(metric.name, metric.value, metric.count) for metric in metrics] == [
        ("AP by WIDER FACE's protocol, easy", None, 0),
        ("AP by WIDER FACE's protocol, medium", 1.0, 1),
        ("AP by WIDER FACE's protocol, hard", 1.0, 1),
    ]
    assert "1 of the 3 official validation pictures, so not comparable" in protocol
    with pytest.raises(DataError, match="none of the pictures measured"):
        wider_metrics(_evaluation({"other": np.zeros((0, 5))}, 512), splits)


def _remove(path: Path) -> None:
    path.unlink()


def _spoil(path: Path) -> None:
    path.write_bytes(b"no MATLAB file")


def _rename(path: Path) -> None:
    io.savemat(path, {"list": np.zeros(3)})


def _shorten(path: Path) -> None:
    io.savemat(path, {"gt_list": cells([cells([np.zeros((0, 1))])])})


def _too_many(path: Path) -> None:
    lists = [cells([np.array([[9.0]]) for _ in pictures]) for pictures in BOXES.values()]
    io.savemat(path, {"gt_list": cells(lists)})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_remove, r"wider_hard_val\.mat: no such file"),
        (_spoil, r"wider_hard_val\.mat: not a MATLAB file"),
        (_rename, r"wider_hard_val\.mat: has no gt_list"),
        (_shorten, r"wider_hard_val\.mat: 1 events where event_list has 2"),
        (_too_many, r"disagree on 0--Parade/0_Parade_1: box 9 is chosen of 3"),
    ],
)
def test_wrong_files_are_named(splits: Path, fault: Callable[[Path], None], message: str) -> None:
    fault(splits / "wider_hard_val.mat")
    with pytest.raises(DataError, match=message):
        read_splits(splits)
