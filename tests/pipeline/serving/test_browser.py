"""The web page in a real Chromium: what a user does, and what is seen and saved, compared with the Python API.

``FACEPIPE_PICTURES=docs/pictures pytest tests/pipeline/serving/test_browser.py -k pictures`` has the test write the
pictures of docs/serving.md.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.pipeline.drawing.anonymize import hide
from facepipe.pipeline.drawing.draw import draw
from facepipe.pipeline.drawing.labels import label
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.outputs.rows import RowForm
from facepipe.pipeline.outputs.tabular import write_csv
from facepipe.pipeline.results import Result
from facepipe.pipeline.serving.models import Served, load
from facepipe.pipeline.serving.settings import Settings
from facepipe.pipeline.serving.web import FOLDER

from .conftest import Gated, alike, running

pytest.importorskip("selenium", reason="selenium is not installed: pip install selenium")

from selenium.webdriver.common.keys import Keys

from .browser import Browser, programs

pytestmark = pytest.mark.skipif(programs() is None, reason="no chromium and chromedriver on the PATH")

ASTRONAUT = Path(__file__).parents[3] / "examples" / "astronaut.jpg"
KEY = "0123456789abcdef"
PICTURES = "FACEPIPE_PICTURES"


@pytest.fixture(scope="module")
def shipped() -> Served:
    """The models of the package, both versions of each."""
    return load("1.0.0", ["1.0.0"], ["detector@1.1.1", "classifier@1.2.1"], threads=2)


@pytest.fixture(scope="module")
def server(shipped: Served) -> Iterator[str]:
    """The address of a server of the shipped models."""
    with running(shipped, Settings(), FOLDER) as live:
        yield live.url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Browser, server: str) -> Iterator[Browser]:
    """The page, fresh; afterwards nothing may have gone elsewhere, and nothing have failed."""
    chromium.requested()
    opened(chromium, server)
    yield chromium
    assert chromium.requested() == {server}
    assert [each for each in chromium.complaints() if "/v1/detect" not in each] == []  # pictures that are refused


def opened(browser: Browser, url: str) -> Browser:
    browser.driver.get(url)
    browser.complaints()
    browser.until(lambda: browser.texts("#version-detector option"), "the models")
    return browser


@pytest.fixture(scope="module")
def crowd() -> np.ndarray:
    """One face seven times: large and small, sharp and blurred, bright and dark; confidences from 0.5 to 0.9."""
    colours = np.random.default_rng(3).integers(80, 170, (6, 10, 3), dtype=np.uint8)
    canvas = cv2.resize(colours, (900, 480))
    head, left = read_frame(ASTRONAUT)[0:230, 120:330], 10
    copies = [(1.0, 0, 1), (0.7, 2, 1), (0.5, 3, 0.8), (0.4, 4, 1), (0.8, 9, 1), (0.3, 0, 0.5), (0.25, 2, 0.6)]
    for number, (size, blur, light) in enumerate(copies):
        copy = cv2.resize(head, None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
        copy = cv2.GaussianBlur(copy, (0, 0), blur * size) if blur else copy
        top = 20 + number % 2 * 200
        canvas[top : top + copy.shape[0], left : left + copy.shape[1]] = copy * light
        left += int(copy.shape[1] * 0.8)
    return canvas


@pytest.fixture(scope="module")
def crowd_png(crowd: np.ndarray) -> bytes:
    return png(crowd)


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def offline(pictures: list[bytes], names: list[str], detector: str = "1.0.0", **options: Any) -> list[Result]:
    """What Python says, of pictures with names."""
    with Pipeline(detector, "1.0.0", threads=2, **options) as pipeline:
        found = pipeline.run(pictures)
    return [result.model_copy(update={"source": name}) for result, name in zip(found, names, strict=True)]


def saved(page: Browser) -> list[Result]:
    """The results that the page saves as JSON, which have to be valid ones."""
    content = json.loads(page.download("#save-json", "facepipe.json"))
    assert content.keys() == {"results"}
    return [Result.model_validate(each) for each in content["results"]]


def press(page: Browser, selector: str, key: str, times: int = 1) -> None:
    page.one(selector).send_keys(key * times)


def slide(page: Browser, slider: str, value: float) -> None:
    """Put a slider to a value, as a pointer does."""
    script = "const [to, value] = arguments; to.value = value; to.dispatchEvent(new Event('input', { bubbles: true }))"
    page.run(script, page.one(slider), value)
    time.sleep(0.4)  # longer than the page waits before it asks
    page.until_quiet()


def test_a_picture_from_the_file_to_what_is_saved(page: Browser, tmp_path: Path) -> None:
    page.choose(ASTRONAUT)
    page.until_quiet()
    (expected,) = offline([ASTRONAUT.read_bytes()], ["astronaut.jpg"])
    assert page.texts("#status") == ["1 picture, 1 face"]
    (row,) = page.texts("#table tbody tr")
    assert row == "00.8731 years 21–47female 0.71no 1.00yes 1.00no 1.00"
    assert page.texts("#table thead button") == ["face", "confidence", "age", "gender", "glasses", "smile", "mask"]
    assert page.run("return [...document.querySelectorAll('#table canvas')].map((each) => each.width)") == [88]
    assert page.one("#canvas").get_attribute("aria-label") == "astronaut.jpg: 1 face"

    (got,) = saved(page)
    assert alike(got, expected)
    assert got == expected.model_copy(update={"faces": got.faces})
    assert page.download("#save-csv", "facepipe.csv") == as_csv([got], tmp_path)

    drawn = read_frame(page.download("#save-picture", "astronaut-faces.jpg"))
    photo = read_frame(ASTRONAUT)
    assert drawn.shape == draw(photo, expected).shape == (1024, 1024, 3)  # small ones are enlarged
    plain = cv2.resize(photo, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    box = expected.faces[0].box
    middle = round(box.y1 + box.y2)
    for x in (box.x1, box.x2):  # its sides are drawn where Python has them
        assert greenness(drawn[middle - 80 : middle - 40, round(2 * x)]) > 50 > greenness(plain[:, round(2 * x)])
    corner = slice(600, 1000), slice(600, 1000)
    assert np.abs(drawn[corner].astype(int) - plain[corner]).mean() < 3  # and nothing where there is none


def as_csv(results: list[Result], folder: Path) -> bytes:
    """As facepipe writes results of the shipped models."""
    with Pipeline("1.0.0", "1.0.0") as pipeline:
        form = RowForm({name: each.attributes for name, each in pipeline.parts()[1].by_name.items()})
    write_csv(folder / "expected.csv", form, results)
    return (folder / "expected.csv").read_bytes()


def greenness(pixels: np.ndarray) -> float:
    """How much greener than blue or red they are: faces' boxes are."""
    blue, green, red = pixels.reshape(-1, 3).mean(0)
    return float(green - max(blue, red))


def test_the_confidence_slider_with_the_keyboard(page: Browser) -> None:
    page.choose(ASTRONAUT)
    page.until_quiet()
    assert page.texts("#conf-out") == ["0.25"]
    press(page, "#conf", Keys.ARROW_RIGHT, 62)
    assert page.texts("#conf-out") == ["0.87"]
    page.until(lambda: page.texts("#status") == ["1 picture, 0 faces"], "the face to go")
    assert page.texts("#table tbody tr") == []
    assert page.one("#conf").get_attribute("aria-valuetext") == "0.87"
    press(page, "#conf", Keys.ARROW_LEFT, 2)
    page.until(lambda: len(page.texts("#table tbody tr")) == 1, "the face to come back")
    page.until_quiet()


def test_each_confidence_is_the_servers(page: Browser, crowd_png: bytes) -> None:
    # Some are told from answers at hand, others are asked for, where a head or face may change hands.
    page.drop(("crowd.png", "image/png", crowd_png))
    page.until_quiet()
    counts = []
    for conf in (0.25, 0.76, 0.82, 0.8, 0.6, 0.05, 0.75, 0.88):
        slide(page, "#conf", conf)
        (got,) = saved(page)
        (expected,) = offline([crowd_png], ["crowd.png"], confidence=max(conf, 0.25))  # not below the server's own
        assert alike(got, expected), conf
        assert got.models == expected.models
        counts.append(len(got.faces))
    assert len(set(counts)) > 4


def test_the_least_probability(page: Browser) -> None:
    page.choose(ASTRONAUT)
    page.until_quiet()
    press(page, "#least", Keys.ARROW_RIGHT, 72)
    assert page.texts("#least-out") == ["0.72"]
    page.until(lambda: "?" in page.texts("#table tbody td"), "what is unsure")
    (got,) = saved(page)
    attributes = got.faces[0].attributes or {}
    assert (attributes["gender"].value, attributes["smile"].value) == (None, "yes")  # type: ignore[union-attr]
    press(page, "#least", Keys.ARROW_LEFT)
    page.until(lambda: "?" not in page.texts("#table tbody td"), "its name again")


def test_sorting_and_choosing_with_the_keyboard(page: Browser, crowd_png: bytes) -> None:
    page.drop(("crowd.png", "image/png", crowd_png))
    page.until_quiet()
    shown = [float(each) for each in page.texts("#table tbody td:nth-child(2)")]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 7
    head = "#table thead th:nth-child(2)"
    press(page, f"{head} button", Keys.ENTER)
    assert [float(each) for each in page.texts("#table tbody td:nth-child(2)")] == sorted(shown)
    assert page.one(head).get_attribute("aria-sort") == "ascending"
    press(page, f"{head} button", Keys.ENTER)  # the focus stayed
    assert [float(each) for each in page.texts("#table tbody td:nth-child(2)")] == shown
    assert page.one(head).get_attribute("aria-sort") == "descending"
    press(page, "#table thead th:nth-child(3) button", Keys.ENTER)
    ages = [float(each.split()[0]) for each in page.texts("#table tbody td:nth-child(3)") if each != "–"]
    assert ages == sorted(ages)

    before = page.run("return document.querySelector('#canvas').toDataURL()")
    press(page, "#table tbody .face[tabindex='0']", Keys.ARROW_DOWN, 2)
    page.press(Keys.ENTER)
    page.until(lambda: page.texts("#table tbody tr.chosen"), "a chosen row")
    page.until_quiet()
    script = "return [...document.querySelectorAll('#table tbody tr')].map((row) => row.className)"
    assert page.run(script) == ["", "", "chosen", "", "", "", ""]
    assert page.run("return document.activeElement.getAttribute('aria-pressed')") == "true"
    assert page.run("return document.querySelector('#canvas').toDataURL()") != before  # and marked in the picture


def test_a_face_is_chosen_in_the_picture(page: Browser) -> None:
    page.choose(ASTRONAUT)
    page.until_quiet()
    script = """
        const canvas = document.querySelector("#canvas"), zoom = canvas.clientWidth / 512;
        const { left, top } = canvas.getBoundingClientRect();
        const [clientX, clientY] = [left + 225 * zoom, top + 120 * zoom];
        canvas.dispatchEvent(new MouseEvent("click", { clientX, clientY }));
    """
    page.run(script)
    page.until(lambda: page.texts("#table tbody tr.chosen"), "the face that was clicked at")


RECORD = """
    const { fillText, fillRect } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
      (window.texts ??= []).push(text);
      fillText.call(this, text, ...rest);
    };
    CanvasRenderingContext2D.prototype.fillRect = function (x, y, wide, high) {
      (window.labels ??= []).push([x, y, x + wide, y + high].map((side) => side / this.canvas.width));
      fillRect.call(this, x, y, wide, high);
    };
"""
"""Notes each text that is drawn, and its ground in parts of the picture's width."""


def drawn_after(page: Browser, selector: str) -> tuple[list[str], list[list[float]]]:
    """The texts that are drawn, and where, when a switch was pressed with the keyboard."""
    page.run("window.texts = []; window.labels = []")
    press(page, selector, Keys.SPACE)
    page.until_quiet()
    drawn: tuple[list[str], list[list[float]]] = page.run("return [window.texts, window.labels]")
    return drawn


def test_what_labels_name(page: Browser) -> None:
    page.choose(ASTRONAUT)
    page.until_quiet()
    (face,) = saved(page)[0].faces
    lines = lambda fields: [line.replace("-", "–") for line in label(0, face, fields)]  # noqa: E731
    page.run(RECORD)
    assert page.texts("#fields label") == [" age", " gender", " glasses", " smile", " mask"]
    assert drawn_after(page, "#fields input[value=glasses]")[0] == lines(("age", "gender", "smile", "mask"))
    for name in ("smile", "mask", "age"):
        texts, _ = drawn_after(page, f"#fields input[value={name}]")
    assert texts == lines(("gender",))
    press(page, "#version-classifier", "1.2")
    page.until_quiet()
    assert page.run("return document.querySelectorAll('#fields :checked').length") == 1  # kept over versions
    press(page, "#version-classifier", Keys.ARROW_UP)
    page.until_quiet()
    assert drawn_after(page, "#fields input[value=gender]")[0] == []
    for name in ("age", "gender", "glasses", "smile"):
        drawn_after(page, f"#fields input[value={name}]")
    assert drawn_after(page, "#fields input[value=mask]")[0] == lines(None)
    assert drawn_after(page, "#layers input[value=labels]")[0] == []
    assert not page.one("#fields").is_displayed()


def test_labels_keep_off_faces_and_each_other(page: Browser, crowd_png: bytes) -> None:
    page.drop(("crowd.png", "image/png", crowd_png))
    page.until_quiet()
    (result,) = saved(page)
    page.run(RECORD)
    _, labels = drawn_after(page, "#layers input[value=points]")
    faces = [(each.box.x1, each.box.y1, each.box.x2, each.box.y2) for each in result.faces]
    taken = [[side / (result.width or 1) for side in box] for box in faces] + labels
    assert (len(faces), len(labels)) == (7, 7)
    pixel = 1 / (result.width or 1)
    for number, (x1, y1, x2, y2) in enumerate(labels, start=len(faces)):
        for left, top, right, low in taken[:number]:
            assert min(x2, right) - max(x1, left) < pixel or min(y2, low) - max(y1, top) < pixel


def test_a_large_picture_is_enlarged(page: Browser) -> None:
    small, large = (
        cv2.resize(read_frame(ASTRONAUT), (side, side), interpolation=cv2.INTER_AREA) for side in (256, 2400)
    )
    page.drop(("small.png", "image/png", png(small)))
    page.until_quiet()
    assert not page.one("#enlarge").is_displayed()  # there is room for all of it
    page.drop(("large.jpg", "image/jpeg", cv2.imencode(".jpg", large)[1].tobytes()))
    page.one("#pictures li:nth-child(2) .pick").click()
    page.until(lambda: page.one("#enlarge").is_displayed(), "the button")
    page.until_quiet()
    size = "const { clientWidth, scrollWidth } = document.querySelector('#stage'); return [clientWidth, scrollWidth]"
    seen, whole = page.run(size)
    assert whole == seen
    press(page, "#enlarge", Keys.ENTER)
    assert page.one("#enlarge").get_attribute("aria-pressed") == "true"
    assert page.run(size) == [seen, 2400]  # each of its pixels
    before = page.run("return document.querySelector('#stage').scrollTop")
    page.run("document.querySelector('#stage').focus()")
    page.press(Keys.ARROW_DOWN)
    page.until(lambda: page.run("return document.querySelector('#stage').scrollTop") > before, "the picture to move")
    time.sleep(0.5)  # it glides
    page.press(Keys.ESCAPE)
    assert page.run(size) == [seen, seen]
    assert page.run("return document.activeElement.id") == "enlarge"
    assert page.run("return document.querySelector('#stage').tabIndex") == -1

    click = """
        const [x, y] = arguments, canvas = document.querySelector("#canvas"), stage = document.querySelector("#stage");
        const { left, top, width } = canvas.getBoundingClientRect(), zoom = width / 2400;
        canvas.dispatchEvent(new MouseEvent("click", { clientX: left + x * zoom, clientY: top + y * zoom }));
        return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
          const now = canvas.getBoundingClientRect(), seen = stage.getBoundingClientRect();
          done([now.width, seen.left + stage.clientWidth / 2 - now.left, seen.top + stage.clientHeight / 2 - now.top]);
        })));
    """
    assert page.run(click, 1500, 1400) == pytest.approx([2400, 1500, 1400], abs=6)  # beside the face: there
    assert page.texts("#table tbody tr.chosen") == []
    box = saved(page)[1].faces[0].box
    middle = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    assert page.run(click, *middle)[:2] == pytest.approx([2400, middle[0]], abs=6)  # the face comes to the middle
    assert len(page.texts("#table tbody tr.chosen")) == 1
    assert page.run(click, 1500, 2000)[0] < seen
    page.one("#pictures li:nth-child(1) .pick").click()
    page.until(lambda: not page.one("#enlarge").is_displayed(), "the small picture")


def test_other_versions(page: Browser, crowd_png: bytes) -> None:
    page.drop(("crowd.png", "image/png", crowd_png))
    page.until_quiet()
    assert page.texts("#versions option") == ["1.0.0", "1.1.1", "1.0.0", "1.2.1"]
    assert saved(page)[0].models.detector.version == "1.0.0"
    press(page, "#version-detector", "1.1")
    time.sleep(0.1)
    page.until_quiet()
    (got,), (expected,) = saved(page), offline([crowd_png], ["crowd.png"], "1.1.1")
    assert alike(got, expected)
    assert got.models == expected.models
    press(page, "#version-classifier", "1.2")
    time.sleep(0.1)
    page.until_quiet()
    assert saved(page)[0].models.classifiers["face"].version == "1.2.1"


def test_faces_and_heads_are_hidden(page: Browser, crowd: np.ndarray, crowd_png: bytes) -> None:
    page.drop(("crowd.png", "image/png", crowd_png))
    page.until_quiet()
    slide(page, "#conf", 0.6)
    (expected,) = offline([crowd_png], ["crowd.png"], confidence=0.6)
    page.one("#look").send_keys("p")
    page.until_quiet()
    got = read_frame(page.download("#save-picture", "crowd-hidden.jpg"))
    assert np.abs(got.astype(int) - hide(crowd, expected, "pixelate", "faces")).mean() < 3
    page.one("#look").send_keys("bl")
    page.one("#what").send_keys("h")
    page.until_quiet()
    got = read_frame(page.download("#save-picture", "crowd-hidden.jpg"))
    assert np.abs(got.astype(int) - hide(crowd, expected, "blur", "heads")).mean() < 3
    assert np.abs(got.astype(int) - crowd).mean() > 3


def test_a_bad_picture_fails_alone(page: Browser, crowd_png: bytes, tmp_path: Path) -> None:
    evil = "<img src=x onerror=document.title='caught'>.jpg"
    photo = ASTRONAUT.read_bytes()
    contents = {
        "=1+1.jpg": photo,
        evil: b"no picture",
        "empty.png": b"",
        "cut.jpg": photo[:9000],
        "crowd.png": crowd_png,
    }
    page.drop(*((name, "image/jpeg", content) for name, content in contents.items()))
    page.until_quiet()
    assert page.texts("#pictures .name") == list(contents)
    states = page.texts("#pictures .state")
    assert (states[0], states[-1]) == ("1 face", "7 faces")
    assert states[1].startswith("not a picture that facepipe reads")
    assert "empty" in states[2]
    assert page.texts("#status") == ["5 pictures, 8 faces; 3 failed"]
    page.one("#pictures li:nth-child(2) .pick").click()
    page.until(lambda: page.texts("#instead") == states[1:2], "what is wrong with it")
    assert page.texts("#view-title") == [evil]
    assert page.driver.title == "facepipe"
    got = saved(page)
    files = [("file", (name, content)) for name, content in contents.items()]
    answer = httpx2.post(page.driver.current_url + "v1/detect", files=files).json()["results"]
    whole = [Result.model_validate(each) for each in answer]
    assert [each.source for each in got] == list(contents)
    for one, other in zip(got, whole, strict=True):
        # The name is the file's own, where a form's would be in the form's spelling; a single one is told of by itself.
        assert alike(one, other.model_copy(update={"error": one.error}))
        assert (one.error is None) == (other.error is None)
    table = page.download("#save-csv", "facepipe.csv")
    assert table == as_csv(got, tmp_path)
    rows = table.decode().split("\r\n")
    assert rows[1].startswith("./=1+1.jpg,,512,512,0,")
    assert len(rows) == 1 + 8 + 3 + 1
    press(page, "#pictures li:nth-child(1) .remove", Keys.ENTER)
    page.until(lambda: page.texts("#pictures .name") == list(contents)[1:], "it to go")
    assert page.run("return document.activeElement.ariaLabel") == f"remove {evil}"  # the focus goes on to the next
    page.one("#clear").click()
    page.until(lambda: page.texts("#view-title") == ["No picture yet"], "the empty page")
    assert page.texts("#pictures .name") == []


def test_pasting(page: Browser, crowd_png: bytes) -> None:
    script = """
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(arguments[0])], "image.png", { type: "image/png" }));
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    """
    page.run(script, list(crowd_png))
    page.until_quiet()
    assert page.texts("#status") == ["1 picture, 7 faces"]


def test_what_the_browser_cannot_show_the_server_shows(page: Browser) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    photo = read_frame(ASTRONAUT)
    stored = io.BytesIO()
    pillow_heif.from_bytes("BGR", photo.shape[1::-1], photo.tobytes()).save(stored, quality=90)
    page.drop(("astronaut.heic", "image/heic", stored.getvalue()))
    page.until_quiet()
    assert page.texts("#status") == ["1 picture, 1 face"]
    page.until(lambda: page.one("#canvas").is_displayed(), "the picture")
    drawn = read_frame(page.download("#save-picture", "astronaut-faces.jpg"))
    assert drawn.shape == (1024, 1024, 3)
    small = cv2.resize(drawn, (512, 512), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(small[300:500, 300:500] - photo[300:500, 300:500]).mean() < 8


def test_a_turned_photo(page: Browser) -> None:
    pil = pytest.importorskip("PIL.Image")
    exif, stored = pil.Exif(), io.BytesIO()
    exif[0x0112] = 6
    pil.open(ASTRONAUT).transpose(pil.Transpose.ROTATE_90).resize((512, 512)).crop((0, 0, 512, 400)).save(
        stored, "JPEG", exif=exif
    )
    page.drop(("turned.jpg", "image/jpeg", stored.getvalue()))
    page.until_quiet()
    (got,) = saved(page)
    assert (got.width, got.height, len(got.faces)) == (400, 512, 1)
    drawn = read_frame(page.download("#save-picture", "turned-faces.jpg"))
    box, zoom = got.faces[0].box, drawn.shape[0] / 512
    middle = round((box.y1 + box.y2) / 2 * zoom)
    assert greenness(drawn[middle - 30 : middle - 15, round(box.x1 * zoom)]) > 50


def test_the_camera(page: Browser) -> None:
    page.one("#camera").click()
    page.until(lambda: page.one("#canvas").is_displayed(), "a frame")
    assert page.texts("#status") == ["The camera is on."]
    assert page.one("#camera").get_attribute("aria-pressed") == "true"
    page.one("#look").send_keys("p")
    page.until(lambda: page.one("#what").is_displayed(), "the choice of what is hidden")
    page.one("#look").send_keys("bo")
    page.one("#take").click()
    page.until(lambda: page.texts("#pictures .name"), "the picture taken")
    page.until_quiet()
    assert page.texts("#pictures .name") == ["camera-1.jpg"]
    (got,) = saved(page)
    assert (got.source, got.error) == ("camera-1.jpg", None)
    assert (got.width or 0) >= 320
    assert page.run("return document.querySelector('#video').srcObject") is None  # the camera is off


def test_with_the_keyboard_alone(page: Browser) -> None:
    page.choose(ASTRONAUT)  # a system's own dialogue: all else is reached by Tab
    page.until_quiet()
    page.run("document.activeElement.blur(); window.getSelection().removeAllRanges(); document.body.focus()")
    reached: list[str] = []
    for _ in range(60):
        page.press(Keys.TAB)
        script = """
            const at = document.activeElement, label = at.matches("input.unseen") ? at.previousElementSibling : at;
            const name = at.id || at.className || at.value || `column ${at.textContent}`;
            return [name, getComputedStyle(label).outlineStyle];
        """
        name, outline = page.run(script)
        if name in reached or page.run("return document.activeElement === document.body"):
            break
        reached.append(name)
        assert outline == "solid", f"the focus does not show at {name}"
    wanted = ["choose", "camera", "pick", "remove", "clear", "look", "enlarge", "boxes", "labels", "points", "heads"]
    wanted += ["age", "gender", "glasses", "smile", "mask", "scroll", "column age", "face", "conf", "least"]
    wanted += ["version-detector", "version-classifier", "save-json", "save-csv", "save-picture"]
    assert [name for name in reached if name in wanted] == wanted


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_dark_and_light(tmp_path: Path, server: str, crowd_png: bytes, dark: bool) -> None:
    browser = Browser(tmp_path, dark=dark)
    try:
        browser.phone()
        opened(browser, server)
        ground = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 150) == dark
        name = "a long name without a single space in it, that is " + "long" * 30 + ".png"
        browser.drop((name, "image/png", crowd_png), ("astronaut.jpg", "image/jpeg", ASTRONAUT.read_bytes()))
        browser.drop(("text.txt", "text/plain", b"no picture"))
        browser.until_quiet()
        assert browser.run("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
        assert browser.run(CARDS) == [["picture", "confidence", "age", "gender", "glasses", "smile", "mask"], []]
        assert browser.run(LOW) == []
        assert browser.run(CONTRAST) == []
    finally:
        browser.close()


CARDS = """
    const cells = [...document.querySelectorAll("#table tbody tr:first-child td")];
    const told = cells.map((cell) => getComputedStyle(cell, "::before").content).filter((text) => text !== "none");
    const cut = [...document.querySelectorAll("#table td, #table td *")].filter((each) => {
      const { left, right } = each.getBoundingClientRect();
      return left < 0 || right > innerWidth || each.scrollWidth > each.clientWidth + 1 && each.clientWidth;
    });
    return [told.map((text) => JSON.parse(text)), cut.map((each) => each.outerHTML)];
"""
"""What the first face's card names its values, and the values of any card that are cut off."""
LOW = """
    const targets = [...document.querySelectorAll("button, select, .button, input[type=range]")];
    return targets.filter(({ offsetHeight }) => offsetHeight && offsetHeight < 32).map((each) => each.outerHTML);
"""
"""What is too low for a finger (24 px are the least, WCAG 2.2, 2.5.8)."""
CONTRAST = """
    const light = (colour) => {
      const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
      const [r, g, b] = colour.match(/[\\d.]+/g).map((each) => linear(each / 255));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (each) => {
      const { backgroundColor } = getComputedStyle(each);
      return /, 0\\)$/.test(backgroundColor) ? ground(each.parentElement) : backgroundColor;
    };
    const wrong = [];
    for (const each of document.querySelectorAll("body *")) {
      const own = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!own || !each.offsetHeight || each.disabled) continue;
      const [one, other] = [getComputedStyle(each).color, ground(each)].map(light);
      const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      if (contrast < 4.5) wrong.push(`${each.tagName} ${each.id} ${each.className} ${contrast}`);
    }
    return wrong;
"""
"""Texts whose contrast is below 4.5 (WCAG 2, 1.4.3)."""


def test_the_policy_holds(page: Browser) -> None:
    script = """
        const blocked = [];
        document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
        fetch("https://elsewhere.example/").catch(() => {});
        new Image().src = "https://elsewhere.example/a.png";
        try {
          document.body.innerHTML += "<b onclick='1'>text as markup</b>";
        } catch (error) {
          blocked.push(error.name);
        }
        return new Promise((done) => setTimeout(() => done(blocked.sort()), 300));
    """
    wanted = ["TypeError", "connect-src", "img-src", "require-trusted-types-for"]
    assert page.run(script) == wanted
    assert len(page.complaints()) >= 3
    page.requested()  # those of the test itself, which were stopped before they left
    page.driver.refresh()


def test_a_server_with_a_key(chromium: Browser, shipped: Served) -> None:
    with running(shipped, Settings(keys=(KEY,)), FOLDER) as live:
        chromium.driver.get(live.url)
        chromium.until(lambda: chromium.one("#lock").is_displayed(), "the field for the key")
        assert chromium.run("return document.activeElement.id") == "key"
        chromium.choose(ASTRONAUT)
        chromium.one("#key").send_keys("not the key at all" + Keys.ENTER)
        chromium.until(lambda: "no spaces" in chromium.texts("#alert")[0], "word of it")
        chromium.one("#key").clear()
        chromium.one("#key").send_keys("0123456789abcdeX" + Keys.ENTER)
        chromium.until(lambda: chromium.texts("#alert") == ["The API key is not one of this server's."], "word of it")
        chromium.one("#key").send_keys(KEY + Keys.ENTER)
        chromium.until(lambda: len(chromium.texts("#table tbody tr")) == 1, "the face")
        assert chromium.texts("#alert") == [""]
        assert chromium.run("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 1, ""]
        chromium.driver.refresh()
        chromium.until(lambda: chromium.texts("#version-detector option"), "the models, with the key of this tab")
        chromium.run("sessionStorage.clear()")
    chromium.complaints()


def test_a_busy_server(chromium: Browser, pipeline: Pipeline, photo: Callable[..., np.ndarray]) -> None:
    gated = Gated(pipeline)
    with running(gated, Settings(queue=1, max_files=1, batch=1, decoders=1), FOLDER) as live, ExitStack() as stack:
        opened(chromium, live.url)
        content = png(photo(0))
        ask = lambda: httpx2.post(live.url + "/v1/detect", files=[("file", content)], timeout=30)  # noqa: E731
        answers: list[int] = []
        clients = [threading.Thread(target=lambda: answers.append(ask().status_code)) for _ in range(6)]
        for each in clients:
            each.start()
            stack.callback(each.join)
        assert gated.entered.wait(20)
        chromium.drop(("photo.png", "image/png", content))
        chromium.until(lambda: "server is busy; trying again in" in chromium.texts("#pictures .state")[0], "busy")
        assert "the server is busy" in chromium.texts("#status")[0]
        gated.gate.set()
        chromium.until_quiet()
        chromium.until(lambda: chromium.texts("#pictures .state")[0].endswith(("face", "faces")), "the answer")
    chromium.complaints()


def test_a_server_that_is_away(chromium: Browser, shipped: Served) -> None:
    with running(shipped, Settings(), FOLDER) as live:
        opened(chromium, live.url)
        chromium.choose(ASTRONAUT)
        chromium.until_quiet()
    chromium.drop(("late.jpg", "image/jpeg", ASTRONAUT.read_bytes()))
    chromium.until(lambda: "failed" in chromium.texts("#status")[0], "the failure")
    assert chromium.texts("#pictures .state")[0] == "1 face"  # what is there stays
    assert chromium.texts("#pictures .state")[1].startswith("No answer")
    assert chromium.one("#retry").is_displayed()
    chromium.complaints()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_the_pictures_of_the_docs(tmp_path: Path, server: str, crowd_png: bytes, phone: bool, dark: bool) -> None:
    """Written only where ``FACEPIPE_PICTURES`` says so; the way there is tested all the same."""
    browser = Browser(tmp_path, size=(1240, 1180), dark=dark)
    try:
        if phone:
            browser.phone(390, 1180, 1.5)
        opened(browser, server)
        browser.drop(("astronaut.jpg", "image/jpeg", ASTRONAUT.read_bytes()))
        if not phone:
            browser.drop(("crowd.png", "image/png", crowd_png))
        browser.until_quiet()
        if phone:
            browser.run("document.querySelector('#view').scrollIntoView()")
        shot = read_frame(browser.driver.get_screenshot_as_png())
    finally:
        browser.close()
    assert (shot[8, 8].mean() < 60) == dark
    assert shot.std() > 20  # not blank
    content = cv2.imencode(".webp", shot, [cv2.IMWRITE_WEBP_QUALITY, 85])[1].tobytes()
    assert len(content) < 150_000
    if folder := os.environ.get(PICTURES):
        (Path(folder) / f"page{'-phone' * phone}{'-dark' * dark}.webp").write_bytes(content)
