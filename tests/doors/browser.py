"""A headless Chromium that tests open pages in: what it draws, complains of, and asks the network for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
DRIVER = shutil.which("chromedriver") or ""
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver on this machine")


class Browser:
    """One window of 1280 letters, with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--window-size=1280,1000"]
        for flag in [*flags, f"--user-data-dir={folder / 'profile'}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))

    def open(self, page: Path, ready: str = "return document.readyState === 'complete'") -> None:
        """Opens a file and waits until `ready` is true of it."""
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver.get(page.absolute().as_uri())
        WebDriverWait(self.driver, 20).until(lambda driver: driver.execute_script(ready))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a line of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """What the console has of warnings and errors since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def requests(self) -> list[str]:
        """The addresses on a network that pages asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if url.startswith(("http", "ws", "ftp"))]

    def close(self) -> None:
        """Ends the browser."""
        self.driver.quit()
