"""The page's labels cover no face and no other label: its own code, run by node on a canvas that notes all."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[3] / "pipeline" / "serving" / "page"
SCRIPT = """
import { readFileSync } from "node:fs";
import { annotated } from "./canvas.js";
const result = JSON.parse(readFileSync("result.json"));
const filled = [];
const texts = [];
const context = new Proxy({}, {
  get: (target, name) => {
    if (name in target) return target[name];
    if (name === "measureText") return (line) => ({ width: 7 * line.length });
    if (name === "fillRect") return (...rectangle) => filled.push(rectangle);
    if (name === "fillText") return (text) => texts.push(text);
    return () => undefined;
  },
});
const canvas = { getContext: () => context };
context.canvas = canvas;
annotated(canvas, null, result, result.width, 10);
const all = filled.length;
annotated(canvas, null, result, result.width, 10, { layers: new Set(["boxes", "points", "heads"]) });
const more = filled.length - all;
const whole = texts.splice(0);
annotated(canvas, null, result, result.width, 10, { fields: ["age"] });
const aged = texts.splice(0);
annotated(canvas, null, result, result.width, 10, { fields: [] });
console.log(JSON.stringify({ filled: filled.slice(0, all), texts: whole, more, aged, unnamed: texts }));
"""


@pytest.mark.parametrize("count", [6, 12, 25])
def test_labels_keep_off_faces_and_each_other(count: int, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for name in ("canvas.js", "words.js"):
        shutil.copy(PAGE / name, tmp_path)
    random = np.random.default_rng(count)
    columns = int(np.ceil(np.sqrt(count * 4 / 3)))
    boxes = []
    for number in range(count):
        across = 1200 / columns
        side = across * random.uniform(0.3, 0.45)
        x, y = (number % columns + 0.3) * across, (number // columns + random.uniform(0.2, 0.4)) * across
        boxes.append((x, y, x + side, y + 1.3 * side))
    attributes = {
        "age": {"value": 31.0, "unit": "years", "interval": [21, 47]},
        "gender": {"value": "female", "probability": 0.9, "probabilities": {"female": 0.9, "male": 0.1}},
        "smile": {"value": "yes", "probability": 0.9, "probabilities": {"no": 0.1, "yes": 0.9}},
        "eyes": {"points": {"left": [boxes[0][0] + 5, boxes[0][1] + 5]}},
    }
    faces = [
        {"box": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)), "confidence": 0.9, "head": None}
        | {"attributes": attributes, "reason": None}
        for box in boxes
    ]
    height = int((-(-count // columns) + 0.5) * 1200 / columns)
    (tmp_path / "result.json").write_text(json.dumps({"width": 1200, "height": height, "faces": faces, "heads": []}))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "run.js").write_text(SCRIPT)
    done = subprocess.run([node, "run.js"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["more"] == 0, "labels were switched off"
    assert len(told["filled"]) == count, "there is room for all of them"
    assert set(told["aged"]) == ({"age: 31 years (21–47)"} if count == 6 else {"31"})
    assert len(told["aged"]) == count
    assert told["unnamed"] == []
    if count > 6:
        assert set(told["texts"]) <= {"F 31 · smile", *map(str, range(count))}
    labels = [(x, y, x + wide, y + high) for x, y, wide, high in told["filled"]]
    for number, (x1, y1, x2, y2) in enumerate(labels):
        others = [*(box for box in boxes), *labels[:number]]
        assert not any(
            x1 < right - 1 and left + 1 < x2 and y1 < low - 1 and top + 1 < y2 for left, top, right, low in others
        )
