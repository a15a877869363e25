"""What a person sees of two runs in TensorBoard: no card of any tab is empty."""

from collections.abc import Iterator
from typing import Any

import pytest

from skipvae.cli import run
from tests.command_line import TINY, overridden
from tests.end_to_end import tensorboard_pages as tb


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a VAE and a SKIP-VAE, trained and tested."""
    pytest.importorskip("playwright", reason="needs playwright: pip install 'skipvae[browser]'")
    if tb.browser_path() is None:
        pytest.skip("needs Chromium or Chrome")
    folder = tmp_path_factory.mktemp("tensorboard")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        for skip in ("false", "true"):
            options = (f"--version=skip_{skip}", f"--model.decoder.skip={skip}", "--trainer.max_epochs=2")
            run(overridden(["fit", *TINY, *options]))
            run(["test", f"--ckpt_path=lightning_logs/tiny/skip_{skip}/checkpoints/best.ckpt"])
        with tb.tensorboard(folder / "lightning_logs") as server:
            yield server


@pytest.fixture(scope="module")
def playwright(address: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def page(playwright: Any, address: str) -> Iterator[Any]:
    with tb.opened(playwright, address) as opened:
        yield opened


@pytest.mark.parametrize("tab", list(tb.CARDS))
def test_no_card_is_empty(page: Any, tab: str) -> None:
    count, empty = tb.cards(page, tab)
    assert count >= 2
    assert empty == []
    assert page.locator("text=/No .*data was found/").locator("visible=true").count() == 0


def test_the_hparams_table_begins_with_the_headlines_of_the_test(page: Any) -> None:
    tb.open_tab(page, "hparams")
    cells = page.locator("tf-hparams-table-view vaadin-grid-cell-content")
    cells.nth(3).wait_for(state="attached")
    texts = [text.strip() for text in cells.all_text_contents()]
    metrics = [text for text in texts if text.split("/")[0] in ("headline", "test", "train", "val")]
    assert metrics[:3] == ["headline/test/au", "headline/test/kl", "headline/test/mi"]
    assert len([text for text in texts if text.startswith("tiny/skip_")]) == 2


def test_text_shows_command_config_and_results(page: Any) -> None:
    tb.open_tab(page, "text")
    for part in ("skipvae fit", "class_path: skipvae.decoders.MLPDecoder", "evidence lower bound"):
        page.locator("tf-text-loader", has_text=part).first.wait_for(state="attached")


def test_the_projector_has_points_with_their_metadata(playwright: Any, address: str) -> None:
    with tb.opened(playwright, address, webgl=True) as page:
        frame = tb.projector(page)
        frame.locator("text=/Points: 500/").first.wait_for(state="attached")
        for column in ("label", "KL", "example"):
            frame.locator(f"text={column}").first.wait_for(state="attached")
