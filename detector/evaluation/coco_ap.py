"""COCO's average precision (Lin et al. 2014, "Microsoft COCO") by faster-coco-eval, on partly labelled data.

Each class is evaluated on the pictures that are labelled for it. Ignore regions become COCO's crowd regions: at each
threshold t, a detection that lies in one by a share of t or more is neither right nor wrong. Sizes are those of
``matching``: COCO's area is replaced by the square of a box's longer side at the reference size.

Differences from ``Scored.average_precision`` on the same boxes: COCO samples the precision at 101 recalls from 0 to 1,
ours uses every point of the curve. A curve that ends at a recall R is cut off at the next grid point after R. The two
thus differ by up to 0.01 if a detector misses many boxes, and by less than 0.002 with ``RECALLS`` ten times finer (a
test checks this).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.extras import require
from .matching import RANGES, Sizes, longer_side
from .predictions import MAX_DETECTIONS, Prediction

RECALLS = 101
"""Number of recalls at which COCO samples the precision."""


@dataclass(frozen=True)
class CocoScore:
    """Average precision of one class in one size range; None if there are no boxes to find."""

    ap50: float | None
    ap: float | None
    """Mean over the IoU thresholds 0.5, 0.55, …, 0.95."""


def coco_scores(
    predictions: Sequence[Prediction], name: str, ranges: Sequence[Sizes] = RANGES, recalls: int = RECALLS
) -> dict[Sizes, CocoScore]:
    """Score one class.

    Args:
        predictions: pictures; those not labelled for the class are left out.
        name: the class.
        ranges: size ranges to score.
        recalls: number of recalls at which precision is sampled.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    library = require("faster_coco_eval")
    images: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, picture in enumerate((each for each in predictions if name in each.truth), 1):
        images.append({"id": number, "height": picture.height, "width": picture.width})
        scale = picture.scale
        for box in picture.truth[name] * scale:
            truth.append(_annotation(number, box) | {"id": len(truth) + 1, "iscrowd": 0})
        for box in picture.ignored * scale:
            truth.append(_annotation(number, box) | {"id": len(truth) + 1, "iscrowd": 1})
        mine = picture.of(name)
        for box, confidence in zip(mine.boxes.astype(float) * scale, mine.confidence.tolist(), strict=True):
            found.append(_annotation(number, box) | {"score": confidence})
    # Pictures without boxes also count, because of false alarms. Without any labelled box there is no score.
    if not any(not box["iscrowd"] for box in truth):
        return {sizes: CocoScore(None, None) for sizes in ranges}
    data = {"images": images, "annotations": truth, "categories": [{"id": 1, "name": name}]}
    sides = [box["area"] for box in found]
    results = library.COCO(data).loadRes(found)
    for annotation in results.dataset["annotations"]:  # loadRes has replaced our areas by the true ones
        annotation["area"] = sides[annotation["id"] - 1]
    evaluation = library.COCOeval_faster(library.COCO(data), results, "bbox", print_function=lambda *_: None)
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.params.recThrs = np.linspace(0, 1, recalls)
    evaluation.params.areaRng = [[s.low**2, np.nextafter(min(s.high, 1e5) ** 2, 0)] for s in ranges]
    evaluation.params.areaRngLbl = [str(sizes) for sizes in ranges]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, 0, :, 0]  # thresholds, recalls, ranges; -1: no box
    return {
        sizes: CocoScore(None, None)
        if precision[0, 0, index] < 0
        else CocoScore(float(precision[0, :, index].mean()), float(precision[:, :, index].mean()))
        for index, sizes in enumerate(ranges)
    }


def _annotation(image: int, box: np.ndarray) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(side) for side in box)
    side = float(longer_side(box.reshape(1, 4))[0])
    return {"image_id": image, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": side * side}
