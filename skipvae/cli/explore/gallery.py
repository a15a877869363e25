"""Values of a model as HTML: pictures, sentences or rows, each with a caption."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import torch
from PIL import Image

from skipvae.callbacks.tiles import shown

STYLE = """
:host { font: 14px/1.45 system-ui, sans-serif; color: #222; }
h1 { font-size: 20px; margin: 0; } h2 { font-size: 15px; margin: 6px 0 2px; } p { margin: 2px 0; color: #666; }
.error { color: #b00020; }
figure { display: inline-block; margin: 4px 10px 4px 0; text-align: center; vertical-align: top; }
figure img { image-rendering: pixelated; border: 1px solid #ccc; display: block; margin: auto; }
figcaption, dt { font-size: 12px; color: #666; } dd { margin: 0 0 8px; font-size: 15px; }
table { border-collapse: collapse; } .wide { overflow-x: auto; max-height: 420px; }
td, th { padding: 2px 10px; border-bottom: 1px solid #e4e4e4; text-align: right; font-weight: normal; }
th { color: #666; font-size: 12px; white-space: pre-line; } td:first-child { text-align: left; color: #666; }
"""
"""CSS of all parts of the page."""


def gallery(values: Any, captions: Sequence[str], names: Sequence[str] = (), side: int = 96) -> str:
    """HTML that shows N values beside each other.

    Args:
        values: sentences; images (N, C, H, W) from 0 to 1; or rows (N, D).
        captions: one for each value; a line break in it is one on the page.
        names: of the D columns of rows.
        side: pixels of the longer side of a picture on the page.

    Example:
        >>> gallery(["a < b"], ["input"])
        '<dl><dt>input</dt><dd>a &lt; b</dd></dl>'
        >>> gallery(np.array([[1.5]]), ["input"], ["height"])
        '<div class="wide"><table><tr><th></th><th>input</th></tr><tr><td>height</td><td>1.5</td></tr></table></div>'
    """
    titles = [escape(caption) for caption in captions]
    if isinstance(values, list):
        rows = (f"<dt>{title}</dt><dd>{escape(text)}</dd>" for title, text in zip(titles, values, strict=True))
        return f"<dl>{''.join(rows)}</dl>"
    if values.ndim == 4:
        return "".join(_figure(image, title, side) for image, title in zip(values, titles, strict=True))
    head = "".join(f"<th>{title}</th>" for title in ("", *titles))
    body = (
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{value:.4g}</td>' for value in column)}</tr>"
        for name, column in zip(names, values.T.tolist(), strict=True)
    )
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def _figure(image: np.ndarray[Any, Any], title: str, side: int) -> str:
    """One image (C, H, W) from 0 to 1, its PNG within the page."""
    pixels = (shown(torch.from_numpy(image)[None])[0] * 255).round().byte().numpy()
    height, width = pixels.shape[1:]
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    file = io.BytesIO()
    picture.save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    size = f"width:{side * width // max(height, width)}px;height:{side * height // max(height, width)}px"
    caption = title.replace("\n", "<br>")
    return f'<figure><img src="{source}" style="{size}" alt="{title}"><figcaption>{caption}</figcaption></figure>'
