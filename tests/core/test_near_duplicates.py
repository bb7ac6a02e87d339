"""The perceptual hash and the grouping of near-duplicates."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from facepipe.core.near_duplicates import DISTANCE, hamming, near_duplicates, perceptual_hash
from hypothesis import given
from hypothesis import strategies as st

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=12)


def soft(photo: Callable[..., np.ndarray], seed: int) -> np.ndarray:
    """A picture with the smooth shades of a photo."""
    return cv2.GaussianBlur(photo(seed), (31, 31), 0)


def compressed(frame: np.ndarray) -> np.ndarray:
    decoded = cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


@pytest.mark.parametrize(
    "change",
    [
        compressed,
        lambda frame: cv2.resize(frame, None, fx=0.5, fy=0.5),
        lambda frame: cv2.convertScaleAbs(frame, alpha=0.9, beta=12),
        lambda frame: cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY),
    ],
)
def test_a_copy_keeps_its_hash(photo: Callable[..., np.ndarray], change: Callable[[np.ndarray], np.ndarray]) -> None:
    for seed in range(5):
        frame = soft(photo, seed)
        assert hamming(perceptual_hash(frame), perceptual_hash(change(frame))) <= DISTANCE


def test_different_pictures_differ(photo: Callable[..., np.ndarray]) -> None:
    hashes = [perceptual_hash(soft(photo, seed)) for seed in range(20)]
    assert min(hamming(a, b) for a in hashes for b in hashes if a is not b) > DISTANCE


def test_flat_pictures_are_one_whatever_their_grey() -> None:
    flat = {perceptual_hash(np.full((40, 60, 3), level, np.uint8)) for level in (9, 77, 128, 255)}
    assert len(flat) == 1


def test_the_hash_fits_64_bits(photo: Callable[..., np.ndarray]) -> None:
    value = perceptual_hash(photo(3))
    assert isinstance(value, int)
    assert 0 < value < 2**64


def test_groups_are_transitive_and_numbered_as_they_come() -> None:
    chain = [0, 2**40 - 1, 0b111, 0b111111, 0b111111111]
    assert near_duplicates(chain, 3) == [0, 1, 0, 0, 0]
    assert near_duplicates(chain, 2) == [0, 1, 2, 3, 4]
    assert near_duplicates([]) == []


@given(HASHES, st.integers(0, 40))
def test_groups_are_the_connected_components(hashes: list[int], distance: int) -> None:
    expected = list(range(len(hashes)))
    for _ in hashes:  # the slow way: pass the least number along until nothing changes
        for i, a in enumerate(hashes):
            for j, b in enumerate(hashes):
                if hamming(a, b) <= distance:
                    expected[i] = expected[j] = min(expected[i], expected[j])
    names: dict[int, int] = {}
    assert near_duplicates(hashes, distance) == [names.setdefault(each, len(names)) for each in expected]


def test_many_pictures() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, 15_000, dtype=np.uint64).tolist()
    hashes[14_999] = hashes[0] ^ 0b101
    groups = near_duplicates(hashes)
    assert groups[14_999] == 0
    assert len(set(groups)) == 14_999
