"""The comparison of the recipes: one is trained on drawn crops, and the table comes from what is kept of it."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recipe_table
import recipes
from facepipe.core.errors import FacepipeError
from facepipe.core.files import write_whole

PAGE = "Before.\n<!-- table -->\nold\n<!-- /table -->\nAfter.\n"


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipe_table, "REACHED", tmp_path / "reached.json")
    (tmp_path / "docs").mkdir()
    write_whole(tmp_path / "docs" / "recipes.md", PAGE.encode())
    return tmp_path / "docs"


def record(folder: Path, name: str, **changes: object) -> None:
    known = {
        "recipe": name,
        "backbone": "mobilenetv2",
        "size": 128,
        "start": "our own",
        "images": 60000,
        "parameters": 2_300_000,
        "milliseconds": 3.4,
        "loss": 0.5,
        "figures": {"gender.accuracy/utkface": 0.91},
        "guesses": {"gender.accuracy/utkface": 0.52},
    }
    (folder / name).mkdir(parents=True)
    (folder / name / recipe_table.DONE).write_text(json.dumps(known | changes))
    (folder / name / recipes.HISTORY).write_text(
        "epoch,stage,size,step,val_loss,train_loss,gender.accuracy\n0.5,all,128,10,0.6,0.7,0.8\n1,all,128,20,0.5,0.5,0.9\n"
    )


def test_the_table_comes_from_the_kept_files(tmp_path: Path, docs: Path) -> None:
    records = tmp_path / "records"
    record(records, "multitask-mobilenetv2")
    record(records, "convnet", start="random", figures={"age.mae/utkface": 9.24}, guesses={"age.mae/utkface": 17.0})
    recipes.agree(records, {"images": 60000, "heavy": 20000, "train": None, "val": None, "size": 128, "seed": 0})
    recipes.main(table=True, records=records, docs=docs)
    lines = (docs / "recipes.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("Before.", "After.")
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("|")}
    assert "| 9.2 | – |" in rows["`convnet`"]
    assert "gender 0.944" in rows["`multitask-mobilenetv2`"]
    assert "| 17.0 | 0.52 |" in rows["always the commonest"]
    assert "Their curves: [others](pictures/recipes-others.png)." in lines
    assert "old" not in lines
    curves = cv2.imread(str(docs / "pictures" / "recipes-others.png"))
    assert curves is not None
    assert curves.shape[0] > 300
    reached = json.loads((tmp_path / "reached.json").read_text())
    assert [run["recipe"] for run in reached["runs"]] == ["convnet", "multitask-mobilenetv2"]


def test_two_budgets_are_not_mixed(tmp_path: Path) -> None:
    recipes.agree(tmp_path, {"images": 60000})
    recipes.agree(tmp_path, {"images": 60000})
    with pytest.raises(FacepipeError, match="holds runs with"):
        recipes.agree(tmp_path, {"images": 20})


def test_nothing_kept_is_no_table(tmp_path: Path, docs: Path) -> None:
    with pytest.raises(FacepipeError, match="no results of any recipe yet"):
        recipes.main(table=True, records=tmp_path / "none", docs=docs)


def test_the_processes_get_all_other_options() -> None:
    given = ["--data", "a.csv", "--recipe", "convnet", "--jobs=2", "--images", "60", "--jobs", "2", "--recipe=resnet50"]
    assert recipes.options_without(given, "--recipe", "--jobs") == ["--data", "a.csv", "--images", "60"]


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Women are red and men blue; half of the rows are for validation."""
    random = np.random.default_rng(3)
    with (tmp_path / "crops.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "source", "split", "framing", "gender", "age", "age_lo", "age_hi"])
        for number in range(64):
            picture = np.full((40, 40, 3), (200, 40, 40) if number % 2 else (40, 40, 200), np.uint8)
            cv2.imwrite(str(tmp_path / f"{number}.png"), picture + random.integers(0, 40, picture.shape, np.uint8))
            split, gender = ("train", "val")[number // 2 % 2], ("female", "male")[number % 2]
            decade = number // 10 * 10
            ages = ("utkface", number + 5, "", "") if number % 8 < 4 else ("fairface", "", decade, decade + 9)
            writer.writerow([f"{number}.png", ages[0], split, "tight", gender, *ages[1:]])
    return tmp_path / "crops.csv"


def test_a_recipe_is_trained_and_kept(crops: Path, tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant, in this process, as its children do; a second call finds it done."""
    monkeypatch.chdir(tmp_path)
    records, out = tmp_path / "records", tmp_path / "out"
    name = "convnet-bins-20"
    variant = str(recipes.VARIANTS / f"{name}.yaml")

    def main() -> None:
        recipes.main(crops, only=[variant], images=128, size=32, out=out, records=records, docs=docs, here=True)

    main()
    known = json.loads((records / name / recipe_table.DONE).read_text())
    assert known["images"] == 128
    assert known["train_rows"] == 32
    assert known["guesses"]["gender.accuracy/utkface"] == 0.5
    assert 0 <= known["figures"]["gender.accuracy/utkface"] <= 1
    assert known["figures"]["age.mae/utkface"] > 0
    with (records / name / recipes.HISTORY).open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]
    before = (records / name / recipe_table.DONE).read_bytes()
    main()
    assert (records / name / recipe_table.DONE).read_bytes() == before
    recipes.time_all(out, records)
    assert json.loads((records / name / recipe_table.DONE).read_text())["milliseconds"] > 0
    recipes.main(table=True, records=records, docs=docs)
    assert f"`{name}`" in (docs / "recipes.md").read_text()


def test_variants_have_names_of_their_own() -> None:
    """They are read like shipped recipes, and their runs never share a folder."""
    names = recipes.all_recipes()
    assert len({Path(name).stem for name in names}) == len(names)
    assert {recipes.read_recipe(name).schema_file for name in names if "bins" in name} == {
        "agebins-1",
        "agebins-10",
        "agebins-20",
    }


def test_recipes_of_a_family_share_a_picture() -> None:
    names = ["convnet", "convnet-regularised", "heads-resnet18", "resnet50"]
    assert recipe_table.families(names) == {
        "convnet": ["convnet", "convnet-regularised"],
        "others": ["heads-resnet18", "resnet50"],
    }
