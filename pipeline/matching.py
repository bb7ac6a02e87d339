"""Which face belongs to which head."""

from __future__ import annotations

import numpy as np

from ..detector.inference.boxes import area, share_inside

SHARE_IN_HEAD = 0.7
"""A face belongs to a head when at least this share of its area lies in the head's box."""


def match_heads(faces: np.ndarray, heads: np.ndarray) -> list[int | None]:
    """Give each face the head that it lies in, and each head at most one face.

    Pairs are taken by the share of the face inside the head (in steps of a tenth), the tighter head first among equals.

    Args:
        faces: boxes, (n, 4), in frame pixels.
        heads: boxes, (m, 4).

    Returns:
        For each face the index of its head, or None.
    """
    shares, sizes = share_inside(faces, heads), area(heads)
    pairs = sorted(
        zip(*np.nonzero(shares >= SHARE_IN_HEAD), strict=True),
        key=lambda pair: (-round(float(shares[pair]), 1), float(sizes[pair[1]])),
    )
    matched: dict[int, int] = {}
    for face, head in pairs:
        if face not in matched and head not in matched.values():
            matched[int(face)] = int(head)
    return [matched.get(face) for face in range(len(faces))]
