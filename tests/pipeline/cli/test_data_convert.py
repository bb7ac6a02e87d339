"""``facepipe data convert`` and ``data roboflow`` as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.detector.data.dataset import read_description
from facepipe.pipeline.cli import main

from ...detector.data.roboflow_server import KEY, Service, make_zip, serve


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["data", *arguments])
    return int(caught.value.code or 0)


@pytest.fixture
def coco_set(tmp_path: Path, photo: Callable[..., np.ndarray]) -> Path:
    """A COCO JSON of 12 pictures with a face and a hat each, beside its pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(12):
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.GaussianBlur(photo(number, 60, 80), (9, 9), 0))
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 80, "height": 60})
        for category in (0, 1):
            box = [5 + 20 * category, 5, 30, 60]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": category, "bbox": box})
    categories = [{"id": 0, "name": "person_face"}, {"id": 1, "name": "hat"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


def test_convert(coco_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    arguments = ["convert", str(coco_set), "--out", str(out), "--map", "person_face=face", "--terms", "CC0"]
    assert run(*arguments) == 2
    assert "not mapped: hat (12 boxes); use --map hat=CLASS, or --drop-others" in capsys.readouterr().err
    assert not out.exists()
    assert run(*arguments, "--drop-others", "--classes", "face,head", "--split", "0.5,0.25,0.25") == 0
    printed = capsys.readouterr().out
    assert f"{out / 'data.yaml'} (from coco); labelled: face\n" in printed
    assert "12 boxes of class hat left out" in printed
    assert "12 boxes clipped to the picture; first: " in printed
    description = read_description(out / "data.yaml")
    assert description.classes == ("face", "head")
    assert {name: len(found) for name, found in description.pictures.items()} == {"train": 6, "val": 3, "test": 3}
    assert description.training_data()[0].terms == "CC0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--map", "hat"], "--map takes THEIRS=OURS"),
        (["--map", "hat=a", "--map", "hat=b"], "hat is mapped to both a and b"),
        (["--split", "0.9,0.2"], "--split takes the shares"),
        (["--format", "csv"], "no CSV file of boxes in it"),
        (["--source", "a b"], "--source 'a b': only letters"),
        (["--add"], "no such file"),
        (["--keep-splits"], "no split is given for"),
    ],
)
def test_wrong_usage(
    coco_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run("convert", str(coco_set), "--out", str(tmp_path / "set"), *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.fixture
def service(coco_set: Path) -> Iterator[tuple[Service, dict[str, str]]]:
    """Roboflow's API on this machine with the COCO set, and the environment that leads the SDK to it."""
    pytest.importorskip("roboflow", reason="the roboflow SDK (extra roboflow) is not installed")
    (coco_set / "train").mkdir()
    for path in [path for path in coco_set.iterdir() if path.is_file()]:
        path.rename(coco_set / "train" / path.name)
    (coco_set / "train" / "labels.json").rename(coco_set / "train" / "_annotations.coco.json")
    readme = {"README.dataset.txt": b"# faces\n\nLicense: CC BY 4.0\n"}
    found = Service(zips={"coco": make_zip(coco_set, readme)})
    server = serve(found)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    nowhere = str(coco_set / "none.json")
    yield found, {**os.environ, "API_URL": address, "ROBOFLOW_API_KEY": KEY, "ROBOFLOW_CONFIG_DIR": nowhere}
    server.shutdown()
    server.server_close()


def test_roboflow(service: tuple[Service, dict[str, str]], tmp_path: Path) -> None:
    """In a process of its own: the SDK reads its address when it is imported."""
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "data", "roboflow", "ws/heads/3"]
    arguments = ["--format", "coco", "--map", "person_face=face", "--drop-others"]
    done = subprocess.run([*command, *arguments], cwd=work, env=service[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    description = read_description(work / "heads-3" / "data.yaml")
    assert description.terms == {"heads": "CC BY 4.0"}
    assert len(description.pictures["val"]) == 2  # the version has no val split, so a new one was made
    record = json.loads((work / "heads-3" / "roboflow.json").read_text())[0]
    assert record["contents_sha256"] in done.stdout
    again = [*command, *arguments, "--out", "again", "--sha256", record["contents_sha256"]]
    assert subprocess.run(again, cwd=work, env=service[1], capture_output=True).returncode == 0
    assert sorted(path.name for path in work.iterdir()) == ["again", "heads-3"]
    taken = subprocess.run([*command, *arguments], cwd=work, env=service[1], capture_output=True, text=True)
    assert taken.returncode == 2
    assert "heads-3: already exists" in taken.stderr
    bare = {key: value for key, value in service[1].items() if key != "ROBOFLOW_API_KEY"}
    keyless = subprocess.run([*command, "--out", "new"], cwd=work, env=bare, capture_output=True, text=True)
    assert keyless.returncode == 2
    assert keyless.stderr.startswith("error: no key: set ROBOFLOW_API_KEY")
    assert sorted(path.name for path in work.iterdir()) == ["again", "heads-3"]
