"""What a benchmark measures, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facepipe.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class Extent:
    """How much to do.

    Attributes:
        seconds: for all comparisons together, roughly.
        count: pictures of the main question.
        notebook: how many of them the notebook method reads.
        faces: in the other pictures of that size.
        sizes: megapixels of the pictures of other sizes, each with one face.
        fewest, most: rounds.
        starts: cold starts.
        stream: minimum pictures in a round; the same ones are repeated as often as needed.
    """

    seconds: float
    count: int = 16
    notebook: int = 6
    sizes: tuple[float, ...] = (0.3, 1.0, 2.0, 8.0, 24.0)
    faces: tuple[int, ...] = (0, 1, 50)
    fewest: int = 3
    most: int = 15
    starts: int = 5
    stream: int = 32


QUICK = Extent(0.0, 2, 1, (0.3, 1.0), (0, 1), 1, 2, 1, 1)
"""Enough to see that everything works; the figures mean nothing."""
MAIN_FACES, MAIN_MP = 10, 1.0
"""Faces and size of the drawn pictures of the main question."""


@dataclass(frozen=True)
class Chosen:
    """What to measure.

    Attributes:
        folder: pictures for the main question; None draws them.
        detector, classifiers, device, threads, precision: as ``Pipeline`` takes them.
        notebook: whether to time the notebook method; None if the training extra is installed.
        notebook_detector, notebook_classifier: its trained files; None for random weights.
        seed: of the drawn pictures.
    """

    folder: Path | None = None
    detector: str | None = None
    classifiers: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int | None = None
    precision: str = "auto"
    notebook: bool | None = None
    notebook_detector: Path | None = None
    notebook_classifier: Path | None = None
    seed: int = 0

    def open(self, precision: str | None = None) -> Pipeline:
        """Open a pipeline with these models."""
        return Pipeline(
            self.detector,
            list(self.classifiers) or None,
            self.device,
            self.threads,
            precision=precision or self.precision,
        )

    def options(self) -> list[str]:
        """The same as options of ``facepipe detect``."""
        given = {"--detector": self.detector, "--threads": self.threads, "--device": self.device}
        words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        words += [word for each in self.classifiers for word in ("--classifier", each)]
        return words if self.precision == "auto" else [*words, "--precision", self.precision]
