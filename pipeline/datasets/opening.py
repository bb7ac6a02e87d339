"""The pipeline's reader as ``data check`` wants it: bytes in, frame and facts of the file out."""

from __future__ import annotations

from ...core.errors import ImageError
from ...detector.data.check import Opened
from ..inputs.image_header import read_header
from ..inputs.image_reader import read_frame


def open_stored(content: bytes) -> Opened:
    """Decode a stored picture.

    Raises:
        ImageError: not a picture, damaged, cut short or too large; the message leaves the file's name to the caller.
    """
    try:
        frame = read_frame(content)
    except ImageError as error:
        raise ImageError(str(error).removeprefix("bytes: ")) from error
    header = read_header(content)
    return Opened(frame, header.format, frame.shape[:2] != (header.height, header.width))
