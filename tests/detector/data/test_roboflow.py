"""Roboflow's SDK against a server on this machine that answers as the API does."""

from __future__ import annotations

import json
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from facepipe.core.errors import DataError, MissingExtraError, RemoteError
from facepipe.detector.data import roboflow as roboflow_source
from facepipe.detector.data.archives import unpack
from facepipe.detector.data.formats import read
from facepipe.detector.data.roboflow import download, parse_name, upload

from .conftest import TRUTH
from .roboflow_server import KEY, Service, make_zip, serve

NAME = "ws/heads/3"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    """The server, with the SDK pointed at it and the key set."""
    pytest.importorskip("roboflow", reason="the roboflow SDK (extra roboflow) is not installed")
    from roboflow import config

    found = Service()
    server = serve(found)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the SDK waits a second before it asks again
    monkeypatch.setenv("ROBOFLOW_CONFIG_DIR", str(tmp_path / "none.json"))
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    with monkeypatch.context() as address:
        address.setenv("API_URL", f"http://127.0.0.1:{server.server_address[1]}")
        config.refresh_region_urls()
        yield found
    config.refresh_region_urls()
    server.shutdown()
    server.server_close()


@pytest.fixture
def export(make_set: Callable[[Path, str], Path], tmp_path: Path, service: Service) -> Callable[..., bytes]:
    """``export(format)`` puts the four pictures on the server, as Roboflow packs them."""

    def put(name: str = "yolov8", more: dict[str, bytes] | None = None) -> bytes:
        layout = {"yolov8": "yolo_roboflow", "coco": "coco_roboflow", "voc": "voc_roboflow"}[name]
        service.zips[name] = make_zip(make_set(tmp_path / "packed" / name, layout), more)
        return service.zips[name]

    return put


@pytest.mark.parametrize("name", roboflow_source.FORMATS)
def test_download(export: Callable[..., bytes], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = export(name)
    steps: list[tuple[int, int]] = []
    found = download(NAME, name, tmp_path / "raw", progress=lambda done, of: steps.append((done, of)))
    assert (found.workspace, found.project, found.version, found.format) == ("ws", "heads", 3, name)
    assert found.licence == ("CC BY 4.0" if name == "yolov8" else "")
    assert steps[-1] == (len(content), len(content))
    assert {record.path.stem for record in read(tmp_path / "raw", roboflow_source.FORMATS[name]).records} == set(TRUTH)
    assert not (tmp_path / "raw" / "roboflow.zip").exists()
    assert capsys.readouterr().out == ""  # the SDK's chatter


def test_the_hashes(export: Callable[..., bytes], tmp_path: Path, service: Service) -> None:
    first = export()
    found = download(NAME, "yolov8", tmp_path / "one")
    assert download(NAME, "yolov8", tmp_path / "two", found.zip_sha256).zip_sha256 == found.zip_sha256
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:  # the same files, packed in another way
        for path in sorted((tmp_path / "one").rglob("*"), reverse=True):
            if path.is_file():
                archive.write(path, path.relative_to(tmp_path / "one").as_posix())
    service.zips["yolov8"] = (tmp_path / "again.zip").read_bytes()
    assert service.zips["yolov8"] != first
    again = download(NAME, "yolov8", tmp_path / "three", found.contents_sha256)
    assert again.zip_sha256 != found.zip_sha256
    assert again.contents_sha256 == found.contents_sha256
    (tmp_path / "packed" / "yolov8" / "train" / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    service.zips["yolov8"] = make_zip(tmp_path / "packed" / "yolov8")
    with pytest.raises(DataError, match=f"not the expected data.*expected {found.contents_sha256}"):
        download(NAME, "yolov8", tmp_path / "four", found.contents_sha256)


def test_the_record(export: Callable[..., bytes], tmp_path: Path) -> None:
    export()
    found = download(NAME, "yolov8", tmp_path / "raw")
    found.note(tmp_path)
    found.note(tmp_path)
    record = json.loads((tmp_path / "roboflow.json").read_text())
    assert len(record) == 2
    assert record[0]["contents_sha256"] == found.contents_sha256
    assert record[0]["version"] == 3
    (tmp_path / "roboflow.json").write_text("{")
    with pytest.raises(DataError, match=r"roboflow\.json: not valid JSON"):
        found.note(tmp_path)


def test_no_key(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "  "):
        monkeypatch.setenv("ROBOFLOW_API_KEY", value)
        with pytest.raises(RemoteError, match="no key: set ROBOFLOW_API_KEY"):
            download(NAME, "yolov8", tmp_path / "raw")
    assert service.asked == []


def test_a_wrong_key(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", "wrongKey123")
    with pytest.raises(RemoteError, match=r"ROBOFLOW_API_KEY: Roboflow says: This API key does not exist") as caught:
        download(NAME, "yolov8", tmp_path / "raw")
    assert "wrongKey123" not in str(caught.value)
    monkeypatch.setenv("ROBOFLOW_API_KEY", "PASTE_KEY_HERE")
    with pytest.raises(RemoteError, match="is not one of Roboflow's"):
        download(NAME, "yolov8", tmp_path / "raw")


def test_no_network(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roboflow import config

    with monkeypatch.context() as address:
        address.setenv("API_URL", "http://127.0.0.1:9")  # nobody listens there
        config.refresh_region_urls()
        with pytest.raises(
            RemoteError, match=r"no connection, or it was lost .*127\.0\.0\.1:9.*is there a network"
        ) as e:
            download(NAME, "yolov8", tmp_path / "raw")
    config.refresh_region_urls()
    assert KEY not in str(e.value)
    assert e.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ws/heads/2", "ws/heads: no version 2; it has 1, 3"),
        ("ws/nothing/1", "ws/nothing: Roboflow says: Unsupported request"),
    ],
)
def test_unknown_names(service: Service, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(RemoteError, match=message):
        download(name, "yolov8", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    "name", ["ws/heads", "ws/heads/latest", "ws/heads/0", "ws//1", "https://x/ws/heads/1", "../a/1"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(DataError, match=r"must be WORKSPACE/PROJECT/VERSION|version must be a number"):
        parse_name(name, 3)


def test_a_refused_download(export: Callable[..., bytes], service: Service, tmp_path: Path) -> None:
    export()
    service.status = 403
    with pytest.raises(RemoteError, match=r"the download was refused \(HTTP 403\)"):
        download(NAME, "yolov8", tmp_path / "raw")


def test_a_download_that_breaks_off(export: Callable[..., bytes], service: Service, tmp_path: Path) -> None:
    export()
    service.cut = True
    with pytest.raises(RemoteError, match="no connection, or it was lost"):
        download(NAME, "yolov8", tmp_path / "raw")


def test_an_answer_that_is_none(service: Service, tmp_path: Path) -> None:
    service.nonsense = True
    with pytest.raises(RemoteError, match=r"the answer is not valid JSON; is http://127\.0\.0\.1"):
        download(NAME, "yolov8", tmp_path / "raw")


def test_a_damaged_zip(export: Callable[..., bytes], service: Service, tmp_path: Path) -> None:
    content = bytearray(export())
    content[200:240] = bytes(40)
    service.zips["yolov8"] = bytes(content)
    with pytest.raises(DataError, match=r"roboflow\.zip: damaged zip"):
        download(NAME, "yolov8", tmp_path / "raw")
    service.zips["yolov8"] = b"<html>not found</html>"
    with pytest.raises(DataError, match=r"roboflow\.zip: damaged zip"):
        download(NAME, "yolov8", tmp_path / "raw2")


def test_a_zip_of_a_compression_that_python_lacks(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", b"x")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for place in (8, content.index(b"PK\x01\x02") + 10):  # the method, in the file's header and in the directory
        content[place] = 97  # WavPack
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: cannot be unpacked here .*pack it again as an ordinary zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:/evil.txt"])
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", b"x")
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(DataError, match=r"a\.zip: has a file whose name points outside its folder"):
        unpack(tmp_path / "a.zip", tmp_path / "inner" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_links_doubles_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for entries, message in (
        ([(link, b"/etc/passwd")], "a link instead of a file"),
        ([("a", b"1"), ("a", b"2")], "two files named a"),
    ):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name, content in entries:
                if name == "a" and content == b"2":
                    with pytest.warns(UserWarning, match="Duplicate name"):
                        archive.writestr(name, content)
                else:
                    archive.writestr(name, content)
        with pytest.raises(DataError, match=message):
            unpack(tmp_path / "a.zip", tmp_path / "out")
    monkeypatch.setattr("facepipe.detector.data.archives.ALLOWANCE", 0)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10**6))
    with pytest.raises(DataError, match="would unpack to more than 100 times its size"):
        unpack(tmp_path / "b.zip", tmp_path / "out2")


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "roboflow.core.project", None)
    with pytest.raises(MissingExtraError, match=r"roboflow is not installed; .*facepipe\[roboflow\]"):
        download(NAME, "yolov8", tmp_path / "raw")


@pytest.mark.parametrize("layout", ["yolo", "coco"])
def test_upload(make_set: Callable[[Path, str], Path], tmp_path: Path, service: Service, layout: str) -> None:
    place = make_set(tmp_path / "set", layout)
    service.known.add("b.png")
    steps: list[tuple[int, int]] = []
    found = upload(
        place,
        "ws/heads",
        batch="round 2",
        progress=lambda done, of: steps.append((done, of)),
    )
    assert (found.sent, found.known) == (3, 1)
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    pictures = {each["name"]: each for each in service.pictures}
    assert set(pictures) == {f"{name}.png" for name in TRUTH}
    assert pictures["d.png"]["split"] == "valid"
    assert pictures["a.png"]["batch"] == "round 2"
    original = next(place.rglob("a.png")).read_bytes()
    assert pictures["a.png"]["bytes"] == original
    labels = {each["image"]: each for each in service.annotations}
    assert set(labels) == {"a.png", "b.png", "d.png"}  # c has no box
    names = {name: int(number) for number, name in labels["a.png"]["labelmap"].items()}
    expected = {f"{names['face']} 0.250000 0.416667 0.250000 0.500000"}
    expected.add(f"{names['person_head']} 0.250000 0.383333 0.350000 0.700000")
    assert set(labels["a.png"]["annotationFile"].split("\n")) == expected
    assert labels["b.png"]["annotationFile"].count("\n") == 0  # the ignore region stays behind
    assert labels["a.png"]["name"] == "a.txt"
    assert labels["a.png"]["prediction"] == "true"
    assert "overwrite" not in labels["a.png"]


def test_a_refused_picture(make_set: Callable[[Path, str], Path], tmp_path: Path, service: Service) -> None:
    service.refused = "b.png"
    place = make_set(tmp_path / "set", "coco")
    with pytest.raises(RemoteError, match=r"ws/heads: .*b\.png: Roboflow says: Image too large"):
        upload(place, "ws/heads", workers=1)


def test_a_missing_picture_is_told_before_anything_is_sent(
    make_set: Callable[[Path, str], Path], tmp_path: Path, service: Service
) -> None:
    place = make_set(tmp_path / "set", "coco")
    next(place.rglob("d.png")).unlink()
    with pytest.raises(DataError, match=r"images\[0\] \(id 7\): no such picture: .*d\.png"):
        upload(place, "ws/heads")
    assert service.asked == []
