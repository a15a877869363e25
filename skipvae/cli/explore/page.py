"""The page of `skipvae explore`: widgets, and what each of them does."""

import base64
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import InlineStyleSheet
from bokeh.models.widgets.buttons import Button
from bokeh.models.widgets.inputs import FileInput, Select, Spinner, TextAreaInput
from bokeh.models.widgets.markups import Div
from bokeh.models.widgets.sliders import Slider
from torch import Tensor

from skipvae.cli.explore.explorer import MAX_DIMENSIONS, Code, Dimension, Explorer
from skipvae.cli.explore.gallery import STYLE, gallery
from skipvae.cli.explore.inputs import typed
from skipvae.table.codec import TableCodec
from skipvae.text.codec import TextCodec

PAUSE = 30
"""Milliseconds in which events are collected: of a slider that is moved, the last one counts."""
STEPS = 8
"""Points of an interpolation."""
NEIGHBORS = 8
"""Training examples that are shown."""
ENDS = ("start", "end")
"""Of an interpolation."""


class Page:
    """One open page.

    Args:
        explorer: the model, shared by all pages.
        own: name and content of an input of the user's own -> its x (1, ...).
        title: names the model.
        missing: why examples are missing, or "".
        document: Bokeh's document, which the page fills.
    """

    def __init__(
        self, explorer: Explorer, own: Callable[[str, bytes], Tensor], title: str, missing: str, document: Document
    ) -> None:
        self._explorer, self._own, self._document = explorer, own, document
        self._names = TableCodec.of(explorer.model).names if explorer.modality == "table" else []
        self._waiting = set[Callable[[], None]]()
        self._start: Code
        self._given: list[tuple[str, Any]] = []
        """The start's caption and value; its reconstruction."""
        self._drawn = 0
        self._ends: dict[str, Code] = {}

        self._message = _text("message")
        self._compared, self._path, self._neighbors = _text("compared"), _text("path"), _text("neighbors")
        self._sliders = {each.number: self._slider(each) for each in explorer.dimensions[:MAX_DIMENSIONS]}
        splits: list[str | tuple[Any, str]] = [*explorer.splits]
        self._split = Select(title="Split", options=splits, width=95)
        self._index = Spinner(title="Example", low=0, step=1, value=0, width=95, mode="int")
        self._upload = FileInput(accept="image/*,.npy", title="A picture of your own", width=300)
        self._typed = TextAreaInput(rows=2, width=300, title="A sentence of your own")
        if explorer.modality == "table":
            self._typed.title, self._typed.placeholder = "A row of your own", ", ".join(self._names)
        self._fill(title, missing)
        if explorer.splits:
            self._split.value = next(iter(explorer.splits))
            self._from_example()
        else:
            self._from_prior()

    # -- what is on the page ------------------------------------------------------------------------------------------

    def _fill(self, title: str, missing: str) -> None:
        """Lays the page out, and connects its widgets with what they do."""
        dimensions, hidden = self._explorer.dimensions, len(self._explorer.dimensions) - len(self._sliders)
        known = dimensions[0].kl is not None
        note = f"{len(dimensions)} latent dimensions" + (", sorted by KL" if known else "")
        note += f"; {hidden} more keep the value of the start" if hidden else ""
        head = _text("head", f"<h1>skipvae explore: {escape(title)}</h1><p>{note}</p>")
        if missing:
            head.text += f"<p class='error'>{escape(missing)}</p>"

        self._split.on_change("value", self._on(self._from_example))
        self._index.on_change("value", self._on(self._from_example))
        self._upload.on_change("value", self._on(self._from_upload))
        take = self._button("Take example", self._from_example)
        take.width, take.align = 90, "end"
        examples = [row(self._split, self._index, take)] if self._explorer.splits else []
        if self._explorer.modality == "image":
            own: list[Any] = [self._upload]
        else:
            own = [self._typed, self._button("Encode", self._from_typed)]
        starts = row(self._button("Draw from the prior", self._from_prior), self._button("Reset", self._reset))
        ends = row(*(self._button(f"Keep as {end}", self._keep(end)) for end in ENDS))
        left = column(_text("heading", "<h2>Start from</h2>"), *examples, *own, starts, self._message)
        sliders = column(_text("heading", "<h2>Latent dimensions</h2>"), *self._sliders.values(), width=320)
        right = column(
            *(self._compared, _text("heading", "<h2>Interpolation between two codes</h2>"), ends, self._path),
            self._neighbors,
            sizing_mode="stretch_width",
        )
        self._document.title = "skipvae explore"
        body = row(column(left, sliders, width=340), right, sizing_mode="stretch_width")
        self._document.add_root(column(head, body, sizing_mode="stretch_width", margin=10))

    def _slider(self, dimension: Dimension) -> Slider:
        kl = "" if dimension.kl is None else f" (KL {dimension.kl:.2f} nats)"
        title, reach = f"z_{dimension.number}{kl}", dimension.reach
        slider = Slider(title=title, start=-reach, end=reach, step=0.01, value=0, format="0.00", width=300)
        slider.on_change("value", self._on(self._draw))
        return slider

    def _button(self, label: str, do: Callable[[], None]) -> Button:
        button = Button(label=label, width=145)
        button.on_click(lambda: self._soon(do))
        return button

    # -- events -------------------------------------------------------------------------------------------------------

    def _on(self, do: Callable[[], None]) -> Callable[[str, Any, Any], None]:
        return lambda _attribute, _old, _new: self._soon(do)

    def _soon(self, do: Callable[[], None]) -> None:
        """Does it once after a pause, however many events ask for it meanwhile."""
        if do in self._waiting:
            return
        self._waiting.add(do)

        def now() -> None:
            self._waiting.discard(do)
            try:
                do()
            except (ValueError, OSError) as error:
                self._message.text = f"<p class='error'>{escape(str(error))}</p>"

        self._document.add_timeout_callback(now, PAUSE)

    def _from_example(self) -> None:
        split = str(self._split.value)
        x = self._explorer.splits[split].x
        self._index.high = len(x) - 1
        index = self._index.value = min(max(int(self._index.value or 0), 0), len(x) - 1)
        label = self._explorer.label(split, index)
        self._from_x(x[index : index + 1], f"{split} example {index}" + (f", {label}" if label else ""))

    def _from_upload(self) -> None:
        content, name = base64.b64decode(str(self._upload.value)), str(self._upload.filename)
        if content:  # else it was cleared
            self._from_x(self._own(name, content), name)
            self._upload.clear()  # so that the same file can be taken again

    def _from_typed(self) -> None:
        text = str(self._typed.value)
        self._from_x(self._own(*typed(self._explorer.model, text)), "your own")
        if self._explorer.modality == "text":
            unknown = TextCodec.of(self._explorer.model).unknown(text)
            self._message.text = f"<p>not in the vocabulary: {escape(', '.join(unknown))}</p>" if unknown else ""

    def _from_prior(self) -> None:
        self._drawn += 1
        self._begin(self._explorer.prior(self._drawn), "drawn from the prior")

    def _from_x(self, x: Tensor, name: str) -> None:
        """Starts from x (1, ...)."""
        self._begin(self._explorer.code(x), "reconstruction", (f"input: {name}", self._explorer.values(x)))

    def _begin(self, z: Code, caption: str, *given: tuple[str, Any]) -> None:
        self._message.text = ""
        self._start, self._given = z, [*given, (caption, self._explorer.decode(z[None]))]
        self._reset()

    def _reset(self) -> None:
        """Moves the sliders to the code of the start."""
        for index, slider in self._sliders.items():
            value = float(self._start[index])
            slider.start, slider.end = min(slider.start, value), max(slider.end, value)
            slider.value = value
        self._soon(self._draw)

    def _keep(self, end: str) -> Callable[[], None]:
        def keep() -> None:
            self._ends[end] = self._code
            self._draw_path()

        return keep

    # -- drawing ------------------------------------------------------------------------------------------------------

    @property
    def _code(self) -> Code:
        """The code that the sliders show."""
        z = self._start.copy()
        for index, slider in self._sliders.items():
            z[index] = slider.value
        return z

    def _draw(self) -> None:
        z = self._code
        captions, values = zip(*self._given, ("by the sliders", self._explorer.decode(z[None])), strict=True)
        self._compared.text = self._gallery(_joined(values), captions, side=224)
        if "training" in self._explorer.splits:
            self._draw_neighbors(z)

    def _draw_neighbors(self, z: Code) -> None:
        found = self._explorer.nearest(z, NEIGHBORS)
        values = self._explorer.values(self._explorer.splits["training"].x[[index for index, _ in found]])
        captions = []
        for index, distance in found:
            label = self._explorer.label("training", index)
            captions.append(f"{distance:.2f}" + (f" {label}" if label else ""))
        among = f"<p>by the distance of posterior means, of {len(self._explorer.means):,} training examples</p>"
        title = f"<h2>Nearest training examples</h2>{among}"
        self._neighbors.text = title + self._gallery(values, captions)

    def _draw_path(self) -> None:
        if len(self._ends) < len(ENDS):
            (have,) = self._ends
            (lacking,) = {*ENDS} - {have}
            self._path.text = f"<p>{have} is kept: now keep another code as {lacking}</p>"
            return
        line = self._explorer.line(self._ends["start"], self._ends["end"], STEPS)
        captions = ["start", *(f"{step / (STEPS - 1):.3g}" for step in range(1, STEPS - 1)), "end"]
        self._path.text = self._gallery(self._explorer.decode(line), captions)

    def _gallery(self, values: Any, captions: Sequence[str], side: int = 96) -> str:
        return gallery(values, captions, self._names, side)


def _text(name: str, text: str = "") -> Div:
    """A part of the page that holds HTML, with a class to find it by."""
    style = InlineStyleSheet(css=STYLE)
    return Div(text=text, css_classes=[name], stylesheets=[style], disable_math=True, sizing_mode="stretch_width")


def _joined(parts: Sequence[Any]) -> Any:
    """The values of several parts as one: lists, or arrays."""
    return [value for part in parts for value in part] if isinstance(parts[0], list) else np.concatenate(parts)
