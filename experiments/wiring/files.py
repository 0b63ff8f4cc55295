"""Wiring diagrams out of files: tables of connections (.csv), and SciPy's sparse matrices (.npz).

What a table says is checked line by line, and errors say in which line and column something is wrong.
"""

from __future__ import annotations

import zipfile
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from experiments.wiring.connectome import ConnectomeError, Wiring, wiring_of

COLUMNS = ("pre", "post", "weight")
SIGN = "sign"  # 1 or -1, a column that may be there


def read_wiring(path: Path) -> Wiring:
    """A table with the columns pre, post, weight and perhaps sign (.csv), or a matrix of weights [pre, post] (.npz),
    whose cells are called by their numbers.

    Raises:
        ConnectomeError: no such file, of another kind, or wrong; the sentence says where.
    """
    readers = {".csv": _table, ".npz": _matrix}
    if path.suffix not in readers:
        raise ConnectomeError(f"{path} must be a .csv table or a .npz matrix, got {path.suffix or 'no suffix'!r}")
    if not path.is_file():
        raise ConnectomeError(f"{path} is not a file")
    return readers[path.suffix](path)


def read_names(given: str) -> list[str]:
    """Names of cells, parted by commas; or a .txt file with one in each line.

    Raises:
        ConnectomeError: there is no such file.
    """
    path = Path(given)
    if path.suffix == ".txt" and not path.is_file():
        raise ConnectomeError(f"{path} is not a file")
    parts = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".txt" else given.split(",")
    return [part.strip() for part in parts if part.strip()]


def _table(path: Path) -> Wiring:
    header = _header(path)
    table = _read(path, header)
    pre, post = (_cells(table[name], name, path) for name in ("pre", "post"))
    strengths = _numbers(table["weight"], "weight", path)
    if SIGN in header:
        signs = _numbers(table[SIGN], SIGN, path)
        _refuse_first(np.abs(signs) != 1, table[SIGN], SIGN, "1 or -1", path)
        _refuse_first(strengths < 0, table["weight"], "weight", "at least 0 where there is a sign", path)
        strengths = signs * strengths
    names = sorted({*pre.names, *post.names})
    numbers = {name: number for number, name in enumerate(names)}
    start, end = (torch.tensor([numbers[name] for name in cells.names])[cells.codes] for cells in (pre, post))
    return wiring_of(names, start, end, torch.from_numpy(strengths), f"{path.name}. {_signs(strengths)}")


def _header(path: Path) -> list[str]:
    """Those of the columns that are read."""
    try:
        header = list(pd.read_csv(path, nrows=0).columns)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ConnectomeError(f"{path} must be a table with the columns {', '.join(COLUMNS)}: {error}") from error
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ConnectomeError(
            f"{path} must have the columns {', '.join(COLUMNS)}, and may have {SIGN}; {missing[0]} is missing among "
            f"{', '.join(header)}"
        )
    return [name for name in (*COLUMNS, SIGN) if name in header]


def _read(path: Path, header: list[str]) -> pd.DataFrame:
    """Names as categories and numbers as numbers, or all as text if something in the place of a number is none."""
    kinds = {"pre": "category", "post": "category", "weight": "float64", SIGN: "float64"}
    options: dict[str, Any] = {"usecols": header, "keep_default_na": False, "skipinitialspace": True}
    try:
        return pd.read_csv(path, dtype={name: kinds[name] for name in header}, **options)
    except pd.errors.ParserError as error:
        raise ConnectomeError(f"{path}: {error}") from error
    except ValueError:
        return pd.read_csv(path, dtype=str, **options)


class _Cells(NamedTuple):
    """A column of names: row r has names[codes[r]]."""

    names: list[str]
    codes: Tensor


def _cells(column: pd.Series[Any], name: str, path: Path) -> _Cells:
    cells = column.astype("category").cat
    names = [str(one).strip() for one in cells.categories]
    codes = cells.codes.to_numpy().astype(np.int64)
    _refuse_first(np.array([not one for one in names], dtype=bool)[codes], column, name, "the name of a cell", path)
    return _Cells(names, torch.from_numpy(codes))


def _numbers(column: pd.Series[Any], name: str, path: Path) -> NDArray[np.float64]:
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    _refuse_first(~np.isfinite(found), column, name, "a finite number", path)
    return found


def _refuse_first(wrong: NDArray[np.bool_], column: pd.Series[Any], name: str, needed: str, path: Path) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise ConnectomeError(
            f"{path}, line {_line(path, row)}: {name} must be {needed}, got {str(column.iloc[row])!r}"
        )


def _line(path: Path, row: int) -> int:
    """The line of a row; blank lines are no rows, and the first line that is not blank is the header."""
    with path.open(encoding="utf-8") as file:
        filled = (number for number, line in enumerate(file, start=1) if line.strip())
        return next(islice(filled, row + 1, None))


def _matrix(path: Path) -> Wiring:
    try:
        matrix = sparse.load_npz(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ConnectomeError(f"{path} must be a matrix that scipy.sparse.save_npz wrote: {error}") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ConnectomeError(f"{path} must hold a square matrix, [pre, post], got {matrix.shape}")
    if matrix.dtype.kind not in "fiub":
        raise ConnectomeError(f"{path} must hold real numbers, got {matrix.dtype}")
    edges = matrix.tocoo()
    strengths = edges.data.astype(np.float64)
    if not np.isfinite(strengths).all():
        wrong = int((~np.isfinite(strengths)).argmax())
        place = f"[{edges.row[wrong]}, {edges.col[wrong]}]"
        raise ConnectomeError(f"{path}: weights must be finite, got {strengths[wrong]} at {place}")
    pre, post = (torch.from_numpy(index.astype(np.int64)) for index in (edges.row, edges.col))
    names = [str(number) for number in range(matrix.shape[0])]
    return wiring_of(names, pre, post, torch.from_numpy(strengths), f"{path.name}. {_signs(strengths)}")


def _signs(strengths: NDArray[np.float64]) -> str:
    return "Signs are those of the file." if (strengths < 0).any() else "The file has no signs: all connections excite."
