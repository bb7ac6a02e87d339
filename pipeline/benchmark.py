"""The short report of ``facepipe benchmark``: the pipeline against its bare model sessions, start-up time and memory.

``benchmarks/speed_study.py`` in the repository is the longer study, with the original notebooks' approach, charts and
several sizes.
"""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from ..classifier.inference.classifier import prepare
from ..classifier.inference.crop import cut_region
from ..core.cpu import usable_cpus
from ..core.errors import FacepipeError
from ..core.files import write_whole
from ..detector.inference.preprocessing import STRIDE, InputBuffer, fit
from ..weights.session import open_session
from .inputs.image_reader import Frame, read_frame
from .inputs.sources import gather
from .pipeline import Pipeline
from .two_stage import match_heads

PORTRAIT = Path(__file__).parent / "sample_face.jpg"
"""Eileen Collins, cropped from examples/astronaut.jpg (NASA, public domain)."""
FACES, WIDTH, HEIGHT = 10, 1152, 864
"""Faces and size in pixels of the generated pictures."""
BATCHES = (1, 4, 16)
"""Batch sizes tried for a bare classifier, in crops per call."""
COMMAND = "from facepipe.pipeline.cli import main; main()"
PEAK = """
import atexit, re, sys
def print_peak():
    found = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    print("peak:", int(found[1]) * 1024 / 1e6, file=sys.stderr)
atexit.register(print_peak)
"""
"""Runs before the command in a fresh process and prints the peak memory that Linux reports."""


@dataclass(frozen=True)
class Chosen:
    """What to measure: a folder of pictures (None generates them), options of ``Pipeline``, and the random seed."""

    folder: Path | None = None
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def options(self) -> list[str]:
        """The pipeline options as arguments of ``facepipe detect``."""
        words = []
        for name, value in self.pipeline.items():
            for each in value if isinstance(value, list) else [] if value is None else [value]:
                words += [f"--{name}", str(each)]
        return words


@dataclass(frozen=True)
class Report:
    """The measurements: seconds of each round over all pictures and of each fresh start, peak memory in MB (10^6 B)."""

    pictures: int
    faces: int
    pipeline: tuple[float, ...]
    bound: tuple[float, ...]
    way: str
    start: tuple[float, ...]
    memory: dict[str, float]
    models: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """How close the pipeline comes to the bound: the median ratio over the rounds; 1 means equal."""
        return median(bare / whole for whole, bare in zip(self.pipeline, self.bound, strict=True))

    def rows(self) -> list[tuple[str, str]]:
        """The figures as labelled text."""
        rows = [
            ("models", ", ".join(f"{name} {text}" for name, text in self.models.items())),
            ("pictures", f"{self.pictures} with {self.faces} faces, {len(self.pipeline)} rounds"),
            ("pipeline", f"{self.pictures / median(self.pipeline):.2f} pictures/s, files in, results out"),
            ("bound", f"{self.pictures / median(self.bound):.2f} pictures/s, bare sessions: {self.way}"),
            ("pipeline / bound", f"{self.ratio:.2f}"),
            ("start", f"{median(self.start):.2f} s for one photo in a fresh process"),
        ]
        return rows + [(f"memory, {name}", f"{most:.0f} MB at most") for name, most in self.memory.items()]


def draw(faces: int, width: int, height: int, random: np.random.Generator) -> Frame:
    """Generate a picture with faces on a grid over soft noise: BGR, uint8, (height, width, 3).

    Args:
        faces: number of faces.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        random: random number generator.
    """
    coarse = random.normal(0, 40, (12, 16, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + random.uniform(100, 150)
    picture = np.clip(picture + random.normal(0, 5, (height, width, 1)), 0, 255).astype(np.uint8)
    portrait = cv2.imread(str(PORTRAIT))
    assert portrait is not None, f"{PORTRAIT} is a part of the package"
    rows = max(1, round((faces * height / width) ** 0.5))
    columns = -(-max(1, faces) // rows)
    for cell in random.permutation(rows * columns)[:faces]:
        row, column = divmod(int(cell), columns)
        room = height / rows, width / columns
        scale = min(room[0] / portrait.shape[0], room[1] / portrait.shape[1], 0.5 * height / portrait.shape[0])
        size = [max(2, int(side * scale * random.uniform(0.85, 0.98))) for side in portrait.shape[1::-1]]
        face = cv2.resize(portrait, size, interpolation=cv2.INTER_AREA)[:, :: random.choice([1, -1])]
        top = int(row * room[0] + random.uniform(0, room[0] - size[1]))
        left = int(column * room[1] + random.uniform(0, room[1] - size[0]))
        picture[top : top + size[1], left : left + size[0]] = face
    return picture


def benchmark(
    chosen: Chosen, folder: Path, seconds: float, count: int = 16, log: Callable[[str], None] = print
) -> Report:
    """Time the pipeline and the bare sessions in turn, then fresh processes.

    Args:
        chosen: what to measure.
        folder: where generated pictures are written.
        seconds: approximate time for the rounds; at least one round is always done.
        count: number of pictures.
        log: called with a line about each step.

    Raises:
        FacepipeError: a model or a fresh process does not work, or no picture can be read.
    """
    paths, notes = _pictures(chosen, folder, count)
    with Pipeline(**{name: value for name, value in chosen.pipeline.items() if value is not None}) as pipeline:
        log(f"{len(paths)} pictures: the pipeline beside the bare sessions")
        found = pipeline.run(paths)
        bare = _BareSessions(pipeline, paths)
        tried = interleave({way: partial(bare.run, *way) for way in bare.ways}, seconds * 0.3, most=2)
        best = min(tried, key=lambda way: min(tried[way]))
        sides: dict[str, Callable[[], object]] = {
            "pipeline": lambda: _through(pipeline, paths),
            "bound": partial(bare.run, *best),
        }
        timed = interleave(sides, seconds * 0.7)
        models = {name: f"{release.label} ({entry.precision})" for name, (release, entry) in bare.files.items()}
    log("fresh processes")
    photo = [str(paths[0])]
    start = [_fresh(COMMAND, ["detect", *photo, *chosen.options])[0] for _ in range(4 if seconds else 2)]
    memory = {}
    if sys.platform == "linux":
        for name, of in (("one photo", photo), (f"{len(paths)} pictures", [str(path) for path in paths])):
            stderr = _fresh(PEAK + COMMAND, ["detect", *of, *chosen.options])[1]
            memory[name] = float(re.findall(r"^peak: ([\d.]+)", stderr, re.MULTILINE)[-1])
    return Report(
        len(paths),
        sum(len(result.faces) for result in found),
        tuple(timed["pipeline"]),
        tuple(timed["bound"]),
        f"{best[0]} thread{'' if best[0] == 1 else 's'} a call, {best[1]} crop{'' if best[1] == 1 else 's'} a call",
        tuple(start[1:]),  # the first start reads the files from disk
        memory,
        models,
        notes,
    )


def interleave(
    actions: Mapping[Any, Callable[[], object]], seconds: float, most: int = 15, settle: float = 0.05
) -> dict[Any, list[float]]:
    """Time actions in rounds, A B, B A, A B, …, so that other load on the machine affects all of them equally.

    Args:
        actions: by name; each runs once before, untimed.
        seconds: no round starts that would probably end later; at least one round is always done.
        most: maximum number of rounds.
        settle: seconds of rest between two measurements.
    """
    began = time.perf_counter()
    for action in actions.values():
        action()
    timed: dict[Any, list[float]] = {name: [] for name in actions}
    rounds, order = time.perf_counter(), list(actions)
    for number in range(most):
        now = time.perf_counter()
        if number and now - began + (now - rounds) / number > seconds:
            break
        for name in order:
            gc.collect()
            time.sleep(settle)
            start = time.perf_counter()
            actions[name]()
            timed[name].append(time.perf_counter() - start)
        order.reverse()
    return timed


def _pictures(chosen: Chosen, folder: Path, count: int) -> tuple[list[Path], tuple[str, ...]]:
    """The files to read, and notes on those left out."""
    if chosen.folder is None:
        paths = [folder / f"{number:02}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            frame = draw(FACES, WIDTH, HEIGHT, np.random.default_rng((chosen.seed, number)))
            write_whole(path, cv2.imencode(".jpg", frame)[1].tobytes())
        return paths, ()
    every = gather([str(chosen.folder)]).pictures
    tried = [Path(every[int(place)]) for place in np.linspace(0, len(every) - 1, min(len(every), count))]
    good, notes = [], []
    for path in tried:
        try:
            read_frame(path)
            good.append(path)
        except FacepipeError as error:
            notes.append(f"left out: {error}")
    if not good:
        raise FacepipeError(f"{chosen.folder}: none of the {len(tried)} pictures tried can be read")
    return good, tuple(notes)


def _through(pipeline: Pipeline, paths: Sequence[Path]) -> None:
    for _ in pipeline.stream(paths, frames=False):
        pass


class _BareSessions:
    """The models' sessions on prepared tensors: the detector picture by picture, then all crops in batches."""

    def __init__(self, pipeline: Pipeline, paths: Sequence[Path]):
        detector, classifiers = pipeline.parts()
        self._models: dict[str, Any] = {"detector": detector, **classifiers.by_name}
        self._device = detector.device
        used = {"detector": pipeline.models.detector, **pipeline.models.classifiers}
        self.files = {
            name: (each.release, next(e for e in each.release.manifest.files if e.sha256 == used[name].sha256))
            for name, each in self._models.items()
        }
        self._frames: list[np.ndarray] = []
        crops: dict[str, list[np.ndarray]] = {name: [] for name in classifiers.by_name}
        for path in paths:
            frame = read_frame(path)
            box = fit(frame.shape[1], frame.shape[0], detector.imgsz, STRIDE if detector.input.dynamic else None)
            self._frames.append(InputBuffer(detector.input).fill([frame], [box]))
            found = detector.detect([frame])[0]
            faces, heads = found.of("face").boxes, found.of("head").boxes
            for face, head in zip(faces, match_heads(faces, heads), strict=True):
                for name, each in classifiers.by_name.items():
                    crop = cut_region(frame, face, None if head is None else heads[head], each.crop).image
                    crops[name] += [] if crop is None else [crop]
        self._crops = {
            name: prepare(np.stack(cut), classifiers.by_name[name].input) for name, cut in crops.items() if cut
        }
        cores = usable_cpus()
        threads = [cores, 1] if self._device == "cpu" and cores > 1 else [cores]
        self.ways = [(number, batch) for number in threads for batch in BATCHES]
        self._cores, self._opened = cores, dict[tuple[str, int], Any]()

    def run(self, threads: int, batch: int) -> None:
        """Run everything once, with as many concurrent calls as the cores allow at this number of threads per call."""
        calls = [("detector", frame) for frame in self._frames]
        for name, crops in self._crops.items():
            calls += [(name, crops[start : start + batch]) for start in range(0, len(crops), batch)]
        for name in {name for name, _ in calls}:
            self._session(name, threads)
        with ThreadPoolExecutor(max(1, self._cores // threads)) as pool:
            list(pool.map(lambda call: self._call(call[0], call[1], threads), calls))

    def _call(self, name: str, tensor: np.ndarray, threads: int) -> None:
        model = self._models[name]
        outputs = None if name == "detector" else [each.name for each in model.attributes]
        self._session(name, threads).run(outputs, {model.input.name: tensor})

    def _session(self, name: str, threads: int) -> Any:
        if (name, threads) not in self._opened:
            release, entry = self.files[name]
            self._opened[name, threads] = open_session(release.read(entry.precision), self._device, threads)
        return self._opened[name, threads]


def _fresh(program: str, arguments: Sequence[str]) -> tuple[float, str]:
    """Run a Python process and return its duration in seconds and its standard error."""
    began = time.perf_counter()
    command = [sys.executable, "-P", "-c", program, *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    seconds, stderr = time.perf_counter() - began, done.stderr.decode("utf-8", "replace")
    if done.returncode:
        raise FacepipeError(f"a fresh facepipe process failed: {(stderr.strip() or 'no output').splitlines()[-1]}")
    return seconds, stderr
