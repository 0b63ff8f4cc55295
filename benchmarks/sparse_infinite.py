"""``python -m benchmarks.sparse_infinite [--large]``: what the influence of 100 units on all units of a graph takes.

Solutions of (I - 0.99 W / rho) r = s in float64, to a residual of 1e-8 of s, in turn: all sources at once by
``rrnn_ext.sparse.influence``, with rho found and with rho given, which the peers are given too; SciPy's gmres, a source
at a time; SciPy's factorisation, once for all sources; BiCGSTAB of torchsparsegradutils, all sources at once, where it
is installed. Graphs: the larval fly's, where ../shared/data has it, and generated ones whose numbers of inputs, and
whose synapses, are log-normal, 20 inputs a unit, each weight a share of its target's synapses. Some weights are
inhibitory in the signed graphs. ``--large`` adds a graph of the size of the adult fly's, to which no peer is put.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from benchmarks.device import description
from benchmarks.tables import as_table, as_time
from rrnn_ext import resolvent_info
from rrnn_ext.sparse import Pattern, SparseWeight, influence

LARVA = Path(__file__).resolve().parents[2] / "shared" / "data" / "larva_inprop.npz"
SOURCES, SHARE, RESIDUAL = 100, 0.99, 1e-8
ROUNDS, SLOW_S = 12, 1.0
MOST_UNITS_TO_FACTORISE = 5_000  # fill-in of a random graph takes gigabytes beyond


def generated(n: int, inputs: float) -> scipy.sparse.csr_matrix:
    """Rows are targets, and sum to 1."""
    generator = np.random.default_rng(0)
    counts = generator.lognormal(np.log(inputs) - 0.5, 1.0, n).astype(np.int64).clip(1, n)
    rows = np.repeat(np.arange(n), counts)
    synapses = generator.lognormal(0.0, 1.0, len(rows))
    matrix = scipy.sparse.coo_matrix((synapses, (rows, generator.integers(n, size=len(rows)))), (n, n)).tocsr()
    return scipy.sparse.diags(1 / np.asarray(matrix.sum(1)).ravel()) @ matrix


def with_inhibition(matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    signs = np.where(np.random.default_rng(1).random(matrix.shape[0]) < 0.3, -1.0, 1.0)
    return (matrix @ scipy.sparse.diags(signs)).tocsr()


def as_weight(matrix: scipy.sparse.csr_matrix) -> SparseWeight:
    matrix.sort_indices()
    crow, columns = torch.from_numpy(matrix.indptr).long(), torch.from_numpy(matrix.indices).long()
    sparse = torch.sparse_csr_tensor(crow, columns, torch.from_numpy(matrix.data), matrix.shape)
    return Pattern.of(sparse).with_values(sparse.values())


class Problem:
    """A graph, its radius and what is driven."""

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        self.weight, self.units = as_weight(matrix), matrix.shape[0]
        self.sources = torch.arange(min(SOURCES, self.units))
        self.rho = float(resolvent_info(self.weight).spectral_radius)
        self.a = (SHARE / self.rho * matrix).tocsr()
        self.drive = np.eye(self.units, len(self.sources))

    def system(self) -> scipy.sparse.csr_matrix:
        return (scipy.sparse.identity(self.units) - self.a).tocsr()

    def residual(self, scores: np.ndarray[Any, Any]) -> float:
        left = self.drive - (scores - self.a @ scores)
        return float((np.linalg.norm(left, axis=0) / np.linalg.norm(self.drive, axis=0)).max())

    def ours(self, rho: float | None) -> Callable[[], np.ndarray[Any, Any]]:
        return lambda: influence(self.weight, self.sources, spectral_radius=rho, tol=RESIDUAL).numpy()

    def peers(self) -> dict[str, Callable[[], np.ndarray[Any, Any]]]:
        system = self.system()

        def gmres() -> np.ndarray[Any, Any]:
            columns = [scipy.sparse.linalg.gmres(system, each, rtol=RESIDUAL)[0] for each in self.drive.T]
            return np.stack(columns, -1)

        def factorisation() -> np.ndarray[Any, Any]:
            solved: np.ndarray[Any, Any] = scipy.sparse.linalg.splu(system.tocsc()).solve(self.drive)
            return solved

        found: dict[str, Callable[[], np.ndarray[Any, Any]]] = {"SciPy gmres": gmres}
        if self.units <= MOST_UNITS_TO_FACTORISE:
            found["SciPy splu"] = factorisation
        if importlib.util.find_spec("torchsparsegradutils"):
            found["BiCGSTAB"] = self._bicgstab(system)
        return found

    def _bicgstab(self, system: scipy.sparse.csr_matrix) -> Callable[[], np.ndarray[Any, Any]]:
        bicgstab: Any = importlib.import_module("torchsparsegradutils.utils.bicgstab")
        settings = bicgstab.BICGSTABSettings(reltol=RESIDUAL, abstol=0.0)
        values, pointers = torch.from_numpy(system.data), torch.from_numpy(system.indptr)
        matrix = torch.sparse_csr_tensor(pointers, torch.from_numpy(system.indices), values, system.shape)
        drive = torch.from_numpy(self.drive)

        def run() -> np.ndarray[Any, Any]:
            solved: Tensor = bicgstab.bicgstab(matrix, drive, settings=settings)
            return solved.numpy()

        return run


def fastest(contenders: Mapping[str, Callable[[], np.ndarray[Any, Any]]]) -> dict[str, float]:
    """Seconds of the fastest call of each, one call of each in a round; of slow ones there is one round."""
    times = {name: taken(solve) for name, solve in contenders.items()}
    slow = {name for name, first in times.items() if first > SLOW_S}
    for _ in range(ROUNDS):
        for name in contenders.keys() - slow:
            times[name] = min(times[name], taken(contenders[name]))
    return times


def taken(solve: Callable[[], object]) -> float:
    start = time.perf_counter()
    solve()
    return time.perf_counter() - start


def measured(name: str, matrix: scipy.sparse.csr_matrix) -> list[tuple[str, ...]]:
    problem = Problem(matrix)
    contenders = {"influence": problem.ours(None), "influence, rho given": problem.ours(problem.rho), **problem.peers()}
    residuals = {each: problem.residual(solve()) for each, solve in contenders.items()}
    times = fastest(contenders)
    base = times["influence"]
    size = f"{name}, {problem.units} units, {matrix.nnz} edges"
    return [
        (size, each, as_time(times[each]), f"{times[each] / base:.1f}", f"{residuals[each]:.0e}") for each in contenders
    ]


def main(large: bool) -> None:
    warnings.filterwarnings("ignore", "Sparse")
    graphs = {"generated": generated(3_000, 20), "generated, large": generated(30_000, 20)}
    if LARVA.exists():
        graphs = {"larva": scipy.sparse.load_npz(LARVA).T.tocsr().astype(np.float64), **graphs}
    rows = []
    for name, matrix in graphs.items():
        rows += measured(name, matrix)
        rows += measured(f"{name}, signed", with_inhibition(matrix))
    header = "graph", "by", "time", "times ours", "residual"
    print(", ".join(f"{key} {value}" for key, value in description().items()))
    print(as_table(header, rows))
    if large:
        weight, sources = as_weight(generated(139_000, 109)), torch.arange(SOURCES)
        seconds = taken(lambda: influence(weight, sources, tol=RESIDUAL))
        print(f"{weight.shape[0]} units, {weight.pattern.edges} edges: {seconds:.1f} s")


if __name__ == "__main__":
    main("--large" in sys.argv[1:])
