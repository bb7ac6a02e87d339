"""Splits: seeded, in the shares asked for, near-duplicates together."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.core.near_duplicates import copied_from, join_groups
from facepipe.detector.data.splits import DEFAULT_SHARES, assign_splits, read_shares
from hypothesis import given
from hypothesis import strategies as st


def crowd(seed: int, pictures: int = 400) -> tuple[list[int], np.ndarray]:
    """Groups and counts as a real set has them: some near-duplicates, few very full pictures, a rare class."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, pictures * 3 // 4, pictures)
    boxes = np.floor(random.pareto(1.2, pictures) * 3)
    rare = (random.random(pictures) < 0.05).astype(float)
    return groups.tolist(), np.stack([np.ones(pictures), boxes == 0, boxes, rare], axis=1)


@pytest.mark.parametrize("shares", [DEFAULT_SHARES, {"train": 0.7, "val": 0.15, "test": 0.15}])
def test_groups_stay_whole_and_shares_come_close(shares: dict[str, float]) -> None:
    groups, counts = crowd(0)
    splits = np.array(assign_splits(groups, counts, shares))
    for group in set(groups):
        assert len(set(splits[np.array(groups) == group])) == 1
    for name, share in shares.items():
        got = counts[splits == name].sum(axis=0) / counts.sum(axis=0)
        assert got == pytest.approx(np.full(4, share), abs=0.03)


def test_a_seed_gives_one_split() -> None:
    groups, counts = crowd(1)
    assert assign_splits(groups, counts, DEFAULT_SHARES, 3) == assign_splits(groups, counts, DEFAULT_SHARES, 3)
    assert assign_splits(groups, counts, DEFAULT_SHARES, 3) != assign_splits(groups, counts, DEFAULT_SHARES, 4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), min_size=1, max_size=30), st.integers(0, 5))
def test_small_sets(pictures: list[tuple[int, int]], seed: int) -> None:
    groups = [group for group, _ in pictures]
    counts = np.array([(1, boxes == 0, boxes) for _, boxes in pictures], float)
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    if len(set(groups)) < 3:
        with pytest.raises(DataError, match="too few for train, val, test"):
            assign_splits(groups, counts, shares, seed)
        return
    splits = assign_splits(groups, counts, shares, seed)
    assert set(splits) == set(shares)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))


def test_groups_with_a_split_keep_it_and_do_not_count() -> None:
    groups, counts = crowd(2)
    fixed = dict.fromkeys(sorted(set(groups))[:100], "val")
    splits = np.array(assign_splits(groups, counts, DEFAULT_SHARES, 0, fixed))
    is_fixed = np.array([group in fixed for group in groups])
    assert set(splits[is_fixed]) == {"val"}
    assert (splits[~is_fixed] == "val").mean() == pytest.approx(0.15, abs=0.03)
    assert assign_splits([0, 0], np.ones((2, 1)), DEFAULT_SHARES, 0, {0: "test"}) == ["test", "test"]


def test_join_groups() -> None:
    assert join_groups([0, 1, 2, 3], [None, "a", None, "a"]) == [0, 1, 2, 1]
    assert join_groups([0, 0, 1, 2], [None, "a", "a", "b"]) == [0, 0, 0, 1]


def test_roboflows_copies() -> None:
    assert copied_from(PurePath("dog_jpg.rf.0a1B2c.jpg")) == "dog_jpg"
    assert copied_from(PurePath("dog.rf.jpg")) is None


@pytest.mark.parametrize("text", ["1", "0.8,0.3", "0.8,0.1,0.05,0.05", "0.9,x", "1.1,-0.1", "nan,1", ""])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(DataError, match="--split takes the shares"):
        read_shares(text)


def test_shares() -> None:
    assert read_shares("0.85,0.15") == DEFAULT_SHARES
    assert read_shares("0.7,0.15,0.15") == {"train": 0.7, "val": 0.15, "test": 0.15}
