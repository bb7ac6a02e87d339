"""Results: what facepipe says of one picture. ``Result.model_dump_json()`` is the one source of its JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .result_data import Box, ClassifierUsed, DetectorUsed, Face, Head, Models, ModelUsed, Part, ResultData

if TYPE_CHECKING:
    from pandas import DataFrame
    from supervision import Detections

__all__ = [
    "Box",
    "ClassifierUsed",
    "DetectorUsed",
    "Face",
    "Head",
    "ModelUsed",
    "Models",
    "Part",
    "Result",
]
HELD = "_held"
"""Beside the fields in a result's ``__dict__``, where the picture came without a path: a ``Held``."""


class Result(ResultData):
    """What was found in one picture, or why it could not be read (``error``; size and boxes are then missing).

    >>> from facepipe import Pipeline
    >>> with Pipeline() as pipeline:
    ...     result = pipeline.run("examples/astronaut.jpg")
    >>> Result.model_validate_json(result.model_dump_json()) == result
    True
    >>> len(result), [round(face.confidence, 1) for face in result]
    (1, [0.9])

    It has the length of its faces and is iterated over by them. What draws needs the picture: it is read again from
    ``source``, or taken from what ``Pipeline.run`` was given; results of streams, of URLs, and those read from JSON
    whose picture has moved, want it as ``frame``.
    """

    def __len__(self) -> int:
        return len(self.faces)

    def __bool__(self) -> bool:
        """A result is true, whether or not there are faces in it."""
        return True

    def __iter__(self) -> Iterator[Face]:  # type: ignore[override]
        return iter(self.faces)

    def __getitem__(self, index: int) -> Face:
        return self.faces[index]

    def __repr__(self) -> str:
        from .result_views import in_lines

        return in_lines(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        from .result_views import as_html

        return as_html(self, self.__dict__.get(HELD))

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": {name: value for name, value in state["__dict__"].items() if name != HELD}}

    def plot(self, frame: np.ndarray | None = None) -> np.ndarray:
        """The picture with boxes, points and attributes drawn in.

        Args:
            frame: the picture, BGR, uint8, (height, width, 3); None takes the one that the result was made of.

        Returns:
            BGR, uint8, (height, width, 3); a small picture comes out larger.

        Raises:
            ImageError: the picture is not there any more, or the result is of one that could not be read.
        """
        from .drawing.draw import draw
        from .result_views import frame_of

        return draw(frame_of(self, frame, self.__dict__.get(HELD)), self)

    def show(self, frame: np.ndarray | None = None) -> None:
        """Show :meth:`plot` in a notebook, or in a window until a key is pressed.

        Args:
            frame: as :meth:`plot` takes it.

        Raises:
            ImageError: as :meth:`plot`.
            FacepipeError: no window can be opened.
        """
        from .result_views import show

        show(self.plot(frame), self.source or "facepipe")

    def save(self, path: str | os.PathLike[str], frame: np.ndarray | None = None) -> Path:
        """Write :meth:`plot` as a picture.

        Args:
            path: its suffix says the format: ``.jpg``, ``.png``, ``.webp``.
            frame: as :meth:`plot` takes it.

        Returns:
            The path.

        Raises:
            ImageError: as :meth:`plot`.
            FacepipeError: the suffix is of no such format, or the file cannot be written.
        """
        from .result_views import write

        return write(self.plot(frame), Path(path))

    def crops(self, margin: float = 0.0, frame: np.ndarray | None = None) -> list[np.ndarray]:
        """The faces, cut out of the picture, in their order.

        Args:
            margin: added on each side, as a share of the box's longer side.
            frame: as :meth:`plot` takes it.

        Returns:
            For each face BGR, uint8, (height, width, 3), no larger than the picture.

        Raises:
            ImageError: as :meth:`plot`.
        """
        from .result_views import cut_faces, frame_of

        return cut_faces(self, frame_of(self, frame, self.__dict__.get(HELD)), margin)

    def to_df(self) -> DataFrame:
        """The faces as a pandas DataFrame, see ``facepipe.to_df``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        from .adapters import to_df

        return to_df(self)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data: what its JSON says."""
        return self.model_dump(mode="json")

    def to_supervision(self) -> Detections:
        """The faces and heads as ``supervision.Detections``, see ``adapters.to_supervision``.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        from .adapters import to_supervision

        return to_supervision(self)


class Held:
    """A picture in memory that a result was made of; it is no part of the result."""

    def __init__(self, source: object):
        self.source = source


def hold(result: Result, source: object) -> Result:
    """Let a result know the picture in memory that it was made of, for :meth:`Result.plot`."""
    result.__dict__[HELD] = Held(source)
    return result
