"""COCO's average precision on partly labelled data: by hand, and against our own on any boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from facepipe.detector.data.dataset import Picture
from facepipe.detector.evaluation.coco_ap import coco_scores
from facepipe.detector.evaluation.matching import BIG, EVERY, RANGES, Scored, Sizes
from facepipe.detector.evaluation.predictions import Prediction
from facepipe.detector.inference.boxes import Detections

NONE = np.zeros((0, 4))


def predictions(
    found: list, confidence: list, truth: list, ignored: Sequence = (), side: int = 640, labelled: bool = True
) -> Prediction:
    """A square picture in which only faces are labelled, or nothing is."""
    detections = Detections(
        np.array(found, np.float32).reshape(-1, 4),
        np.array(confidence, np.float32),
        np.zeros(len(found), np.int64),
        ("face", "head"),
    )
    picture = Picture(Path("a.png"), "a.png", "source", (labelled, False))
    boxes = np.array(truth, float).reshape(-1, 4)
    return Prediction(
        picture, side, side, detections, {"face": boxes} if labelled else {}, np.array(ignored, float).reshape(-1, 4)
    )


def test_by_hand() -> None:
    # One face found at an IoU of 0.8: right at the seven thresholds from 0.5 to 0.8 (0.8 is met), wrong at the others.
    one = predictions([[0, 0, 80, 100]], [0.9], [[0, 0, 100, 100]])
    score = coco_scores([one], "face")[EVERY]
    assert score.ap50 == pytest.approx(1)
    assert score.ap == pytest.approx(0.7)


def test_ignored_regions_small_boxes_and_unlabelled_pictures_count_neither_way() -> None:
    pictures = [
        predictions([[0, 0, 30, 30]], [0.5], [[0, 0, 30, 30]]),
        predictions([[200, 200, 240, 240]], [0.9], [], ignored=[[190, 190, 300, 300]]),
        predictions([[0, 0, 10, 10]], [0.9], [[0, 0, 10, 10]]),
        predictions([[0, 0, 50, 50]], [0.9], [], labelled=False),
        # 20 px in a picture of 1280 px are 10 px at 640
        predictions([[0, 0, 20, 20]], [0.95], [[0, 0, 20, 20]], side=1280),
    ]
    scores = coco_scores(pictures, "face")
    assert scores[BIG].ap50 == pytest.approx(1)
    assert scores[Sizes(8, 16)].ap50 == pytest.approx(1)
    pictures.append(predictions([[0, 0, 40, 40]], [0.9], []))
    assert coco_scores(pictures, "face")[BIG].ap50 == pytest.approx(0.5)


def test_a_range_or_a_class_without_boxes_has_no_score() -> None:
    scores = coco_scores([predictions([[0, 0, 30, 30]], [0.5], [[0, 0, 30, 30]])], "face")
    assert scores[Sizes(96)].ap is None
    assert scores[Sizes(16, 32)].ap == pytest.approx(1)
    assert coco_scores([predictions([], [], [])], "face")[EVERY].ap50 is None
    nothing = coco_scores([predictions([], [], [[0, 0, 30, 30]])], "face")
    assert nothing[EVERY].ap50 == 0


def test_it_agrees_with_our_own_average_precision() -> None:
    random = np.random.default_rng(3)
    pictures = [_picture(random) for _ in range(120)]
    fine, standard = coco_scores(pictures, "face", recalls=1001), coco_scores(pictures, "face")
    for sizes in RANGES:
        ours = Scored.joined(each.match("face", sizes) for each in pictures).average_precision()
        assert ours is not None
        assert fine[sizes].ap50 == pytest.approx(ours, abs=0.002), sizes
        assert standard[sizes].ap50 == pytest.approx(ours, abs=0.01), sizes


def _picture(random: np.random.Generator) -> Prediction:
    """Boxes of all sizes, found with some error or not at all, false ones, and an ignore region in some."""
    low = random.uniform(0, 400, (random.integers(0, 8), 2))
    truth = np.concatenate([low, low + np.exp(random.uniform(1.5, 5.2, (len(low), 1))) * [1, 1.2]], axis=1)
    kept = truth[random.random(len(truth)) < 0.75]
    sides = kept[:, 2:] - kept[:, :2]
    moved = kept + np.tile(sides, 2) * random.normal(0, 0.1, kept.shape)
    low = random.uniform(0, 500, (random.integers(0, 5), 2))
    false = np.concatenate([low, low + np.exp(random.uniform(1.5, 5, (len(low), 1)))], axis=1)
    found = np.concatenate([moved, false])
    order = random.permutation(len(found))
    confidence = np.sort(random.random(len(found)))[::-1]
    ignored = random.uniform(0, 300, (1, 2)) if random.random() < 0.3 else np.zeros((0, 2))
    regions = np.concatenate([ignored, ignored + 120], axis=1)
    return predictions(found[order].tolist(), confidence.tolist(), truth.tolist(), regions.tolist())
