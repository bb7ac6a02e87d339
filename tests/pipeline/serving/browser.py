"""A real Chromium without a window, driven by selenium."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 30.0
"""Seconds that a page is waited for."""
DROP = """
const [target, files] = arguments, data = new DataTransfer();
for (const [name, type, content] of files) {
  data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name, { type }));
}
for (const name of ["dragover", "drop"]) {
  target.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: data }));
}
"""
"""Drops files onto an element as a browser does: ``[name, type, base64]`` each."""

Seen = TypeVar("Seen")


def programs() -> tuple[str, str] | None:
    """The paths of Chromium (or Chrome) and its driver, None where either is absent."""
    names = "chromium", "chromium-browser", "google-chrome"
    browser = next((path for path in map(shutil.which, names) if path), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """A Chromium of its own with a page open.

    Args:
        folder: of its profile and of what it downloads.
        size: of its window.
        dark: whether the user prefers dark pages.

    Attributes:
        driver: selenium's.
        downloads: the folder.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 900), dark: bool = False):
        found = programs()
        assert found is not None
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        options = webdriver.ChromeOptions()
        options.binary_location = found[0]
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            "--force-prefers-reduced-motion",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={size[0]},{size[1]}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(self.downloads), "download.prompt_for_download": False}
        )
        os.environ["SE_OFFLINE"] = "true"  # selenium fetches no driver of its own
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(found[1]))
        self.driver.set_script_timeout(PATIENCE)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    def phone(self, width: int = 360, height: int = 740, density: float = 2) -> None:
        """Show pages as a phone does."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": density, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def one(self, selector: str) -> WebElement:
        """The first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements of a CSS selector."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)"
        found: list[str] = self.driver.execute_script(script, selector)
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of JavaScript that ``return``s one, or a promise of one."""
        return self.driver.execute_script(script, *arguments)

    def press(self, key: str) -> None:
        """Press a key, wherever the focus is."""
        ActionChains(self.driver).send_keys(key).perform()

    def until(self, look: Callable[[], Seen], what: str = "") -> Seen:
        """What a look sees, once it is anything."""
        end = time.monotonic() + PATIENCE
        while not (seen := look()):
            assert time.monotonic() < end, f"waited in vain for {what or look}; the page says {self.texts('#view p')}"
            time.sleep(0.05)
        return seen

    def until_quiet(self) -> None:
        """Wait until each picture is done or has failed, and what is shown is up to date."""
        self.until(lambda: "ing …" not in (said := self.texts("#status")[0]) and said != "", "the pictures")
        self.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def choose(self, *files: Path) -> None:
        """Choose files in the page's chooser."""
        self.one("#choose").send_keys("\n".join(map(str, files)))

    def drop(self, *files: tuple[str, str, bytes]) -> None:
        """Drop files, each as its name, type and content."""
        packed = [[name, kind, base64.b64encode(content).decode()] for name, kind, content in files]
        self.driver.execute_script(DROP, self.one("#stage"), packed)

    def download(self, button: str, name: str) -> bytes:
        """The file that a button saves."""
        path = self.downloads / name
        path.unlink(missing_ok=True)
        self.one(button).click()
        self.until(path.is_file, name)
        return path.read_bytes()

    def requested(self) -> set[str]:
        """The addresses that were asked for since the last call, over any network: ``scheme://host:port``."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        sent = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
        parts = [urlsplit(each["request"]["url"]) for each in sent]
        return {f"{part.scheme}://{part.netloc}" for part in parts if part.scheme not in ("blob", "data", "chrome")}

    def complaints(self) -> list[str]:
        """What the browser's console said since the last call: faults of the scripts, and what the policy stopped."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
