"""The configs that come with the package, for those who work outside a clone."""

from pathlib import Path

from pytorch_lightning.utilities import rank_zero_info

FOLDER = "configs"
PACKAGE = Path(__file__).parents[1]


def own_or_packaged(path: Path) -> Path:
    """A config file, or, where there is none in the working folder, that of the same name in the package.

    Example:
        >>> own_or_packaged(Path("no/such/file.yaml")).as_posix()
        'no/such/file.yaml'
    """
    if path.exists() or path.is_absolute():
        return path
    name = path.relative_to(FOLDER) if path.parts[:1] == (FOLDER,) else path
    for folder in (PACKAGE / FOLDER, PACKAGE.parent / FOLDER):  # of an installed package, and of a clone
        if (folder / name).is_file():
            rank_zero_info(f"there is no {path} here: taking {folder / name}")
            return folder / name
    return path
