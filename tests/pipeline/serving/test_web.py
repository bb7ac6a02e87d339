"""The web page's files, as the server hands them out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from facepipe.pipeline.serving.web import FOLDER, TYPES
from starlette.testclient import TestClient

ROOT = Path(__file__).parents[3]
FILES = sorted(path.name for path in FOLDER.iterdir())
KEY = "0123456789abcdef"
ABSOLUTE = re.compile(r"""(?:https?:)?//[\w.-]+\.\w+|["'`]/\w""")
"""An address of another server, or one that a proxy's path would not stand before."""
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser")


class Tags(HTMLParser):
    """Collects what a page refers to, what stands within its scripts and styles, and its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: set[str] = set()
        self.names: set[str] = set()
        self.ids: set[str] = set()
        self.labelled: set[str] = set()
        self.inline = 0
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self._within = tag
        self.names |= told.keys()
        self.targets |= {value for name in ("src", "href") if (value := told.get(name))}
        self.ids |= {value for value in [told.get("id")] if value}
        self.labelled |= {value for value in [told.get("for")] if value}

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        self.inline += self._within in ("script", "style") and bool(data.strip())


@pytest.fixture(scope="module")
def index() -> Tags:
    return Tags((FOLDER / "index.html").read_text("utf-8"))


def test_the_page_and_its_files(client: Callable[..., TestClient]) -> None:
    anyone = client(page=FOLDER)
    answers = {"/": anyone.get("/"), **{name: anyone.get(f"/page/{name}") for name in FILES}}
    assert answers["/"].content == answers["index.html"].content == (FOLDER / "index.html").read_bytes()
    for name, answer in answers.items():
        headers = answer.headers
        assert answer.status_code == 200, name
        assert headers["content-type"] == TYPES[Path(name).suffix or ".html"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
    again = anyone.get("/", headers={"if-none-match": answers["/"].headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert anyone.head("/").status_code == 200
    assert anyone.post("/").status_code == 405


def test_nothing_else_of_this_machine(client: Callable[..., TestClient]) -> None:
    anyone = client(page=FOLDER)
    for path in (
        "/page/",
        "/page/../serve/app.py",
        "/page/%2e%2e/results.py",
        "/page/..%2fresults.py",
        "/main.js",
        "/p",
    ):
        assert anyone.get(path).status_code in (404, 405), path
    assert "page/main.js" not in anyone.get("/metrics").text
    anyone.get("/page/main.js")
    assert 'path="/page/main.js"' in anyone.get("/metrics").text  # no "other": it is an address of ours


def test_the_page_needs_no_key(client: Callable[..., TestClient]) -> None:
    anyone = client(page=FOLDER, keys=(KEY,))
    assert [anyone.get(path).status_code for path in ("/", "/page/main.js", "/v1/models")] == [200, 200, 401]
    assert anyone.get("/v1/models", headers={"X-API-Key": KEY}).status_code == 200


def test_no_page_where_there_is_none(client: Callable[..., TestClient]) -> None:
    anyone = client()
    assert [anyone.get(path).status_code for path in ("/", "/page/main.js")] == [404, 404]


def test_what_the_page_refers_to_is_there(index: Tags) -> None:
    local = {target for target in index.targets if not target.startswith("#")}
    assert {"page/main.js", "page/style.css"} <= local
    assert all((FOLDER.parent / target).is_file() for target in local)
    imports = {
        (name, target) for name in FILES for target in re.findall(r'from "(.+?)"', (FOLDER / name).read_text("utf-8"))
    }
    assert imports
    assert all(target.startswith("./") and (FOLDER / target).is_file() for _, target in imports)
    used = {target.removeprefix("./") for _, target in imports} | {Path(target).name for target in local}
    assert used | {"index.html"} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_nothing_from_elsewhere_and_no_markup_from_text(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not ABSOLUTE.findall(text)
    assert not MARKUP.findall(text)


def test_scripts_styles_and_labels(index: Tags) -> None:
    assert index.inline == 0
    assert not {name for name in index.names if name == "style" or name.startswith("on")}
    assert {"conf", "least", "choose", "key", "look", "what"} <= index.labelled <= index.ids
    named = set(re.findall(r'byId\("([\w-]+)"\)', (FOLDER / "main.js").read_text("utf-8")))
    assert named <= index.ids


def test_the_page_is_in_the_package() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert "page/*" in setuptools["package-data"]["facepipe.pipeline.serving"]
    assert all((FOLDER / name).is_file() for name in FILES)  # no folder within: page/* would not reach into it


def test_models_are_told_as_results_name_them(client: Callable[..., TestClient], photo: Callable) -> None:
    import cv2

    anyone = client()
    told = anyone.get("/v1/models").json()
    picture = cv2.imencode(".png", photo(0))[1].tobytes()
    (result,) = anyone.post("/v1/detect", files=[("file", picture)]).json()["results"]
    assert told["detectors"][0]["in_results"] == result["models"]["detector"]
    assert {each["name"]: each["in_results"] for each in told["classifiers"]} == result["models"]["classifiers"]
