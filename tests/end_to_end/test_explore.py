"""The page of `skipvae explore` in a headless browser: for pictures, text and tables, without any other host."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from skipvae import VAE, load
from skipvae.cli.explore.explorer import Explorer
from skipvae.cli.explore.gallery import gallery
from skipvae.cli.explore.inputs import own_input
from skipvae.models.test_split import Examples
from tests.command_line import ROOT
from tests.end_to_end.tensorboard_pages import OPTIONS, PATIENCE, WITHOUT_WEBGL, browser_path
from tests.models.test_values import table_model, text_model

WAIT = {"timeout": 1000 * PATIENCE}
"""For a page on a busy machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("bokeh", reason="needs bokeh: pip install 'skipvae[explore]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'skipvae[browser]'")
    if browser_path() is None:
        pytest.skip("needs Chromium or Chrome")
    with playwright.sync_playwright() as started:
        arguments = [*OPTIONS, *WITHOUT_WEBGL]
        opened = started.chromium.launch(executable_path=browser_path(), args=arguments, **WAIT)
        yield opened
        opened.close()


@contextmanager
def opened(browser: Any, address: str) -> Iterator[Any]:
    """The page; afterwards it must have asked nobody but its own server."""
    page, asked = browser.new_page(viewport={"width": 1200, "height": 1000}), list[str]()
    page.set_default_timeout(1000 * PATIENCE)
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    page.goto(address)
    yield page
    page.close()
    assert any(url.startswith(f"{address}ws") for url in asked)
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


@contextmanager
def served(model: VAE, splits: dict[str, Examples], missing: str = "") -> Iterator[str]:
    """The address of a page of a model in this process."""
    from skipvae.cli.explore.page import Page
    from skipvae.cli.explore.server import start

    loop, addresses = asyncio.new_event_loop(), list[str]()
    own: Callable[[str, bytes], torch.Tensor] = partial(own_input, model, "none.ckpt")

    async def begin() -> None:
        server, address = start(partial(Page, Explorer(model, splits), own, "tiny", missing))
        addresses.append(address)
        await stopped.wait()
        server.stop()

    stopped = asyncio.Event()
    thread = Thread(target=loop.run_until_complete, args=(begin(),))
    thread.start()
    try:
        while not addresses and thread.is_alive():
            thread.join(0.05)
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


def move_first_slider(page: Any) -> None:
    """To its end, by the keyboard."""
    page.locator(".noUi-handle").first.focus()
    page.keyboard.press("End")


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect as expected

    return expected(locator)


def test_pictures(browser: Any, trained: Path, tmp_path: Path) -> None:
    """The command itself, with the examples of its run, until Ctrl-C."""
    command = [sys.executable, "-m", "skipvae", "explore", f"--ckpt_path={trained}", "--num=50"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # the runner of the tests may ignore it
    )
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        with opened(browser, found[0]) as page:
            compared = page.locator(".compared img")
            expect(compared).to_have_count(3, **WAIT)
            expect(page.locator(".neighbors img")).to_have_count(8, **WAIT)
            expect(page.locator(".neighbors")).to_contain_text("of 50 training examples", **WAIT)
            before = compared.nth(1).get_attribute("src")
            assert compared.nth(2).get_attribute("src") == before
            move_first_slider(page)
            expect(compared.nth(2)).not_to_have_attribute("src", before, **WAIT)
            assert compared.nth(1).get_attribute("src") == before
            page.get_by_role("button", name="Keep as start").click()
            page.get_by_role("button", name="Reset").click()
            expect(compared.nth(2)).to_have_attribute("src", before, **WAIT)
            page.get_by_role("button", name="Keep as end").click()
            expect(page.locator(".path img")).to_have_count(8, **WAIT)
            assert page.locator(".path img").last.get_attribute("src") == before

            pixels = np.zeros((28, 28), np.uint8)
            pixels[4:24, 12:16] = 255
            Image.fromarray(pixels).save(tmp_path / "mine.png")
            page.locator("input[type=file]").set_input_files(tmp_path / "mine.png")
            expect(page.locator(".compared")).to_contain_text("input: mine.png", **WAIT)
            model = load(trained)
            expected = model.decode(model.encode((pixels[None] / 255).astype(np.float32)).mean)
            assert compared.nth(1).get_attribute("src") in gallery(expected, [""])
            page.get_by_role("button", name="Draw from the prior").click()
            expect(page.locator(".compared")).to_contain_text("drawn from the prior", **WAIT)
            expect(compared).to_have_count(2, **WAIT)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate()
        assert (process.returncode, rest.strip()) == (0, "stopped")
    finally:
        process.kill()
        process.wait()


def test_text_without_the_data_of_the_run(browser: Any) -> None:
    model = text_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 8  # so that the most probable words depend on z
    with served(model, {}, "no test and training examples: gone") as address, opened(browser, address) as page:
        expect(page.locator(".head")).to_contain_text("no test and training examples: gone", **WAIT)
        page.locator("textarea").fill("a b c nonsense")
        page.get_by_role("button", name="Encode").click()
        shown = page.locator(".compared dd")
        expect(shown).to_have_count(3, **WAIT)
        reconstruction = model.decode(model.encode("a b c nonsense").mean)[0]
        expect(shown).to_have_text(["a b c <unk>", reconstruction, reconstruction], **WAIT)
        expect(page.locator(".message")).to_contain_text("not in the vocabulary: nonsense", **WAIT)
        move_first_slider(page)
        expect(shown.nth(2)).not_to_have_text(reconstruction, **WAIT)
        expect(shown.nth(1)).to_have_text(reconstruction, **WAIT)
        assert page.locator(".neighbors img, .neighbors dl").count() == 0


def test_tables(browser: Any) -> None:
    model, x = table_model(), torch.randn(30, 2)
    with served(model, {"training": Examples(x, None)}) as address, opened(browser, address) as page:
        cells = page.locator(".compared td")
        page.locator("textarea").fill("1, 2, 3")
        page.get_by_role("button", name="Encode").click()
        expect(page.locator(".message .error")).to_contain_text("row cannot be used", **WAIT)
        page.locator("textarea").fill("180, 2.5")
        page.get_by_role("button", name="Encode").click()
        tall, wide = model.decode(model.encode([[180.0, 2.5]]).mean)[0]
        before = [f"{value:.4g}" for value in (tall, wide)]
        expected = ["tall", "180", before[0], before[0], "wide", "2.5", before[1], before[1]]
        expect(cells).to_have_text(expected, **WAIT)
        move_first_slider(page)
        expect(cells.nth(3)).not_to_have_text(before[0], **WAIT)
        expect(page.locator(".neighbors th")).to_have_count(9, **WAIT)
