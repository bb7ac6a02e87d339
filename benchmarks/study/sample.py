"""The pictures that a benchmark uses: those of a folder, or drawn ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from facepipe.core.errors import FacepipeError
from facepipe.detector.inference.detector import FaceDetector
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.inputs.sources import gather

from .pictures import Drawn, draw_files
from .report import Pictures
from .settings import MAIN_FACES, MAIN_MP, Chosen, Extent


class Sample:
    """Finds and draws pictures, and remembers them.

    Args:
        chosen, extent: of the benchmark.
        folder: for drawn pictures.
        detector: counts the faces.
        log: receives one-line progress messages.

    Attributes:
        paths: all pictures that were used.
        notes: how the pictures differ from what was requested, and which ones were left out.
    """

    def __init__(
        self, chosen: Chosen, extent: Extent, folder: Path, detector: FaceDetector, log: Callable[[str], None]
    ):
        self.paths: list[Path] = []
        self.notes: list[str] = []
        self._chosen, self._extent, self._folder, self._detector, self._log = chosen, extent, folder, detector, log

    def main(self) -> tuple[Sequence[Path], str]:
        """The pictures of the main question, and a description of them.

        Raises:
            FacepipeError: the folder has none, or none that can be read.
        """
        if self._chosen.folder is None:
            drawn = self.draw(MAIN_FACES, MAIN_MP, self._extent.count)
            return drawn.paths, drawn.label
        paths = [Path(text) for text in gather([str(self._chosen.folder)]).pictures]
        wanted = [paths[int(place)] for place in np.linspace(0, len(paths) - 1, min(len(paths), self._extent.count))]
        good = [path for path in wanted if self._readable(path)]
        if not good:
            raise FacepipeError(f"{self._chosen.folder}: none of the {len(wanted)} pictures tried can be read")
        if len(paths) > len(good):
            self.notes.append(f"{self._chosen.folder}: {len(good)} of its {len(paths)} pictures were looked at")
        self.paths += good
        return good, f"{len(good)} picture{'' if len(good) == 1 else 's'} of {self._chosen.folder}"

    def _readable(self, path: Path) -> bool:
        try:
            read_frame(path)
        except FacepipeError as error:
            self.notes.append(f"left out: {error}")
            return False
        return True

    def draw(self, faces: int, megapixels: float, count: int | None = None) -> Drawn:
        """Pictures with this many faces and megapixels; fewer if they take long and no number is given."""
        if count is None:
            count = max(2, min(self._extent.count, round(self._extent.count / max(1, megapixels / 4, faces / 10))))
        self._log(f"drawing {count} pictures of {faces} faces, {megapixels} MP")
        drawn = draw_files(self._folder, count, faces, megapixels, self._count, self._chosen.seed)
        if drawn.wrong:
            self.notes.append(
                f"{drawn.label}: in {drawn.wrong} of {count} pictures the detector finds another number of faces "
                f"({', '.join(map(str, drawn.found))})"
            )
        self.paths += drawn.paths
        return drawn

    def _count(self, frame: np.ndarray) -> int:
        return len(self._detector.detect([frame])[0].of("face"))


def describe(paths: Sequence[Path], label: str, faces: Sequence[int]) -> Pictures:
    """Describe pictures for a report."""
    shapes = [read_frame(path).shape for path in paths]
    return Pictures(
        label=label,
        count=len(paths),
        faces=tuple(faces),
        megapixels=round(float(np.mean([height * width for height, width, _ in shapes])) / 1e6, 3),
        megabytes=round(sum(path.stat().st_size for path in paths) / 1e6, 3),
    )
