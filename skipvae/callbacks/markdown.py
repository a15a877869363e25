"""Markdown for TensorBoard's text tab."""

from collections.abc import Iterable, Sequence


def plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is.

    Example:
        >>> plain("a|b")
        'a&#124;b'
    """
    return "".join(f"&#{ord(letter)};" if letter in "<>&|*_`#[]\\~" else letter for letter in text) or "(empty)"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain texts.

    Example:
        >>> print(table(["metric", "value"], [["elbo", "-80.0"]]))
        | metric | value |
        |---|---|
        | elbo | -80.0 |
    """
    lines = [header, *([plain(cell) for cell in row] for row in rows)]
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(header), *body])


def code(text: str) -> str:
    """A block of text in which every space counts."""
    return f"~~~~\n{text}\n~~~~"
