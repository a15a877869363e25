"""TensorBoard in a headless browser: opens its tabs, finds cards that show nothing, takes screenshots.

    python -m tests.end_to_end.tensorboard_pages LOGDIR FOLDER

saves a picture of each tab of the runs in LOGDIR, as the pages in docs/images were made. Needs Chromium or Chrome and
`pip install 'skipvae[browser]'`.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 300.0
"""Seconds to wait for a page on a busy machine."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")
WITH_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # in software; the projector needs it
WITHOUT_WEBGL = ("--disable-gpu",)  # charts are then drawn as SVG, where a program can see what is drawn

CARDS = {
    "timeseries": ("card-view", "line-chart path, image-card-component img, tb-histogram path"),
    "scalars": ("tf-scalar-card", "path.line, path.symbol"),
    "custom_scalars": ("tf-custom-scalar-multi-line-chart-card", "path.line, path.symbol"),
    "images": ("tf-image-loader", "img"),
    "distributions": ("tf-distribution-loader", "path.line"),
    "histograms": ("tf-histogram-loader", "path.outline"),
    "text": ("tf-text-loader", "tf-markdown-view"),
}
"""Tab -> its cards, and what a card shows if it shows something."""

# Selectors that look into shadow roots; a thing that is drawn lies within its card, which a clipped curve does not.
EMPTY_CARDS = """
async ([cardSelector, shownSelector]) => {
  const deep = (root, selector) => [
    ...root.querySelectorAll(selector),
    ...[root, ...root.querySelectorAll('*')].flatMap((e) => (e.shadowRoot ? deep(e.shadowRoot, selector) : [])),
  ];
  const shows = (card) => {
    const box = card.getBoundingClientRect();
    return deep(card, shownSelector).some((e) => {
      const part = e.getBoundingClientRect();
      const within =
        part.left >= box.left - 1 && part.right <= box.right + 1 &&
        part.top >= box.top - 1 && part.top <= box.bottom + 1;
      return within && (part.width > 0 || part.height > 0) && (e.tagName !== 'IMG' || e.naturalWidth > 0);
    });
  };
  for (const heading of deep(document, 'button.heading:not([open-button])')) heading.click();
  const cards = deep(document, cardSelector), empty = [];
  for (const card of cards) {
    card.scrollIntoView({block: 'center'});  // what is not in view is not drawn
    for (let i = 0; i < 100 && !shows(card); i++) await new Promise((done) => setTimeout(done, 100));
    if (!shows(card)) empty.push(card.tag || card.textContent.trim().slice(0, 60) || card.tagName);
  }
  scrollTo(0, 0);
  return [cards.length, empty];
}
"""


def browser_path() -> str | None:
    """The browser of this machine."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def tensorboard(logdir: Path) -> Iterator[str]:
    """A TensorBoard server of a folder, which has read the runs; its address."""
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir.name}", "--port=0", "--load_fast=false"]
    # Run beside the folder, since pages show the path that the server is given.
    beside = logdir.resolve().parent
    server = subprocess.Popen(command, cwd=beside, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        address = next(found[0] for line in lines if (found := re.search(r"http://[\w.]+:\d+/", line)))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if "hparams" in re.findall(r'"(\w+)": {[^}]*"enabled": true', _read(f"{address}data/plugins_listing")):
                    break
            except URLError:
                pass
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.communicate()


def _read(address: str) -> str:
    with urlopen(address, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


@contextmanager
def opened(playwright: Any, address: str, webgl: bool = False) -> Iterator[Any]:
    """A page of a headless browser, at an address."""
    options = [*OPTIONS, *(WITH_WEBGL if webgl else WITHOUT_WEBGL)]
    browser = playwright.chromium.launch(executable_path=browser_path(), args=options, timeout=1000 * PATIENCE)
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address, wait_until="commit")
    page.wait_for_selector("[data-plugin-id=scalars]")
    yield page
    browser.close()


def open_tab(page: Any, tab: str) -> None:
    """Goes to a tab, and waits for its first card."""
    page.click(f".plugin-name[data-plugin-id={tab}]")
    if tab in CARDS:
        page.wait_for_selector(CARDS[tab][0], state="attached")


def cards(page: Any, tab: str) -> tuple[int, list[str]]:
    """How many cards a tab has, and those that show nothing."""
    open_tab(page, tab)
    count, empty = page.evaluate(EMPTY_CARDS, list(CARDS[tab]))
    return count, empty


def projector(page: Any) -> Any:
    """The frame of the projector, which has read its points."""
    open_tab(page, "projector")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for frame in page.frames:
            if frame.locator("text=/Points: [1-9]/").count():
                return frame
        page.wait_for_timeout(500)
    raise TimeoutError("the projector has read no points")


def take_screenshots(logdir: Path, folder: Path) -> None:
    """Saves a picture of each tab."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with tensorboard(logdir) as address, sync_playwright() as playwright:
        with opened(playwright, address) as page:
            for tab in (*CARDS, "hparams"):
                open_tab(page, tab)
                page.wait_for_timeout(4000)
                page.screenshot(path=folder / f"{tab}.png", timeout=1000 * PATIENCE)
        with opened(playwright, address, webgl=True) as page:
            projector(page)
            page.wait_for_timeout(8000)
            page.screenshot(path=folder / "projector.png", timeout=1000 * PATIENCE)


if __name__ == "__main__":
    take_screenshots(Path(sys.argv[1]), Path(sys.argv[2]))
