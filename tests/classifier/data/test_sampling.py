"""Parting, balance and drawing: groups stay together, counts come out equal, the same by each seed and step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from facepipe.classifier.config.recipe import Balance, Split
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.loader import CropSource, training_batches
from facepipe.classifier.data.sampling import draw_report, draw_rows, group_names, row_weights
from facepipe.classifier.data.statistics import balance_report, cramers_v, kolmogorov_smirnov
from facepipe.classifier.data.table import read_faces
from facepipe.core.errors import DataError

SCHEMA = read_schema()


@pytest.fixture
def uneven(make_csv):
    """320 rows: 200 male x, 80 male y, 30 female x, 10 female with a blank race."""
    rows = ["male,x"] * 200 + ["male,y"] * 80 + ["female,x"] * 30 + ["female,"] * 10
    return read_faces(make_csv("file,framing,split,gender,race", *(f"a.png,tight,train,{row}" for row in rows)), SCHEMA)


def drawn(table, draw, epochs=10):
    names = group_names(table, ("gender", "race"))
    found = Counter()
    for epoch in range(epochs):
        found.update(names[draw_rows(len(table), draw, np.random.default_rng(epoch))].tolist())
    return found


def test_groups_are_drawn_equally(uneven):
    draw = row_weights(uneven, Balance(by=("gender", "race")))
    assert draw.sum() == pytest.approx(1)
    found = drawn(uneven, draw)
    assert set(found) == {"male, x", "male, y", "female, x", "female, –"}
    for count in found.values():
        assert count == pytest.approx(800, rel=0.02)


def test_by_the_square_root_of_their_sizes(uneven):
    found = drawn(uneven, row_weights(uneven, Balance(by=("gender", "race"), draw="square_root")))
    roots = {"male, x": 200**0.5, "male, y": 80**0.5, "female, x": 30**0.5, "female, –": 10**0.5}
    for name, root in roots.items():
        assert found[name] == pytest.approx(3200 * root / sum(roots.values()), rel=0.03)


def test_a_weight_acts_within_its_group(uneven):
    uneven.weights[:100] = 3.0  # half of the group "male, x"
    draw = row_weights(uneven, Balance(by=("gender", "race")))
    assert draw[:100].sum() == pytest.approx(0.75 / 4)
    assert draw[:200].sum() == pytest.approx(0.25)
    alone = row_weights(uneven, Balance())
    assert alone[0] / alone[-1] == pytest.approx(3)


def test_without_balance_each_row_comes_once(uneven):
    assert row_weights(uneven, Balance()) is None
    order = draw_rows(50, None, np.random.default_rng((1, 2)))
    np.testing.assert_array_equal(order, np.random.default_rng((1, 2)).permutation(50))


def test_numbers_are_balanced_by_ranges(make_csv):
    rows = ["30,,", "39,,", ",20,29", "100,,", ",,"]
    table = read_faces(make_csv("file,age,age_lo,age_hi,split", *(f"a.png,{row},train" for row in rows)), SCHEMA)
    assert group_names(table, ("age",)).tolist() == ["30+", "30+", "20+", "90+", "–"]
    assert group_names(table, ("eyes",)).tolist() == ["–"] * 5


def test_balance_by_something_unknown(uneven):
    with pytest.raises(DataError, match="nothing named 'hair' to balance by"):
        row_weights(uneven, Balance(by=("hair",)))


def test_scarce_groups_are_told(uneven):
    balance = Balance(by=("gender", "race"))
    lines = draw_report(uneven, row_weights(uneven, balance), balance)
    assert "  female, –: 25.0 % of the draws, 10 rows" in lines
    assert not any("warning" in line for line in lines)
    few = uneven.rows(np.r_[0:200, 310:312])
    assert "warning: each row of 'female, –' is drawn over 20 times" in "\n".join(
        draw_report(few, row_weights(few, balance), balance)
    )
    assert draw_report(uneven, None, Balance()) == []


def test_a_resumed_run_draws_the_same_batches(faces):
    table = read_faces(faces, SCHEMA).split("train")
    draw = row_weights(table, Balance(by=("gender",)))

    def images(start, count, draw=draw):
        stream = training_batches(CropSource(table, 32, (0, 0, 0)), 5, None, (4,), start, draw=draw)
        found = [next(stream).images for _ in range(count)]
        stream.close()
        return found

    whole = images(0, 10)
    np.testing.assert_array_equal(whole[7:], images(7, 3))
    assert (np.array(whole) != np.array(images(0, 10, None))).any()


def test_an_epoch_of_batches_is_balanced(faces):
    table = read_faces(faces, SCHEMA).split("train")
    draw = row_weights(table, Balance(by=("gender",)))
    stream = training_batches(CropSource(table, 16, (0, 0, 0)), 4, None, (0,), draw=draw)
    labels = np.concatenate([next(stream).targets["gender"] for _ in range(8 * 30)])
    stream.close()
    counts = [np.isnan(labels).sum(), (labels == 0).sum(), (labels == 1).sum()]
    assert counts == pytest.approx([len(labels) / 3] * 3, rel=0.05)


# ---------------------------------------------------------------------------------------------------------------------
# Splits
# ---------------------------------------------------------------------------------------------------------------------


def test_shares_of_the_groups_and_none_apart(make_csv):
    rows = [f"a.png,male,g{index % 40}" for index in range(200)]
    table = read_faces(make_csv("file,gender,group", *rows), SCHEMA, split=Split(val=0.15, test=0.15))
    sides = {}
    for group, split in zip(table.columns["group"], table.columns["split"], strict=True):
        assert sides.setdefault(group, split) == split
    assert Counter(sides.values()) == {"train": 28, "val": 6, "test": 6}


def test_the_default_split_is_the_one_of_older_runs(make_csv):
    """Runs of 0.2.0 go on with the rows that they had."""
    table = read_faces(make_csv("file,gender,group", *(f"a.png,male,{name}" for name in "abcdefghij")), SCHEMA, seed=7)
    val = np.random.default_rng(7).permutation(np.array([*"abcdefghij"]))[:2]
    assert (np.isin(table.columns["group"], val) == (table.columns["split"] == "val")).all()


def test_balance_of_the_splits_is_told(make_csv):
    rows = [f"a.png,{'male' if index % 2 else 'female'},{20 + index % 30},train" for index in range(300)]
    rows += [f"a.png,{'male' if index % 10 else 'female'},{60 + index % 20},val" for index in range(200)]
    lines = balance_report(read_faces(make_csv("file,gender,age,split", *rows), SCHEMA))
    assert lines[0] == "balance of the splits: train 300 rows | val 200 rows"
    assert "  gender: female 50.0 %, male 50.0 % of 300 | female 10.0 %, male 90.0 % of 200" in lines
    assert "  age: mean 34.5 of 300 | mean 69.5 of 200" in lines
    warnings = [line for line in lines if line.startswith("warning")]
    assert [line.split()[1] for line in warnings] == ["age", "gender"]


def test_an_even_split_has_no_warning(make_csv):
    rows = [f"a.png,{'male' if index % 2 else 'female'},{20 + index % 31}" for index in range(600)]
    lines = balance_report(read_faces(make_csv("file,gender,age", *rows), SCHEMA))
    assert not [line for line in lines if line.startswith("warning")]


def test_a_split_without_labels_is_told(make_csv):
    lines = balance_report(read_faces(make_csv("file,gender,split", "a.png,male,train", "a.png,,val"), SCHEMA))
    assert "warning: gender is not labelled in val" in lines


def test_distances_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    for _ in range(20):
        first, second = random.integers(5, 60, (2, random.integers(2, 6)))
        table = stats.chi2_contingency(np.stack([first, second]), correction=False)
        value, sure = cramers_v(first, second)
        assert value == pytest.approx((table.statistic / (first.sum() + second.sum())) ** 0.5)
        if not 0.0005 < table.pvalue < 0.002:
            assert sure == (table.pvalue < 0.001)
        a, b = random.normal(0, 1, 200), random.normal(random.random(), 1, 150)
        assert kolmogorov_smirnov(a, b)[0] == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert cramers_v(np.array([3, 0]), np.array([0, 0])) == (0.0, False)
