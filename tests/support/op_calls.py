"""Cases, graphs and options, and for each the arguments of every registered op torch.ops.rrnn_ext.*."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

import rrnn_ext  # noqa: F401  (registers torch.ops.rrnn_ext)
from rrnn_ext.ops.finite_walks import Chain
from support.device import DEVICE
from support.random_weights import weights

ALPHA = 0.875


@dataclass(frozen=True)
class Case:
    """One graph or a batch of them, and options. Factors are shared by a batch, or each graph's "own"."""

    n: int = 3
    i: int | None = 2
    o: int | None = 2
    batch: int | None = None
    hops: int = 3
    rectify: bool = False
    per_hop: bool = False
    squared: bool = False
    hop_weights: str | None = None
    pair_weights: str | None = None

    def graph(self, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        rows = () if self.batch is None else (self.batch,)
        given = weights(self.n, self.i, self.o, seed=3, dtype=dtype, batches=(rows, rows, rows))
        return {"weight_in": None, "weight_out": None, **given, "hop_weights": self._hop_weights(dtype)}

    def _hop_weights(self, dtype: torch.dtype) -> Tensor | None:
        if self.hop_weights is None:
            return None
        return self._factors(self.hop_weights, (self.hops,), dtype) - 0.8

    def factors_of_pairs(self, dtype: torch.dtype = torch.float64) -> Tensor | None:
        if self.pair_weights is None:
            return None
        pairs = self.n if self.o is None else self.o, self.n if self.i is None else self.i
        return self._factors(self.pair_weights, pairs, dtype)

    def _factors(self, kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        rows = (self.batch,) if kind == "own" and self.batch is not None else ()
        factors = torch.rand(*rows, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        return factors.to(DEVICE, dtype)

    def options(self) -> dict[str, Any]:
        return {"alpha": ALPHA, "hops": self.hops, "rectify": self.rectify, "per_hop": self.per_hop}


CASES = {
    "plain": Case(),
    "rectified": Case(rectify=True),
    "per_hop": Case(per_hop=True),
    "per_hop_rectified": Case(per_hop=True, rectify=True),
    "squared": Case(squared=True, pair_weights="shared"),
    "more_outputs": Case(i=1, o=4, pair_weights="shared"),
    "more_inputs": Case(i=4, o=1, hop_weights="shared", rectify=True),
    "inputs_alone": Case(o=None, pair_weights="shared"),
    "outputs_alone": Case(i=None, per_hop=True),
    "pathway": Case(i=1, o=1),
    "pathway_rectified": Case(n=5, i=1, o=1, rectify=True, hops=7),
    "pathway_per_hop": Case(i=1, o=1, per_hop=True),
    "pathway_weighted": Case(i=1, o=1, hop_weights="shared"),
    "pathway_batch": Case(i=1, o=1, batch=3, squared=True),
    "one_hop": Case(hops=1),
    "one_hop_pathway": Case(hops=1, i=1, o=1),
    "two_hops": Case(hops=2, rectify=True, squared=True),
    "weighted": Case(hop_weights="shared"),
    "weighted_per_hop": Case(hop_weights="shared", per_hop=True, squared=True),
    "batch": Case(batch=2),
    "batch_shared_factors": Case(batch=2, hop_weights="shared", pair_weights="shared"),
    "batch_own_factors": Case(batch=2, o=3, hop_weights="own", pair_weights="own", per_hop=True),
    "batch_outputs_alone": Case(batch=2, i=None, hop_weights="own", rectify=True),
    "no_units": Case(n=0),
    "no_inputs": Case(i=0, pair_weights="shared"),
    "no_outputs": Case(o=0, per_hop=True),
    "no_sizes": Case(n=0, i=0, o=0),
    "no_graphs": Case(batch=0, hop_weights="own", pair_weights="own"),
}
Arguments: TypeAlias = dict[str, Any]


def op(name: str) -> Any:
    return getattr(torch.ops.rrnn_ext, name).default


def drawn(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(DEVICE, dtype)


def finite_walks(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    sides = case.i, case.o
    may_keep_both = sides == (1, 1) and not case.per_hop and not case.hop_weights
    for kind in (Chain.both if may_keep_both else Chain.narrow, Chain.none):
        yield {**case.graph(dtype), **case.options(), "chain_kind": int(kind)}


def finite_walks_backward(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = {**case.graph(dtype), **case.options()}
    call = next(finite_walks(case, dtype))
    walks, chain = op("finite_walks")(**call)
    yield {"grad_walks": drawn(walks.shape, dtype), "chain": chain, **graph}


def finite_walks_penalty(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    for arguments in finite_walks(case, dtype):
        yield {**arguments, "pair_weights": case.factors_of_pairs(dtype), "norm": int(case.squared)}


def finite_walks_penalty_backward(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = next(finite_walks_penalty(case, dtype))
    value, walks, chain = op("finite_walks_penalty")(**graph)
    del graph["chain_kind"]
    yield {"grad_value": drawn(value.shape, dtype), "walks": walks, "chain": chain, **graph}


def penalty_value_and_grad(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = {**case.graph(dtype), **case.options()}
    yield {"strength": 0.75, **graph, "pair_weights": case.factors_of_pairs(dtype), "norm": int(case.squared)}


def infinite_walks(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = case.graph(dtype)
    a = ALPHA * (graph["weight_hh"].abs() if case.rectify else graph["weight_hh"])
    b = graph["weight_in"] if case.i is not None else a.mT.contiguous()
    alpha = torch.full(a.shape[:-2] if case.hop_weights == "own" else (), ALPHA, dtype=torch.float64, device=DEVICE)
    for series, proved in ((False, False), (True, False), (False, True)):
        options = {"nonnegative": case.rectify, "series": series, "proved": proved}
        yield {"a": a, "b": b, "weights": graph["weight_hh"], "alpha": alpha, **options}


def infinite_walks_of_edges(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    for arguments in infinite_walks(case, dtype):
        yield {name: each for name, each in arguments.items() if name != "b"}


def infinite_pathways(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = {name: case.graph(dtype)[name] for name in ("weight_hh", "weight_in", "weight_out")}
    weight_hh = graph["weight_hh"]
    graph["weight_in"] = weight_hh if case.i is None else graph["weight_in"]
    graph["weight_out"] = weight_hh if case.o is None else graph["weight_out"]
    weight_hh, sources, targets = (each if case.batch is not None else each.unsqueeze(0) for each in graph.values())
    ends = {"sources": sources.clone(), "targets": targets.clone(), "rectify": case.rectify}
    yield {"weight_hh": weight_hh, **ends, "alpha": ALPHA, "given_hh": None, "given_alpha": None}
    given = {"given_hh": ALPHA * weight_hh, "given_alpha": torch.ones((), dtype=torch.float64, device=DEVICE)}
    yield {"weight_hh": given["given_hh"], **ends, "alpha": 1.0, **given}


def product(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    a = case.graph(dtype)["weight_hh"]
    yield {"left": a, "right": drawn(a.shape, dtype)}


def truncated_inverse(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = case.graph(dtype)
    b = graph["weight_in"] if case.i is not None else graph["weight_hh"].mT.contiguous()
    yield {"a": graph["weight_hh"], "b": b, "hops": case.hops}


def finite_pairs(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    yield {"a": case.graph(dtype)["weight_hh"], "hops": case.hops}


def finite_pairs_slope(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    a = case.graph(dtype)["weight_hh"]
    yield {"a": a, "direction": drawn(a.shape, dtype), "hops": case.hops}


def pathway(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    """Of a batch, from one source to one target."""
    weight_hh = case.graph(dtype)["weight_hh"]
    weight_hh = weight_hh if case.batch is not None else weight_hh.unsqueeze(0)
    vectors = torch.linspace(0.5, 1.0, case.n, dtype=dtype, device=DEVICE).expand(weight_hh.shape[:-1])
    yield {"weight_hh": weight_hh, "sources": vectors.contiguous(), "targets": vectors.flip(-1), "alpha": ALPHA}


def pathway_backward(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    solve = next(pathway(case, dtype))
    x, y, found = op("pathway")(**solve)
    yield {"scale": drawn(found.shape, dtype), "weight_hh": solve["weight_hh"], "x": x, "y": y, "alpha": ALPHA}


def all_pairs_penalty(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    weight_hh = case.graph(dtype)["weight_hh"]
    weight_hh = weight_hh if case.batch is not None else weight_hh.unsqueeze(0)
    pairs = weight_hh[0] if case.pair_weights == "shared" else weight_hh if case.pair_weights else None
    pair_weights = None if pairs is None else pairs.abs()
    options = {"alpha": ALPHA, "rectify": case.rectify, "norm": int(case.squared)}
    yield {"weight_hh": weight_hh, "pair_weights": pair_weights, **options}


def all_pairs_penalty_backward(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = next(all_pairs_penalty(case, dtype))
    value, walks, _ = op("all_pairs_penalty")(**graph)
    yield {"grad_value": drawn(value.shape, dtype), "walks": walks, **graph}


def pathway_sum(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = next(pathway(case, dtype))
    given = {"given_hh": ALPHA * graph["weight_hh"], "given_alpha": torch.ones((), dtype=torch.float64, device=DEVICE)}
    yield {**graph, "given_hh": None, "given_alpha": None}
    yield {**graph, "weight_hh": given["given_hh"], "alpha": 1.0, **given}


def all_pairs_norm(case: Case, dtype: torch.dtype) -> Iterator[Arguments]:
    graph = next(all_pairs_penalty(case, dtype))
    given = {"given_hh": ALPHA * graph["weight_hh"], "given_alpha": torch.ones((), dtype=torch.float64, device=DEVICE)}
    yield {**graph, "given_hh": None, "given_alpha": None}
    yield {**graph, "weight_hh": given["given_hh"], "alpha": 1.0, **given}


# The arguments of every op for a case, by the names of its schema.
CALLS: dict[str, Callable[[Case, torch.dtype], Iterator[Arguments]]] = {
    make.__name__: make
    for make in (
        *(finite_walks, finite_walks_backward, finite_walks_penalty, finite_walks_penalty_backward, infinite_walks),
        *(pathway, pathway_backward, pathway_sum, all_pairs_penalty, all_pairs_penalty_backward, all_pairs_norm),
        *(infinite_walks_of_edges, infinite_pathways, product, truncated_inverse, finite_pairs, finite_pairs_slope),
        penalty_value_and_grad,
    )
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def calls(name: str, case: Case, dtype: torch.dtype) -> Iterator[tuple[Any, ...]]:
    """Positional arguments, in the order of the schema; none is left out."""
    order = [argument.name for argument in op(name)._schema.arguments]
    for arguments in CALLS[name](case, dtype):
        assert set(arguments) == set(order)
        yield tuple(arguments[argument] for argument in order)
