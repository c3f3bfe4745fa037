"""Pictures: a run's report, and the board, as README and docs show them, of runs that are there.

`python -m documentation.pictures outputs` takes them in a headless Chromium, of the runs that docs/start.md makes.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium.webdriver.support.ui import WebDriverWait
from tests.board.boards import served
from tests.doors.browser import Browser

from tunefleet.doors.report import report
from tunefleet.launch import register

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, LARGEST = 1100, 200_000  # pixels; bytes of a picture
_COLOURS = 160
_READY = "return document.documentElement.dataset.ready"
_PLAIN = """
document.documentElement.style.overflow = 'hidden';
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replaceAll(arguments[0], '');
"""  # neither a bar to scroll with nor a folder of this machine
_SETTLED = 1.0  # seconds that curves have to be drawn


def main() -> None:
    """Writes docs/report.png and docs/board.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path, help="the folder of runs")
    parser.add_argument("--run", default="demo", help="the beginning of the name of the run whose report is shown")
    parser.add_argument("--to", type=Path, default=DOCS, help="folder of the pictures")
    chosen = parser.parse_args()
    with _window() as browser, tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "report.html"
        report(register.named(chosen.run, chosen.outputs), page, chosen.outputs)
        _take(browser, chosen.outputs, page.as_uri(), chosen.to / "report.png", 1290)
        with served(chosen.outputs, "--read-only") as board:
            _take(browser, chosen.outputs, board.url, chosen.to / "board.png", 640)


@contextmanager
def _window() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            yield browser
        finally:
            browser.close()


def _take(browser: Browser, outputs: Path, address: str, picture: Path, height: int) -> None:
    """The page at an address as a PNG of few colours. Raises `ValueError` for one that is too large."""
    browser.driver.set_window_size(WIDTH, height)
    browser.driver.get(address)
    WebDriverWait(browser.driver, 60).until(lambda driver: driver.execute_script(_READY))
    browser.run(_PLAIN, f"{outputs.resolve().parent}/")
    time.sleep(_SETTLED)
    taken = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    taken.quantize(_COLOURS).save(picture, optimize=True)
    if picture.stat().st_size > LARGEST:
        raise ValueError(f"{picture}: {picture.stat().st_size:,} bytes are more than {LARGEST:,}")
    print(f"{picture}  {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
