"""The registered ops torch.ops.rrnn_ext.* and the autograd functions of rrnn_ext.ops, below the public functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.random_weights import weights
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import rrnn_ext  # noqa: F401  (registers torch.ops.rrnn_ext)
from rrnn_ext._options import Norm
from rrnn_ext.ops.finite_walks import Chain, PenaltyArguments, WalkArguments, walk_sums
from rrnn_ext.ops.penalty_value_and_grad import walk_penalty

ALPHA = 0.875
DTYPES = (torch.float32, torch.float64)


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
# Those that also go through the compiler's front end, which takes a while.
COMPILED = ("rectified", "inputs_alone", "outputs_alone", "pathway", "batch_own_factors", "no_units", "no_graphs")

Arguments = dict[str, Any]


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

every_op = pytest.mark.parametrize("name", CALLS)
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def calls(name: str, case: Case, dtype: torch.dtype) -> Iterator[tuple[Any, ...]]:
    """Positional arguments, in the order of the schema; none is left out."""
    order = [argument.name for argument in op(name)._schema.arguments]
    for arguments in CALLS[name](case, dtype):
        assert set(arguments) == set(order)
        yield tuple(arguments[argument] for argument in order)


def outputs(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def test_every_registered_op_is_tested() -> None:
    registered = {
        name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("rrnn_ext::")
    }
    # Families with a file of tests of their own, and an op that changes its arguments.
    elsewhere = "lif", "hop", "driven_walks", "sparse", "penalty_value_and_grad_accumulate"
    assert {name for name in registered if not name.startswith(elsewhere)} == set(CALLS)


@every_op
@pytest.mark.emulated
class TestEveryOp:
    @every_case
    def test_schema_and_fake_kernel(self, name: str, case: Case) -> None:
        for dtype in DTYPES:
            for arguments in calls(name, case, dtype):
                torch.library.opcheck(op(name), arguments, test_utils=("test_schema", "test_faketensor"))

    @pytest.mark.parametrize("case", [CASES[which] for which in COMPILED], ids=COMPILED)
    def test_opcheck(self, name: str, case: Case) -> None:
        """Everything that opcheck looks at, with static and dynamic shapes."""
        checks = ("test_autograd_registration", "test_aot_dispatch_static", "test_aot_dispatch_dynamic")
        torch.library.opcheck(op(name), next(calls(name, case, torch.float64)), test_utils=checks)

    @every_case
    def test_any_layout_gives_the_same_numbers(self, name: str, case: Case) -> None:
        for arguments in calls(name, case, torch.float32):
            for position, argument in enumerate(arguments):
                if not isinstance(argument, Tensor):
                    continue
                for view in layouts(argument):
                    viewed, copied = list(arguments), list(arguments)
                    viewed[position], copied[position] = view, view.clone(memory_format=torch.contiguous_format)
                    for actual, expected in zip(outputs(op(name)(*viewed)), outputs(op(name)(*copied)), strict=True):
                        assert torch.equal(actual, expected)

    @every_case
    def test_arguments_are_left_alone(self, name: str, case: Case) -> None:
        for arguments in calls(name, case, torch.float64):
            before = [each.clone() if isinstance(each, Tensor) else each for each in arguments]
            op(name)(*arguments)
            for one, other in zip(before, arguments, strict=True):
                assert torch.equal(one, other) if isinstance(one, Tensor) else one is other

    def test_results_are_the_callers_own(self, name: str) -> None:
        """Two calls share no memory with one another, nor with their arguments."""
        (arguments, *_) = calls(name, CASES["batch"], torch.float64)
        first, second = outputs(op(name)(*arguments)), outputs(op(name)(*arguments))
        tensors = [*first, *second, *(each for each in arguments if isinstance(each, Tensor))]
        starts = [tensor.data_ptr() for tensor in tensors if tensor.numel()]
        assert len(set(starts)) == len(starts)


def layouts(tensor: Tensor) -> Iterator[Tensor]:
    """Views of the same shape that are not dense in row-major order; the same numbers, but for the expanded one."""
    wide = tensor.new_full([2 * size + 1 for size in tensor.shape], float("nan"))
    sliced = wide[tuple(slice(1, None, 2) for _ in tensor.shape)]
    yield sliced.copy_(tensor)
    yield torch._neg_view(-tensor)
    if tensor.dim() > 1:
        yield tensor.mT.contiguous().mT
    if tensor.dim() and tensor.shape[0] > 1:
        yield tensor[:1].expand_as(tensor)


GRAPH: list[tuple[dict[str, Any], str]] = [
    ({"weight_hh": torch.ones(3, 3).half()}, "weight_hh must be float32 or float64"),
    ({"weight_hh": torch.ones(3, 3).long()}, "weight_hh must be float32 or float64"),
    ({"weight_hh": torch.ones(3)}, "weight_hh must be (n, n) or (batch, n, n), got (3,)"),
    ({"weight_hh": torch.ones(2, 2, 3, 3)}, "weight_hh must be (n, n) or (batch, n, n), got (2, 2, 3, 3)"),
    ({"weight_hh": torch.ones(2, 3)}, "weight_hh must be (3, 3), got (2, 3)"),
    ({"weight_hh": torch.ones(2, 2, 3)}, "weight_hh must be (2, 3, 3), got (2, 2, 3)"),
    ({"weight_hh": torch.ones(2, 3, 3)}, "weight_in must be (2, 3, *), got (3, 2)"),
    ({"weight_in": torch.ones(2, 3, 2)}, "weight_in must be (3, *), got (2, 3, 2)"),
    ({"weight_in": torch.ones(2, 3)}, "weight_in must be (3, *), got (2, 3)"),
    ({"weight_in": torch.ones(3)}, "weight_in must be (3, *), got (3,)"),
    ({"weight_in": torch.ones(3, 2).double()}, "weight_in must have the dtype of weight_hh"),
    ({"weight_out": torch.ones(2, 2)}, "weight_out must be (*, 3), got (2, 2)"),
    ({"weight_out": torch.ones(2, 3).bfloat16()}, "weight_out must have the dtype of weight_hh"),
    ({"weight_in": None, "weight_out": None}, "weight_in or weight_out must be given"),
    ({"hops": 0}, "hops must be at least 1, got 0"),
    ({"hops": -(2**63)}, "hops must be at least 1, got -9223372036854775808"),
    ({"hop_weights": torch.ones(2)}, "got (2,)"),
    ({"hop_weights": torch.ones(4)}, "got (4,)"),
    ({"hop_weights": torch.ones(1, 3)}, "got (1, 3)"),
    ({"hop_weights": torch.tensor(1.0)}, "got ()"),
    ({"hop_weights": torch.ones(3).double()}, "hop_weights must have the dtype of weight_hh"),
]
PAIRS: list[tuple[dict[str, Any], str]] = [
    ({"pair_weights": torch.ones(3, 2)}, "pair_weights must be (2, 2), got (3, 2)"),
    ({"pair_weights": torch.ones(1, 2, 2)}, "pair_weights must be (2, 2), got (1, 2, 2)"),
    ({"pair_weights": torch.tensor(1.0)}, "pair_weights must be (2, 2), got ()"),
    ({"pair_weights": torch.ones(2, 2).double()}, "pair_weights must have the dtype of weight_hh"),
]
KIND: list[tuple[dict[str, Any], str]] = [
    ({"chain_kind": 3}, "chain_kind must be 0 (none), 1 (narrow) or 2 (both), got 3"),
    ({"chain_kind": 2, "weight_in": None}, "chain_kind 2 (both) needs weight_in and weight_out, and a sum"),
    ({"chain_kind": 2, "per_hop": True}, "chain_kind 2 (both) needs weight_in and weight_out, and a sum"),
]
NORM: list[tuple[dict[str, Any], str]] = [({"norm": 2}, "norm must be a number from 0 (l1) to 1, got 2")]
CHAIN: list[tuple[dict[str, Any], str]] = [
    ({"chain": torch.ones(0)}, "chain must be (3, width, 3) as the forward op keeps it, got (0,)"),
    ({"chain": torch.ones(3, 1, 3)}, "chain must be (3, width, 3) as the forward op keeps it, got (3, 1, 3)"),
    ({"chain": torch.ones(3, 2, 3).half()}, "chain must have the dtype of weight_hh"),
    ({"hops": 4}, "chain must be (4, width, 3) as the forward op keeps it, got (3, 2, 3)"),
]
BATCH: list[tuple[dict[str, Any], str]] = [
    ({"weight_hh": torch.ones(1, 3, 3).half()}, "weight_hh must be float32 or float64"),
    ({"weight_hh": torch.ones(3, 3)}, "weight_hh must be (batch, n, n), got (3, 3)"),
    ({"weight_hh": torch.ones(1, 2, 3)}, "weight_hh must be (1, 3, 3), got (1, 2, 3)"),
]
ALL_PAIRS: list[tuple[dict[str, Any], str]] = [
    ({"pair_weights": torch.ones(2, 3)}, "pair_weights must be (3, 3), got (2, 3)"),
    ({"pair_weights": torch.ones(2, 3, 3)}, "pair_weights must be (1, 3, 3), got (2, 3, 3)"),
    ({"pair_weights": torch.ones(3, 3).double()}, "pair_weights must have the dtype of weight_hh"),
]
WRONG = {
    "finite_walks": [*GRAPH, *KIND],
    "finite_walks_penalty": [*GRAPH, *KIND, *PAIRS, *NORM],
    "penalty_value_and_grad": [*GRAPH, *PAIRS, *NORM],
    "finite_walks_backward": [
        *GRAPH,
        *CHAIN,
        ({"grad_walks": torch.ones(1, 2, 3)}, "grad_walks must have the shape of walks, got (1, 2, 3)"),
        ({"grad_walks": torch.ones(0)}, "grad_walks must have the shape of walks, got (0,)"),
        ({"grad_walks": torch.ones(1, 2, 2).half()}, "grad_walks must have the dtype of weight_hh"),
    ],
    "finite_walks_penalty_backward": [
        *GRAPH,
        *PAIRS,
        *CHAIN,
        ({"grad_value": torch.ones(2)}, "grad_value must have one element a graph, got (2,)"),
        ({"grad_value": torch.ones(0)}, "grad_value must have one element a graph, got (0,)"),
        ({"grad_value": torch.tensor(1.0).half()}, "grad_value must have the dtype of weight_hh"),
        ({"walks": torch.ones(3, 2, 2)}, "walks must come from the forward op, got (3, 2, 2)"),
        ({"walks": torch.ones(1, 2, 2).half()}, "walks must have the dtype of weight_hh"),
    ],
    "pathway": [
        *BATCH,
        ({"sources": torch.ones(1, 2)}, "sources must be (1, 3), got (1, 2)"),
        ({"targets": torch.ones(3)}, "targets must be (1, 3), got (3,)"),
        ({"targets": torch.ones(1, 3).double()}, "targets must have the dtype of weight_hh"),
    ],
    "pathway_backward": [
        *BATCH,
        ({"x": torch.ones(2, 3)}, "x must be (1, 3), got (2, 3)"),
        ({"y": torch.ones(1, 3).double()}, "y must have the dtype of weight_hh"),
        ({"scale": torch.ones(2)}, "scale must have one element a graph, got (2,)"),
        ({"scale": torch.ones(1).half()}, "scale must have the dtype of weight_hh"),
    ],
    "all_pairs_penalty": [*BATCH, *ALL_PAIRS, *NORM],
    "all_pairs_penalty_backward": [
        *BATCH,
        *ALL_PAIRS,
        ({"walks": torch.ones(1, 3, 2)}, "walks must be (1, 3, 3), got (1, 3, 2)"),
        ({"walks": torch.ones(1, 3, 3).double()}, "walks must have the dtype of weight_hh"),
        ({"grad_value": torch.ones(0)}, "grad_value must have one element a graph, got (0,)"),
        ({"grad_value": torch.ones(1).half()}, "grad_value must have the dtype of weight_hh"),
    ],
}


def on_device(change: dict[str, Any]) -> dict[str, Any]:
    return {name: each.to(DEVICE) if isinstance(each, Tensor) else each for name, each in change.items()}


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("name", "change", "text"),
    [(name, change, text) for name, changes in WRONG.items() for change, text in changes],
)
def test_wrong_arguments_are_errors(name: str, change: dict[str, Any], text: str) -> None:
    arguments = next(CALLS[name](CASES["plain"], torch.float32))
    with pytest.raises(RuntimeError, match=re.escape(text)):
        op(name)(**{**arguments, **on_device(change)})


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"weight_in": torch.ones(3, 3, 2)}, "weight_in must be (2, 3, *), got (3, 3, 2)"),
        ({"weight_out": torch.ones(2, 3)}, "weight_out must be (2, *, 3), got (2, 3)"),
        ({"hop_weights": torch.ones(3, 3)}, "hop_weights must be (2, 3) or (3,), got (3, 3)"),
        ({"hop_weights": torch.ones(2, 4)}, "hop_weights must be (2, 3) or (3,), got (2, 4)"),
        ({"pair_weights": torch.ones(3, 2, 2)}, "pair_weights must be (2, 2, 2), got (3, 2, 2)"),
    ],
)
def test_wrong_batches_are_errors(change: dict[str, Any], text: str) -> None:
    arguments = next(finite_walks_penalty(CASES["batch"], torch.float32))
    with pytest.raises(RuntimeError, match=re.escape(text)):
        op("finite_walks_penalty")(**{**arguments, **on_device(change)})


def test_more_memory_than_there_is_is_an_error() -> None:
    arguments = next(finite_walks(CASES["plain"], torch.float32))
    with pytest.raises(RuntimeError):
        op("finite_walks")(**{**arguments, "hops": 2**50})


def leaves(case: Case) -> tuple[list[Tensor], Callable[..., Any]]:
    """The given weights as leaves, and the function that puts them back in their places."""
    graph = case.graph()
    names = ("weight_hh", "weight_in", "weight_out")
    present = [name for name in names if graph[name] is not None]

    def in_place(*given: Tensor) -> Any:
        by_name = dict(zip(present, given, strict=True))
        return tuple(by_name.get(name) for name in names)

    return [graph[name].requires_grad_() for name in present], in_place


def sums_of(case: Case) -> tuple[Callable[..., Tensor], list[Tensor]]:
    given, in_place = leaves(case)
    options = {"hop_weights": case.graph()["hop_weights"], **case.options()}
    return lambda *matrices: walk_sums(WalkArguments(*in_place(*matrices), **options)), given


def penalty_of(case: Case, function: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], list[Tensor]]:
    given, in_place = leaves(case)
    factors = {"hop_weights": case.graph()["hop_weights"], "pair_weights": case.factors_of_pairs()}
    options = {**factors, **case.options(), "norm": Norm(case.squared)}
    return lambda *matrices: function(PenaltyArguments(*in_place(*matrices), **options)), given


def of_the_dispatcher(penalty: PenaltyArguments) -> Tensor:
    return op("finite_walks_penalty")(*penalty, Chain.narrow)[0]


def norm_of_walks(penalty: PenaltyArguments) -> Tensor:
    """In PyTorch's own operations, whose derivatives are PyTorch's, but for those of the walks."""
    hop_weights, pair_weights, per_hop = penalty.hop_weights, penalty.pair_weights, penalty.per_hop
    sums = WalkArguments(*penalty[:4], *penalty[5:9])
    walks = walk_sums(sums._replace(hop_weights=None) if per_hop else sums)
    sizes = walks.square() if penalty.norm == Norm.l2 else walks.abs()
    by_term = (sizes if pair_weights is None else pair_weights.unsqueeze(-3) * sizes).sum((-2, -1))
    return (by_term if hop_weights is None or not per_hop else hop_weights * by_term).sum(-1)


@every_case
class TestDerivatives:
    def test_walk_sums(self, case: Case) -> None:
        function, given = sums_of(case)
        assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(function, given, check_fwd_over_rev=True)

    def test_walk_penalty(self, case: Case) -> None:
        function, given = penalty_of(case, walk_penalty)
        assert gradcheck(function, given, check_forward_ad=True, check_batched_grad=True)
        assert gradgradcheck(function, given, check_fwd_over_rev=True)

    @pytest.mark.emulated
    def test_light_path_is_the_general_one(self, case: Case) -> None:
        """The penalty in eager mode, where the dispatcher and transforms find it, and as the norm of the walks: the
        value, first and second derivatives."""
        results = []
        for path in (walk_penalty, of_the_dispatcher, norm_of_walks):
            function, given = penalty_of(case, path)
            value = function(*given)
            upstream = torch.linspace(0.5, 2.0, value.numel(), dtype=value.dtype, device=DEVICE)
            upstream = upstream.reshape(value.shape).requires_grad_()
            first = torch.autograd.grad(value, given, upstream, create_graph=True)
            directions = [torch.cos(torch.arange(g.numel()).to(g)).reshape(g.shape) for g in first]
            second = torch.autograd.grad(first, [*given, upstream], directions, materialize_grads=True)
            results.append([value.detach(), *(g.detach() for g in first), *second])
        for light, *others in zip(*results, strict=True):
            for general in others:
                torch.testing.assert_close(light, general, rtol=1e-12, atol=1e-14)

    @pytest.mark.emulated
    def test_light_path_without_gradients(self, case: Case) -> None:
        function, given = penalty_of(case, walk_penalty)
        with_gradients = function(*given)
        with torch.no_grad():
            value = function(*given)
        assert with_gradients.requires_grad
        assert not value.requires_grad
        torch.testing.assert_close(value, with_gradients.detach(), rtol=1e-14, atol=0.0)

    def test_gradients_of_some_weights_alone(self, case: Case) -> None:
        """The light path gives what is wanted, at first and at second order, whichever weights are leaves."""
        function, given = penalty_of(case, walk_penalty)
        everything = torch.autograd.grad(function(*given).sum(), given)
        for position, full in enumerate(everything):
            some = [leaf.detach().requires_grad_(at == position) for at, leaf in enumerate(given)]
            (alone,) = torch.autograd.grad(function(*some).sum(), some[position])
            assert torch.equal(alone, full)
            (twice,) = torch.autograd.grad(function(*some).sum(), some[position], create_graph=True)
            torch.testing.assert_close(twice.detach(), full, rtol=1e-12, atol=1e-14)
