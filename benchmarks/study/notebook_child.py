"""The original notebooks' method: ultralytics' ``predict`` on a picture, then Keras' ``predict`` face by face.

Run in its own process by ``notebook``. A line of JSON on stdin says what to load, and a line comes back when that is
done. Each further line is answered with the seconds that all pictures took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from typing import Any

SIZE = 224


def main() -> None:
    """Load the models, then time as often as asked."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # redirect what the frameworks print
    task = json.loads(sys.stdin.readline())
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with suppress(ImportError):  # torch's compiler crashes if tensorflow was loaded first
        import triton._C.libtriton  # noqa: F401
    detector = load_detector(task["detector"])
    classifier = load_classifier(task["classifier"], task["widths"])
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        faces = sum(read_picture(detector, classifier, path, boxes) for path, boxes in task["pictures"])
        print(json.dumps({"seconds": time.perf_counter() - began, "faces": faces}), file=answers, flush=True)


def load_detector(weights: str | None) -> Any:
    """ultralytics' YOLO from a ``.pt``, or a YOLOv8s of two classes with random weights."""
    from facepipe.detector.training.ultralytics_setup import set_up

    set_up()
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    if weights is not None:
        return YOLO(weights)
    model = YOLO("yolov8s.yaml")
    model.model = DetectionModel("yolov8s.yaml", nc=2, verbose=False)
    return model


def load_classifier(weights: str | None, widths: dict[str, int]) -> Any:
    """A ``.keras`` model, or keras.applications' ResNet50 with random weights and a dense layer per attribute."""
    import keras

    if weights is not None:
        return keras.models.load_model(weights, compile=False)
    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg")
    heads = [keras.layers.Dense(width, name=name)(backbone.output) for name, width in widths.items()]
    return keras.Model(backbone.input, heads)


def read_picture(detector: Any, classifier: Any, path: str, boxes: list[list[float]]) -> int:
    """Process one picture file. The faces are cut at the given boxes, so that both sides read equally many."""
    import cv2
    import keras
    import numpy as np

    found = detector.predict(path, verbose=False)[0]
    side = classifier.input_shape[1] or SIZE
    for x1, y1, x2, y2 in boxes:
        face = found.orig_img[int(y1) : max(int(y1) + 1, int(y2)), int(x1) : max(int(x1) + 1, int(x2))]
        crop = cv2.resize(face, (side, side))[..., ::-1].astype(np.float32)
        classifier.predict(keras.applications.resnet50.preprocess_input(crop[None]), verbose=0)
    return len(boxes)


if __name__ == "__main__":
    main()
