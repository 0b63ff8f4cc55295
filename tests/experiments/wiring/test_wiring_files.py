"""Wiring diagrams out of files: what they mean, and what is wrong with them, by line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from experiments.wiring.connectome import ConnectomeError, Wiring
from experiments.wiring.files import read_names, read_wiring


def table(folder: Path, text: str) -> Path:
    path = folder / "edges.csv"
    path.write_text(text, encoding="utf-8")
    return path


def dense(wiring: Wiring) -> dict[tuple[str, str], float]:
    """The share of each connection by the names of its cells, from and to."""
    rows, columns = wiring.weights.indices().tolist()
    pairs = [(wiring.names[a], wiring.names[b]) for b, a in zip(rows, columns, strict=True)]
    return dict(zip(pairs, wiring.weights.values().tolist(), strict=True))


class TestTables:
    def test_shares_of_the_input_of_a_cell(self, tmp_path: Path) -> None:
        found = read_wiring(table(tmp_path, "pre,post,weight\na,c,3\nb,c,-1\nc,a,0.5\na,b,0\n"))
        assert found.names == ["a", "b", "c"]
        assert dense(found) == {("a", "c"): 0.75, ("b", "c"): -0.25, ("c", "a"): 1.0}
        assert (found.connections, found.inhibitory) == (3, 1)
        assert "Signs are those of the file" in found.about

    def test_signs_in_a_column_other_columns_and_blank_lines(self, tmp_path: Path) -> None:
        found = read_wiring(table(tmp_path, "\nsign,note,post,pre,weight\n-1,x,c, a,3\n\n1,y,c,b ,1\n\n"))
        assert dense(found) == {("a", "c"): -0.75, ("b", "c"): 0.25}

    def test_what_stands_twice_is_one_connection(self, tmp_path: Path) -> None:
        found = read_wiring(table(tmp_path, "pre,post,weight\n10,9,1\n10,9,1\nNA,9,2\n"))
        assert found.names == ["10", "9", "NA"]
        assert dense(found) == {("10", "9"): 0.5, ("NA", "9"): 0.5}
        assert "no signs" in found.about

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("from,to,weight\na,b,1\n", "must have the columns pre, post, weight, and may have sign; pre is missing"),
            ("", "must be a table with the columns pre, post, weight"),
            ("pre,post,weight\na,b,1\n\na,c,many\n", "line 4: weight must be a finite number, got 'many'"),
            ("pre,post,weight\na,b,\n", "line 2: weight must be a finite number, got ''"),
            ("pre,post,weight\na,b,1\na,c,inf\n", "line 3: weight must be a finite number, got 'inf'"),
            ("pre,post,weight\na,b,1\n,c,1\n", "line 3: pre must be the name of a cell, got ''"),
            ("pre,post,weight\na, ,1\n", "line 2: post must be the name of a cell"),
            ("pre,post,weight,sign\na,b,1,1\na,c,1,0\n", "line 3: sign must be 1 or -1, got '0.0'"),
            ("pre,post,weight,sign\na,b,1,+\n", r"line 2: sign must be a finite number, got '\+'"),
            ("pre,post,weight,sign\na,b,-2,1\n", "line 2: weight must be at least 0 where there is a sign, got '-2.0'"),
        ],
    )
    def test_what_is_wrong_is_told_by_line_and_column(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ConnectomeError, match=rf"edges\.csv.*{message}"):
            read_wiring(table(tmp_path, text))


class TestMatrices:
    @pytest.mark.parametrize("kind", [sparse.coo_array, sparse.csr_matrix, sparse.csc_array])
    def test_rows_are_before_the_synapse(self, tmp_path: Path, kind: type) -> None:
        weights = np.array([[0, 3, 0], [0, 0, 2], [0, -1, 0]], dtype=np.int16)
        sparse.save_npz(tmp_path / "w.npz", kind(weights))
        found = read_wiring(tmp_path / "w.npz")
        assert dense(found) == {("0", "1"): 0.75, ("2", "1"): -0.25, ("1", "2"): 1.0}

    def test_what_is_no_matrix_of_cells(self, tmp_path: Path) -> None:
        path = tmp_path / "w.npz"
        sparse.save_npz(path, sparse.coo_array(np.ones((2, 3))))
        with pytest.raises(ConnectomeError, match=r"square matrix, \[pre, post\], got \(2, 3\)"):
            read_wiring(path)
        sparse.save_npz(path, sparse.coo_array(np.array([[0, np.nan], [1, 0]])))
        with pytest.raises(ConnectomeError, match=r"weights must be finite, got nan at \[0, 1\]"):
            read_wiring(path)
        sparse.save_npz(path, sparse.coo_array(np.eye(2) * 1j))
        with pytest.raises(ConnectomeError, match="real numbers, got complex128"):
            read_wiring(path)
        for wrong in (b"no zip", None):
            np.savez(path, weights=np.eye(2)) if wrong is None else path.write_bytes(wrong)
            with pytest.raises(ConnectomeError, match=r"a matrix that scipy\.sparse\.save_npz wrote"):
                read_wiring(path)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(ConnectomeError, match=r"must be a \.csv table or a \.npz matrix, got '\.xlsx'"):
        read_wiring(tmp_path / "edges.xlsx")
    with pytest.raises(ConnectomeError, match=r"edges\.csv is not a file"):
        read_wiring(tmp_path / "edges.csv")


def test_names(tmp_path: Path) -> None:
    (tmp_path / "sources.txt").write_text("AVAL\n\n AVAR \n")
    assert read_names(str(tmp_path / "sources.txt")) == ["AVAL", "AVAR"]
    assert read_names("AVAL, AVAR,") == ["AVAL", "AVAR"]
    with pytest.raises(ConnectomeError, match=r"targets\.txt is not a file"):
        read_names(str(tmp_path / "targets.txt"))
    wiring = read_wiring(table(tmp_path, "pre,post,weight\na,b,1\n"))
    assert torch.equal(wiring.numbers_of(["b", "a", "b"], "--sources"), torch.tensor([0, 1]))
    with pytest.raises(ConnectomeError, match="--sources: no cell 'x' and 1 more among the 2 of the wiring diagram"):
        wiring.numbers_of(["x", "a", "y"], "--sources")
    with pytest.raises(ConnectomeError, match="--targets must name at least one cell, got none"):
        wiring.numbers_of([], "--targets")
