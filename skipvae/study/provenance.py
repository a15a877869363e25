"""Provenance of a run: digests of its code and its data, in which compared runs must agree, and its environment."""

import ast
import hashlib
import importlib.util
import platform
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule

import skipvae
from skipvae.persistence.spec import class_paths

LIBRARIES = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning"}
"""Packages that the environment names by their version."""


def code_digests(config: Any) -> dict[str, str]:
    """Digest of the code of each package that a config takes classes from, comments and docstrings aside.

    Example:
        >>> list(code_digests({"model": {"class_path": "skipvae.VAE", "init_args": {}}}))
        ['skipvae']
    """
    packages = {path.partition(".")[0] for path in class_paths(config)} - LIBRARIES | {"skipvae"}
    return {package: _package_digest(package) for package in sorted(packages)}


@cache
def _package_digest(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return "unknown"
    origin = Path(spec.origin)
    files = origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]
    if package == "skipvae":  # the tables and figures of a study change no run
        files = [file for file in files if file.relative_to(origin.parent).parts[0] != "study"]
    statements = sorted(text for file in files for text in _statements(file.read_text(encoding="utf-8"), package))
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:12]


def _statements(source: str, package: str) -> Iterator[str]:
    """The statements of a Python file, without comments, layout, docstrings and imports from its own package.

    So a definition may move to another file, and the digest stays.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    for statement in tree.body:
        text = ast.unparse(statement)
        if not re.match(rf"(from|import) (\.|{package}\b)", text):
            yield text


def data_digest(data: LightningDataModule) -> str:
    """Digest of the data: of the tensors in its attribute `splits` where it has one, elsewhere of the test batches."""
    digest = hashlib.sha256()
    of_splits = list(_tensors(getattr(data, "splits", None)))
    for tensor in of_splits or (tensor for batch in data.test_dataloader() for tensor in _tensors(batch)):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _tensors(content: Any) -> Iterator[torch.Tensor]:
    """Those in nested tuples, lists and dicts."""
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, (tuple, list, dict)):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _tensors(part)


def environment() -> dict[str, str]:
    """Versions, the commit if there is one, and the hardware."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "skipvae": skipvae.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hardware": gpu or f"{torch.get_num_threads()} CPU threads, {platform.machine()}",
    }


def _commit() -> str:
    """The commit of the working tree that the package lies in, with a + if files have changed since; or nothing."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
