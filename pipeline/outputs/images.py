"""A folder of pictures that results are drawn on, or in which faces are hidden."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from ...core.errors import FacepipeError
from ..drawing.draw import draw
from ..inputs.colour_profile import read_profile, with_profile
from ..inputs.image_reader import Frame
from ..results import Result
from .names import FreeNames, put, stem_of
from .options import Outputs

if TYPE_CHECKING:
    from ..drawing.second_look import SecondLook

JPEG = (".jpg", ".jpeg")
JPEG_SIDE = 65500
"""Longest side that libjpeg writes; a longer picture is saved as PNG."""
ENDINGS = {None: "-faces", "blur": "-blurred", "pixelate": "-pixelated"}


class PictureFolder:
    """Saves pictures as ``<name>-faces.jpg``, those with something hidden as ``<name>-blurred.jpg`` or ``-pixelated``.

    The folders below the one that all sources share are kept. Each file is written in one step that either happens or
    does not. The second of a name becomes ``<name>-faces-2.jpg``.
    Pixels are written, and the colour profile that they need: no EXIF, no place, no thumbnail of the input goes along.

    Args:
        outputs: with the folder, which is there, or the one file in it; what is drawn, or hidden.
        inputs: paths of the pictures that are read, which are never overwritten.
        taken: names that this run has given out before it was interrupted.
        look: finds more to hide than results tell.

    Attributes:
        names: gives out the names.
        hidden: how many boxes were hidden in the picture that was saved last.
    """

    def __init__(
        self, outputs: Outputs, inputs: Iterable[str], taken: Iterable[str] = (), look: SecondLook | None = None
    ):
        assert outputs.save is not None
        self._outputs, self._look = outputs, look
        self.hidden = 0
        self.names = FreeNames(outputs.save, inputs, taken, outputs.root)

    def save(self, frame: Frame, result: Result) -> str:
        """Save one picture and give its name in the folder.

        Raises:
            FacepipeError: it cannot be written.
        """
        outputs = self._outputs
        if outputs.how is None or outputs.what is None:
            picture = draw(frame, result, outputs.drawing)
        else:
            from ..drawing.anonymize import hide

            more = [] if self._look is None else self._look.find(frame)
            self.hidden = len(result.faces) + len(more) + (len(result.heads) if outputs.what == "heads" else 0)
            picture = hide(frame, result, outputs.how, outputs.what, more)
        suffix = ".jpg" if max(picture.shape) <= JPEG_SIDE else ".png"
        if outputs.save_as is not None:
            suffix = Path(outputs.save_as).suffix.lower()
        try:
            done, encoded = cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix in JPEG else [])
        except cv2.error:
            done = False
        if not done:
            raise FacepipeError(f"{result.source}: OpenCV cannot write this picture as {suffix}")
        content = encoded.tobytes()
        if suffix in JPEG and result.source and (profile := read_profile(result.source)) is not None:
            content = with_profile(content, profile)
        if outputs.save_as is None:
            target = self.names.take(stem_of(result.source) + ENDINGS[outputs.how], suffix, result.source)
        else:
            target = self.names.folder / outputs.save_as
        put(target, content)
        return target.relative_to(self.names.folder).as_posix()
