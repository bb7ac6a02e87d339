"""Compare facepipe with the alternatives, each in its own process, over the same files, in turns.

    python benchmarks/peers.py PICTURES --yunet FILE --scrfd FILE [--scrfd FILE] [--genderage FILE] [--minutes 5]

PICTURES is a folder of photos; up to 64 of them are used. Third-party models are given by path, as published by their
makers: OpenCV's YuNet, InsightFace's SCRFD, and its small gender and age network, ``genderage.onnx``, which reads the
faces found by the last SCRFD. The processes take turns over all pictures, file by file. A Markdown table shows for
each: pictures per second (the median over the turns, and next to facepipe the median of the turns' ratios), CPU seconds
per picture, seconds from process start to first result, peak memory, and the faces found. What they find is not equally
good: ``facepipe evaluate-detector --detector … --detector scrfd:FILE`` measures that.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from facepipe.core.errors import FacepipeError, ImageError
from facepipe.detector.evaluation.baselines import open_baseline
from facepipe.weights.session import open_session
from study.rounds import interleave

TAKEN = 64
IMAGES = {".jpg", ".jpeg", ".png", ".webp"}
MARGIN = 1.5
"""InsightFace's crop: side over the box's longer side."""
READS = {
    "facepipe": "faces, heads, and all attributes",
    "facepipe stream": "the same, the files all at once",
    "detector": "faces and heads",
    "yunet": "faces",
    "scrfd": "faces",
    "insightface": "faces, gender and age",
}
Work = Callable[[list[str]], int]
"""Processes files and returns the number of faces found."""


class GenderAge:
    """InsightFace's gender and age network on one face, called as its ``attribute.py`` does.

    Args:
        path: ONNX file: RGB, 0 to 255, (1, 3, side, side) to (1, 3): two gender scores and the age over a hundred.
    """

    def __init__(self, path: Path):
        self.session = open_session(path.read_bytes(), "cpu", None)
        self.input = self.session.get_inputs()[0]
        self.side = int(self.input.shape[2])

    def read(self, frame: np.ndarray, box: np.ndarray) -> tuple[str, int]:
        """Read gender and age.

        Args:
            frame: BGR, uint8, (height, width, 3).
            box: left, top, right and bottom in pixels.
        """
        scale = self.side / (max(box[2] - box[0], box[3] - box[1]) * MARGIN)
        middle = (box[:2] + box[2:]) / 2
        shift = self.side / 2 - middle * scale
        crop = cv2.warpAffine(
            frame, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64), (self.side, self.side)
        )
        tensor = cv2.dnn.blobFromImage(crop, 1.0, (self.side, self.side), swapRB=True)
        scores = self.session.run(None, {self.input.name: tensor})[0][0]
        return ("female", "male")[int(scores[:2].argmax())], round(float(scores[2]) * 100)


def imread(file: str) -> np.ndarray:
    """A picture as others' examples read it: BGR, uint8, (height, width, 3).

    Raises:
        ImageError: OpenCV cannot read it.
    """
    frame = cv2.imread(file)
    if frame is None:
        raise ImageError(f"{file}: OpenCV cannot read it")
    return frame


def ours(kind: str) -> Work:
    """facepipe with the versions in use."""
    from facepipe import FaceDetector, Pipeline

    if kind == "detector":
        detector = FaceDetector()

        def faces_of(file: str) -> int:
            return len(detector.detect([imread(file)])[0].of("face"))

        return lambda files: sum(map(faces_of, files))
    pipeline = Pipeline()
    if kind == "facepipe":
        return lambda files: sum(len(pipeline.run(file).faces) for file in files)
    return lambda files: sum(len(result.faces) for result in pipeline.run(files))


def other(kind: str, *paths: str) -> Work:
    """Third-party models, one file after the other, as in their examples."""
    found = open_baseline(f"{'yunet' if kind == 'yunet' else 'scrfd'}:{paths[0]}")
    reader = GenderAge(Path(paths[1])) if kind == "insightface" else None

    def work(files: list[str]) -> int:
        count = 0
        for file in files:
            frame = imread(file)
            faces = found.detect([frame])[0].boxes
            count += len(faces)
            if reader is not None:
                for box in faces:
                    reader.read(frame, box)
        return count

    return work


def child(task: list[str]) -> None:
    """Process the first file, then all files each time a line arrives, and report the figures."""
    kind, *paths = task
    files = json.loads(sys.stdin.readline())
    work = ours(kind) if kind in ("facepipe", "facepipe stream", "detector") else other(kind, *paths)
    work(files[:1])
    print("{}", flush=True)
    for _ in sys.stdin:
        busy, began = time.process_time(), time.perf_counter()
        faces = work(files)
        done = {"seconds": time.perf_counter() - began, "busy": time.process_time() - busy, "faces": faces}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)
        print(json.dumps(done | {"peak": peak}), flush=True)


@dataclass
class Side:
    """One way of finding faces, in its own process.

    Args:
        kind: of ``READS``.
        paths: of its models, if they are not facepipe's own.
        files: to process.
    """

    kind: str
    paths: tuple[Path, ...]
    files: list[str]
    start: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)
    busy: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return " ".join([self.kind, *(path.name for path in self.paths)])

    def open(self, stack: ExitStack) -> None:
        """Start the process, and wait for its first result."""
        command = [sys.executable, __file__, "--child", self.kind, *map(str, self.paths)]
        began = time.perf_counter()
        self.process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self.process.stdin.close)  # type: ignore[union-attr]
        self._ask(json.dumps(self.files))
        self.start = time.perf_counter() - began

    def turn(self) -> float:
        """Have it process the files once; return the seconds it took."""
        self.last = self._ask("go")
        self.busy.append(self.last["busy"])
        return float(self.last["seconds"])

    def _ask(self, line: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"peers.py: {self.name} has ended; what is wrong stands above")
        return json.loads(answer)


def compare(sides: list[Side], minutes: float) -> list[str]:
    """Run the sides in turns; return the table's lines."""
    with ExitStack() as stack:
        for side in sides:
            side.open(stack)
        timed = interleave({side.name: partial(side.turn) for side in sides}, minutes * 60)
    heads = ["", "reads", "pictures/s", "times facepipe", "CPU s a picture", "start s", "peak MB", "faces"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "--:|" * (len(heads) - 2)]
    count = len(sides[0].files)
    for side in sides:
        seconds, base = timed[side.name], timed[sides[0].name]
        ratio = median(one / two for one, two in zip(base, seconds, strict=True))
        cells = [side.name, READS[side.kind], f"{count / median(seconds):.1f}", f"{ratio:.2f}"]
        cells += [f"{median(side.busy) / count:.3f}", f"{side.start:.2f}", f"{side.last['peak']:.0f}"]
        lines.append("| " + " | ".join([*cells, f"{side.last['faces']:,}"]) + " |")
    return lines


def main(
    pictures: Annotated[Path, typer.Argument(help="A folder of photos.")],
    yunet: Annotated[Path | None, typer.Option(help="OpenCV's YuNet.")] = None,
    scrfd: Annotated[list[Path] | None, typer.Option(help="An SCRFD of InsightFace's; repeatable.")] = None,
    genderage: Annotated[Path | None, typer.Option(help="InsightFace's genderage.onnx; needs --scrfd.")] = None,
    minutes: Annotated[float, typer.Option(help="Time for all turns; three are done in any case.")] = 5.0,
) -> None:
    """Compare facepipe with the alternatives."""
    if genderage is not None and not scrfd:
        raise typer.BadParameter("--genderage needs --scrfd")
    files = sorted(str(path) for path in pictures.iterdir() if path.suffix.lower() in IMAGES)
    files = files[:: max(1, len(files) // TAKEN)][:TAKEN]
    if not files:
        raise typer.BadParameter(f"{pictures}: no pictures")
    sides = [Side(kind, (), files) for kind in ("facepipe", "facepipe stream", "detector")]
    sides += [Side("yunet", (yunet,), files)] if yunet is not None else []
    sides += [Side("scrfd", (path,), files) for path in scrfd or []]
    if genderage is not None and scrfd:
        sides.append(Side("insightface", (scrfd[-1], genderage), files))
    print("\n".join(compare(sides, minutes)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        try:
            child(sys.argv[2:])
        except FacepipeError as error:
            raise SystemExit(f"error: {error}") from error
    else:
        typer.run(main)
