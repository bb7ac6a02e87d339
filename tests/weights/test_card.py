"""The model card: every figure from the manifest, in order, the same each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facepipe.weights.card import PLOT_TITLES, model_card, training_runs
from facepipe.weights.card_tables import by_group, listed, table, tree
from facepipe.weights.manifest import BinaryAttribute, FaceCheck, Manifest, Metric, Metrics, read_manifest
from facepipe.weights.metrics import BY_SIZE, comparable, measure_and_subject
from facepipe.weights.store import PACKAGE_ROOT

MakeRun = Callable[..., Path]


@pytest.fixture
def manifest(make_run: MakeRun) -> Manifest:
    return read_manifest(make_run(int8=0.9012, float16=0.905) / "export" / "manifest.json")


def with_values(manifest: Manifest, *values: tuple[str, float | None, int | None]) -> Manifest:
    """The manifest with these figures, of its default file alone."""
    metrics = Metrics(
        protocol="a protocol",
        command="a command",
        values=tuple(Metric(name=name, value=value, count=count) for name, value, count in values),
        file_sha256=manifest.files[0].sha256,
    )
    return manifest.model_copy(update={"metrics": (metrics,), "files": manifest.files[:1]})


@pytest.mark.parametrize("stage", ["detector", "classifier"])
def test_every_figure_stands_in_the_card(stage: Any, make_run: MakeRun) -> None:
    manifest = read_manifest(make_run(stage, int8=0.9012, float16=0.903) / "export" / "manifest.json")
    card = model_card(manifest, ["card/pr.png", "card/curves.png"])
    assert card == model_card(manifest, ["card/pr.png", "card/curves.png"])
    assert card == model_card(
        Manifest.model_validate_json(manifest.model_dump_json()), ["card/pr.png", "card/curves.png"]
    )
    int8, float16 = card.index("### int8"), card.index("### float16")
    for place, end, metrics in (
        (int8, float16, manifest.metrics[0]),
        (float16, card.index("## What"), manifest.metrics[1]),
    ):
        part = card[place:end]
        for metric in metrics.values:
            if place == float16 and by_group(metric):
                assert metric.name.partition("/")[2] not in part, "figures by group are the default file's"
                continue
            measure, subject = measure_and_subject(metric.name)
            assert measure in part
            assert subject in part
            assert f"{metric.value:.4f}" in part
            assert f"{metric.count:,}" in part
    assert card.index("card/pr.png") < float16, "the plots are the default file's"
    assert card.index("## How it was trained") < card.index("card/curves.png")
    for entry in manifest.files:
        assert entry.sha256 in card
    for data in manifest.data:
        assert f"| {data.name} | {data.count:,} | {data.terms.replace('|', chr(92) + '|')} |" in card
    for words in (manifest.licence, f"facepipe weights use {stage} {manifest.version}", manifest.date):
        assert words in card


def test_no_figure_is_in_the_card_that_is_not_in_the_manifest(manifest: Manifest) -> None:
    card = model_card(manifest)
    shown = set(re.findall(r"\d\.\d{4}\b", card))
    known = {f"{metric.value:.4f}" for metrics in manifest.metrics for metric in metrics.values}
    loss = f"{0.905 - 0.9012:.4f}"
    assert shown == known | {loss}


def test_the_runs_are_told_oldest_first(manifest: Manifest) -> None:
    assert [run.get("seed", "last") for run in training_runs(manifest)] == [7, "last"]
    card = model_card(manifest)
    first, second = card.index("### Run 1 of 2"), card.index("### Run 2 of 2, started from")
    assert "seed: 7" in card[first:second]
    assert "  lr0: 0.001\n  val: false" in card[second:]
    assert "The last: epoch 2, loss 1.25." in card
    assert "lr/pg0" not in card
    again = card[card.index("## Make and measure it again") :]
    commands = re.search(r"```sh\n(.*?)```", again, re.DOTALL).group(1).splitlines()  # type: ignore[union-attr]
    assert commands[:2] == [
        "facepipe train-detector --seed 7",
        "facepipe train-detector --data data.yaml --start best.pt",
    ]
    assert "facepipe evaluate-detector --data x.yaml --detector 0.0.0-a --split val" in commands


def test_the_limits_follow_from_the_figures(manifest: Manifest) -> None:
    changed = with_values(
        manifest,
        ("AP50, face boxes 8-16 px", 0.2034, 2000),
        ("AP50, face boxes 16-32 px", 0.8, 900),
        ("AP50, face boxes 32-96 px", 0.9, 900),
        ("AP50, head boxes 8-16 px", None, 0),
        ("false alarms a picture, pictures with nobody", 0.05, 60),
        ("AP50 by source, wider: face boxes", 0.7, 900),
    )
    limits = model_card(changed)
    limits = limits[limits.index("## Limits") : limits.index("## Make and")]
    assert "- Worst AP50: 0.2034, of face boxes 8-16 px (n 2,000)." in limits
    assert "- Rough, being of fewer than 100: pictures with nobody (n 60)." in limits
    assert "- Not measured, for lack of rows: AP50, head boxes 8-16 px." in limits
    assert "- Sources that no table names: negatives." in limits
    worse = with_values(manifest, ("error, a", 1.0, 200), ("error, b", 2.0, 200), ("error, c", 1.5, 200))
    assert "- Worst error: 2.0000, of b (n 200)." in model_card(worse)


def test_tables_hold_together_what_belongs_together(manifest: Manifest) -> None:
    changed = with_values(
        manifest,
        ("AP50, face", 0.1, 10),
        ("AP50, head", 0.2, 20),
        ("alarms, nobody", 0.3, 5),
        ("recall, face", 0.4, 10),
        ("recall, head", 0.5, 21),
        ("a/b=c", 0.6, 1),
    )
    card = model_card(changed)
    assert "|  | AP50 | recall | n |\n| --- | ---: | ---: | ---: |\n| face | 0.1000 | 0.4000 | 10 |" in card
    assert "| head | 0.2000 (20) | 0.5000 (21) |  |" in card
    assert "|  | alarms | n |\n| --- | ---: | ---: |\n| nobody | 0.3000 | 5 |" in card
    assert "| b=c | 0.6000 | 1 |" in card
    many = with_values(manifest, *((f"m{i}, s{j}", 0.5, 1) for i in range(9) for j in range(9)))
    assert "| m8, s8 | 0.5000 | 1 |" in model_card(many)


def test_names_of_figures() -> None:
    assert measure_and_subject("AP50, face boxes of every size") == ("AP50", "face boxes of every size")
    assert measure_and_subject("gender.accuracy/UTKFace") == ("gender.accuracy", "UTKFace")
    assert measure_and_subject("age.mae") == ("age.mae", "all")
    assert measure_and_subject("AP50, train/val") == ("AP50", "train/val")


def test_thresholds_of_their_own_are_compared() -> None:
    assert comparable("recall at 0.25, face boxes >= 16 px at 640") == (
        "recall at its own threshold, face boxes >= 16 px at 640"
    )
    assert comparable("alarms a picture at 1, nobody") == "alarms a picture at its own threshold, nobody"
    for name in ("AP50, face boxes >= 16 px at 640", "age.mae", "looks at 12, things"):
        assert comparable(name) == name


def test_notes_have_a_section_only_where_there_are_some(manifest: Manifest) -> None:
    assert "## Notes" not in model_card(manifest)
    assert "## Notes\n\nBeware.\n" in model_card(manifest.model_copy(update={"notes": "Beware.\n"}))


def test_pieces_of_markdown() -> None:
    assert table(["a", "b"], [["1|2", "x\ny"]], right=(1,)) == ["| a | b |", "| --- | ---: |", "| 1\\|2 | x y |", ""]
    content: dict[str, Any] = {"a": None, "b": {"c": [1, 2.5], "d": [{"e": True}, [1]]}, "f": {}}
    assert tree(content) == [
        "a: null",
        "b:",
        "  c: [1, 2.5]",
        "  d:",
        "    - e: true",
        "    - [1]",
        "f: {}",
    ]
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize("stage", ["detector", "classifier"])
def test_a_shipped_card_is_made_again_with_the_same_figures(stage: str) -> None:
    folder = PACKAGE_ROOT / stage / "1.0.0"
    manifest = read_manifest(folder / "manifest.json")
    order = [f"card/{stem}.png" for stem in PLOT_TITLES]
    plots = sorted((each.name for each in manifest.documents if each.name in order), key=order.index)
    made, shipped = model_card(manifest, plots), (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for pattern in (r"\d[\d.,]*", r"^\|.*\|$", r"^#+ .*$", r"!\[.*"):
        assert re.findall(pattern, made, re.M) == re.findall(pattern, shipped, re.M)


def test_figures_by_the_size_of_the_face_come_first(manifest: Manifest) -> None:
    sized = manifest.metrics[0].model_copy(update={"protocol": f"{BY_SIZE} twelve sizes"})
    card = model_card(manifest.model_copy(update={"metrics": (*manifest.metrics, sized)}))
    good = card.partition("## How good it is")[2]
    assert 0 < good.index(sized.protocol) < good.index(manifest.metrics[0].protocol)


def test_a_face_check_is_described_and_is_no_attribute(make_run: MakeRun) -> None:
    manifest = read_manifest(make_run("classifier", int8=0.9012) / "export" / "manifest.json")
    check = BinaryAttribute(name="face", classes=("no", "yes"), face_check=FaceCheck(weight=0.3, neutral=3))
    card = model_card(manifest.model_copy(update={"attributes": (*manifest.attributes, check)}))
    assert "rise by 0.3 times what the log-odds of that probability are above 3" in card
    assert "| face |" not in card
    assert "Face check" not in model_card(manifest)
