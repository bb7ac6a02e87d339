"""A folder of pictures that results are drawn on, or in which faces are hidden."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2

from ...core.errors import FacepipeError
from ..drawing.draw import draw
from ..drawing.options import DrawOptions
from ..inputs.colour_profile import read_profile, with_profile
from ..inputs.image_reader import Frame
from ..results import Result
from .names import FreeNames, put, stem_of
from .options import How, What

JPEG_SIDE = 65500
"""Longest side that libjpeg writes; a longer picture is saved as PNG."""
ENDINGS = {None: "-faces", "blur": "-blurred", "pixelate": "-pixelated"}


class PictureFolder:
    """Saves pictures as ``<name>-faces.jpg``, those with something hidden as ``<name>-blurred.jpg`` or ``-pixelated``.

    Each is written in one step that either happens or does not. The second of a name becomes ``<name>-faces-2.jpg``.
    Pixels are written, and the colour profile that they need: no EXIF, no place, no thumbnail of the input goes along.

    Args:
        folder: is there.
        inputs: paths of the pictures that are read, which are never overwritten.
        how, what: hides faces or heads in place of drawing.
        taken: names that this run has given out before it was interrupted.
        drawing: what is drawn where nothing is hidden.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Iterable[str],
        how: How | None = None,
        what: What | None = None,
        taken: Iterable[str] = (),
        drawing: DrawOptions | None = None,
    ):
        self._how, self._what = how, what
        self._drawing = drawing
        self.names = FreeNames(folder, inputs, taken)

    def save(self, frame: Frame, result: Result) -> str:
        """Save one picture and give its name in the folder.

        Raises:
            FacepipeError: it cannot be written.
        """
        if self._how is None or self._what is None:
            picture = draw(frame, result, self._drawing)
        else:
            from ..drawing.anonymize import hide

            picture = hide(frame, result, self._how, self._what)
        suffix = ".jpg" if max(picture.shape) <= JPEG_SIDE else ".png"
        target = self.names.take(stem_of(result.source) + ENDINGS[self._how], suffix, result.source)
        done, encoded = cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not done:
            raise FacepipeError(f"{target}: OpenCV cannot encode this picture")
        content = encoded.tobytes()
        if suffix == ".jpg" and result.source and (profile := read_profile(result.source)) is not None:
            content = with_profile(content, profile)
        put(target, content)
        return target.name
