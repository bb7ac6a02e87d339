"""Pictures that look alike: a perceptual hash, and the grouping of near-duplicates.

It is in ``core`` because both stages need it for their data.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from pathlib import PurePath

import cv2
import numpy as np

SIDE, LOW = 32, 8
"""Side in pixels of the reduced picture, and side of the corner of its cosine transform that forms the hash."""
FLAT = 1.0
"""Coefficients up to this magnitude count as zero, so that the hash of a flat picture does not consist of rounding
errors. In units of an orthonormal transform of 32 x 32 grey values 0 to 255: a wave of 1/16 of a grey level."""
DISTANCE = 6
"""Maximum number of bits in which near-duplicates differ.

Measured on 4,568 photos of the training packs: 99 % of the copies saved again as JPEG 30, at half size, with gamma 0.7,
15 % brighter or with 1 % cropped from each side lie within 6 bits. Of the ten million pairs of different files, 58 do,
all from one fixed camera or reposted. From 8 bits on, links through third pictures join a whole day of one camera (33
in one group), and from 14 on, unrelated photos."""
ROBOFLOW_COPY = re.compile(r"\.rf\.[0-9A-Za-z]+$")
"""End of a file's stem in Roboflow's exports; augmented copies of one picture share what precedes it."""


def perceptual_hash(frame: np.ndarray) -> int:
    """64 bits that change little when a picture is scaled, recompressed or brightened.

    The DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), 3.2.1, as in
    the library ImageHash: grey, scaled to 32 x 32, cosine transform, and one bit for each of the 8 x 8 lowest
    frequencies: whether its coefficient is above their median. It is not robust to rotation, mirroring or cropping.

    Args:
        frame: uint8, BGR or grey, shape (height, width, 3) or (height, width).
    """
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if frame.ndim == 3 else frame
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:LOW, :LOW].reshape(-1)
    low[np.abs(low) <= FLAT] = 0
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Number of bits in which two hashes differ."""
    return (a ^ b).bit_count()


def near_duplicates(hashes: Sequence[int], distance: int = DISTANCE) -> list[int]:
    """Group hashes: two are in one group if steps of at most ``distance`` bits lead from one to the other.

    Args:
        hashes: 64-bit hashes.
        distance: maximum number of bits in which two near-duplicates differ.

    Returns:
        The group number of each hash; groups are numbered from 0 in order of their first member.
    """
    distinct, where = np.unique(np.array(hashes, np.uint64), return_inverse=True)
    group = np.empty(len(distinct), np.int64)
    rest, index = distinct, np.arange(len(distinct))  # those in no group yet, and their indices in ``distinct``
    number = -1
    while len(rest):
        number += 1
        group[index[-1]] = number
        reached = [rest[-1]]
        rest, index = rest[:-1], index[:-1]
        while reached and len(rest):  # compare each hash once with the rest, without a list of pairs
            near = np.bitwise_count(rest ^ reached.pop()) <= distance
            if near.any():
                group[index[near]] = number
                reached.extend(rest[near])
                rest, index = rest[~near], index[~near]
    names: dict[int, int] = {}
    return [names.setdefault(int(each), len(names)) for each in group[where]]


def copied_from(path: PurePath) -> str | None:
    """Name of the picture that Roboflow made a picture from; None if it is not from Roboflow."""
    return ROBOFLOW_COPY.sub("", path.stem) if ROBOFLOW_COPY.search(path.stem) else None


def join_groups(*keys: Sequence[Hashable]) -> list[int]:
    """Group items that share any of their keys, directly or through others.

    Args:
        keys: for each kind of key, the key of each item; None is not a key.

    Returns:
        The group number of each item, from 0.
    """
    parent = list(range(len(keys[0])))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for each in keys:
        first: dict[Hashable, int] = {}
        for item, key in enumerate(each):
            if key is not None:
                parent[root(item)] = root(first.setdefault(key, item))
    names: dict[int, int] = {}
    return [names.setdefault(root(item), len(names)) for item in range(len(parent))]
