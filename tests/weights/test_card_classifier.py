"""What a classifier's card says of groups, calibration and what is never predicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facepipe.weights.card import model_card
from facepipe.weights.manifest import Manifest, Metric, Metrics, read_manifest
from facepipe.weights.release import losses

MakeRun = Callable[..., Path]


@pytest.fixture
def manifest(make_run: MakeRun) -> Manifest:
    return read_manifest(make_run("classifier", int8=0.9012, float16=0.903) / "export" / "manifest.json")


def changed(manifest: Manifest, **update: Any) -> Manifest:
    return Manifest.model_validate(manifest.model_dump() | update)


def measured(manifest: Manifest, *values: Metric) -> Manifest:
    return manifest.model_copy(
        update={
            "files": manifest.files[:1],
            "metrics": (Metrics(protocol="p", command="c", values=values, file_sha256=manifest.files[0].sha256),),
        }
    )


def test_groups_of_each_kind_have_a_table_with_intervals(manifest: Manifest) -> None:
    card = model_card(
        measured(
            manifest,
            Metric(name="gender.accuracy/gender=female", value=0.9, count=500, interval=(0.87, 0.92)),
            Metric(name="gender.accuracy/gender=male", value=0.95, count=501, interval=(0.93, 0.96)),
            Metric(name="gender.accuracy/gender=female, race=x", value=0.8, count=40, interval=(0.652, 0.895)),
            Metric(name="age.mae/gender=female", value=5.0, count=300, interval=(4.5, 5.5)),
            Metric(name="gender.accuracy_gap/by race: x - y", value=0.1, count=40, interval=(0.01, 0.2)),
        )
    )
    assert "|  | gender.accuracy | age.mae | n |" in card
    assert "| gender=female | 0.9000 [0.870, 0.920] (500) | 5.0000 [4.500, 5.500] (300) |  |" in card
    assert (
        "|  | gender.accuracy | n |\n| --- | ---: | ---: |\n| gender=female, race=x | 0.8000 [0.652, 0.895] | 40 |"
        in card
    )
    assert "| by race: x - y | 0.1000 [0.010, 0.200] | 40 |" in card
    assert "Rough, being of fewer" not in card, "an interval tells how rough it is"
    assert "Labels of race serve to report the figures by group; race is never predicted" in card


def test_calibration_is_told_as_it_stands_in_the_attributes(manifest: Manifest) -> None:
    assert "Not fitted: these are the schema's own." in model_card(manifest)
    attributes = [attribute.model_dump() for attribute in manifest.attributes]
    for attribute in attributes:
        if attribute["name"] == "gender":
            attribute |= {"temperature": 1.37, "abstain_below": 0.612}
        if attribute["name"] == "age":
            attribute |= {"temperature": 0.9, "widen": -1.25}
    told = {"rule": "a rule", "rows": 1797, "file": "int8"}
    card = model_card(changed(manifest, attributes=attributes, training={"calibration": told}))
    section = card[card.index("## Calibration") : card.index("## What the answers")]
    assert "| gender | 1.37 | 0.612 |  |" in section
    assert "| age | 0.9 |  | 80 %, -1.25 years at both ends |" in section
    assert "| smile | 1 | never |  |" in section
    assert "eyes" not in section
    assert "with the int8 file on 1,797 validation rows" in section
    assert "The limit is a rule." in section


def test_what_is_never_predicted(manifest: Manifest) -> None:
    card = model_card(manifest)
    assert "race is never predicted, and neither is emotion: no head for either ships" in card
    assert "identity embedding" not in card, "the file has no features"
    assert "(2,048 numbers) is not an identity embedding" in model_card(changed(manifest, features=2048))
    balanced = changed(manifest, training={"recipe": {"balance": {"by": ["race", "gender"]}}})
    assert "Labels of race serve to balance the training and to report the figures by group;" in model_card(balanced)
    assert "Race is never predicted" in model_card(measured(manifest, Metric(name="age.mae", value=5.0, count=9)))


def test_a_schema_of_one_s_own_is_not_praised_for_what_it_does(manifest: Manifest) -> None:
    attributes = [each.model_dump() for each in manifest.attributes]
    attributes.append({"kind": "categorical", "name": "emotion", "classes": ["glad", "sad"]})
    card = model_card(changed(manifest, attributes=attributes))
    assert "It predicts emotion, which facepipe's own classifiers never do" in card
    assert "never predicted" not in card
    shirts = changed(
        manifest,
        name="shirt",
        attributes=[{"kind": "categorical", "name": "shirt", "classes": ["red", "blue"]}],
        crop=manifest.crop.model_dump() | {"region": "torso"} if manifest.crop else None,
    )
    assert "What the answers are not" not in model_card(measured(shirts))


def test_the_limit_on_a_number_s_loss_is_a_share_of_its_range(manifest: Manifest) -> None:
    def with_age(high: float, int8: float, exact: float) -> Manifest:
        attributes = [
            each.model_dump() | ({"high": high} if each.name == "age" else {}) for each in manifest.attributes
        ]
        metrics = [
            Metrics(
                protocol="p",
                command="c",
                values=(Metric(name="age.mae", value=value, count=500),),
                file_sha256=entry.sha256,
            ).model_dump()
            for entry, value in zip(manifest.files, (int8, exact), strict=True)
        ]
        return changed(manifest, attributes=attributes, metrics=metrics)

    (loss,) = losses(with_age(100.0, 5.09, 5.0))
    assert (loss.most, loss.judged, loss.too_great) == (pytest.approx(0.1), True, False)
    assert losses(with_age(100.0, 5.11, 5.0))[0].too_great
    assert losses(with_age(2.0, 0.053, 0.05))[0].too_great
    assert losses(with_age(2.0, 0.051, 0.05))[0].judged, "a mean error is no share of rows"
