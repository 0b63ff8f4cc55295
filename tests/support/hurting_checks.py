"""What has to hold of one case: a result within its bound of exact arithmetic, or an error that is justified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import rrnn_ext
from rrnn_ext.infinite import deferred
from support.device import DEVICE
from support.exact import Exact
from support.exact_gradients import Options, finite_gradients, infinite_gradients
from support.exact_walks import SERIES_HOPS, Bounded, Graph, added, norm_of
from support.hurting_matrices import Weights


def outcome(function: Callable[..., Tensor], case: Weights, **options: Any) -> Tensor | Exception:
    """A result, or one of the two errors that tell why there is none; those of a GPU come later."""
    try:
        result = function(**case.given(), **options)
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
            deferred.raise_noted(torch.device("cuda", torch.cuda.current_device()))
    except (rrnn_ext.ResolventDivergenceError, rrnn_ext.ResolventConditionError) as error:
        return error
    return result


def exact_pair_weights(pair_weights: Tensor | None, graph: Graph) -> Exact:
    return Exact.full((graph.outputs, graph.inputs), 1) if pair_weights is None else Exact.of(pair_weights)


def check_finite(
    case: Weights,
    rectify: bool,
    hops: int,
    hop_weights: Tensor | None,
    pair_weights: Tensor | None,
    method: str,
) -> None:
    """Everything there is of one finite sum. What overflows on the way may do so on a GPU."""
    graph = Graph(case, rectify)
    if DEVICE.type == "cuda" and not graph.stays_within(hops):
        return
    factors = [1.0] * hops if hop_weights is None else hop_weights.tolist()
    pairs = exact_pair_weights(pair_weights, graph)
    terms = graph.walks(hops)
    plain: dict[str, Any] = {"hops": hops, "rectify": rectify}
    if method == "series":
        decomposed = rrnn_ext.hop_decomposition(**case.given(), **plain)
        for m in {0, hops // 3, hops // 2, hops - 1}:
            terms[m].check(f"hop {m}", decomposed[m])
    plain |= {"method": method}
    weighted = plain if hop_weights is None else {**plain, "hop_weights": hop_weights}
    total = graph.closed_form(hops) if method == "inverse" else added(terms, factors)

    def check(what: str, function: Callable[..., Tensor], expected: Bounded, options: dict[str, Any]) -> None:
        result = outcome(function, case, **options)
        if isinstance(result, Tensor):
            expected.check(what, result)
        elif method != "inverse" or (is_easy(graph, method) and graph.infinite().is_tame()):
            raise AssertionError(f"{what}: a number was due, got {result!r}")
        else:
            assert isinstance(result, rrnn_ext.ResolventConditionError)

    check("resolvent", rrnn_ext.resolvent, total, weighted)
    for norm in ("l1", "l2"):
        squared = norm == "l2"
        expected = norm_of(total, pairs, squared, graph.dtype)
        options = {**weighted, "norm": norm, "pair_weights": pair_weights}
        check(norm, rrnn_ext.resolvent_penalty, expected, options)
        if method != "inverse":
            by_hop = added([norm_of(term, pairs, squared, graph.dtype) for term in terms], factors)
            check(f"{norm} per hop", rrnn_ext.resolvent_penalty, by_hop, {**options, "per_hop": True})


def check_infinite(case: Weights, rectify: bool, pair_weights: Tensor | None, method: str) -> None:
    """Everything there is of one infinite sum. A GPU does not look at the condition."""
    graph = Graph(case, rectify)
    plain: dict[str, Any] = {"hops": None, "rectify": rectify, "method": method}
    calls: list[tuple[str, Callable[..., Tensor], dict[str, Any]]] = [("resolvent", rrnn_ext.resolvent, plain)]
    for norm in ("l1", "l2"):
        options = {**plain, "norm": norm, "pair_weights": pair_weights}
        calls.append((norm, rrnn_ext.resolvent_penalty, options))
    results = [(what, outcome(function, case, **options)) for what, function, options in calls]
    if not graph.converges():
        for what, result in results:
            assert isinstance(result, rrnn_ext.ResolventDivergenceError), f"{what} of a diverging sum: {result!r}"
        return
    if DEVICE.type == "cuda" and not is_easy(graph, method):
        return
    problem, series = graph.infinite(), method == "series"
    pairs = exact_pair_weights(pair_weights, graph)
    for what, result in results:
        if isinstance(result, Tensor):
            expected = (
                problem.sum(series) if what == "resolvent" else problem.norm(pairs, squared=what == "l2", series=series)
            )
            expected.check(what, result)
        else:
            assert not is_easy(graph, method), f"{what}: a number was due, got {result!r}"


def check_batch(cases: list[Weights], hops: int | None, method: str) -> None:
    """Graphs of the same sizes and alpha at once: none is the worse for what the others are."""
    graphs = [Graph(case, rectify=False) for case in cases]
    stacked = {
        name: None if getattr(cases[0], name) is None else torch.stack([getattr(case, name) for case in cases])
        for name in ("weight_hh", "weight_in", "weight_out")
    }
    batch = Weights(**stacked, alpha=cases[0].alpha)  # type: ignore[arg-type]
    result = outcome(rrnn_ext.resolvent, batch, hops=hops, method=method)
    if hops is not None and method != "inverse":
        assert isinstance(result, Tensor), f"a number was due, got {result!r}"
        for graph, own in zip(graphs, result, strict=True):
            added(graph.walks(hops), [1.0] * hops).check("of a batch", own)
        return
    if hops is None and not all(graph.converges() for graph in graphs):
        assert isinstance(result, rrnn_ext.ResolventDivergenceError), f"a diverging sum in a batch: {result!r}"
        return
    if not isinstance(result, Tensor):
        easy = all(is_easy(graph, method) and (hops is None or graph.infinite().is_tame()) for graph in graphs)
        assert not easy, f"a number was due, got {result!r}"
        return
    for graph, own in zip(graphs, result, strict=True):
        expected = graph.infinite().sum(method == "series") if hops is None else graph.closed_form(hops)
        expected.check("of a batch", own)


def is_easy(graph: Graph, method: str) -> bool:
    """Whether an infinite sum has to be a number."""
    if not graph.clearly_converges():
        return False
    problem = graph.infinite()
    return problem.is_easy() and (method != "series" or problem.sizes_of_terms(SERIES_HOPS) is not None)


def gradients_of(case: Weights, **options: Any) -> dict[str, Tensor] | Exception:
    leaves = {
        name: value.detach().clone().requires_grad_() if isinstance(value, Tensor) else value
        for name, value in case.given().items()
    }
    fresh = Weights(**leaves)  # type: ignore[arg-type]
    value = outcome(rrnn_ext.resolvent_penalty, fresh, **options)
    if isinstance(value, Exception):
        return value
    inputs = {name: leaf for name, leaf in leaves.items() if isinstance(leaf, Tensor)}
    gradients = torch.autograd.grad(value, list(inputs.values()), materialize_grads=True)
    return dict(zip(inputs, gradients, strict=True))


def check_finite_gradients(
    case: Weights,
    rectify: bool,
    hops: int,
    hop_weights: Tensor | None,
    pair_weights: Tensor | None,
    per_hop: bool,
    squared: bool,
) -> None:
    graph = Graph(case, rectify)
    if DEVICE.type == "cuda" and not graph.stays_within(hops):
        return
    factors = [1.0] * hops if hop_weights is None else hop_weights.tolist()
    actual = gradients_of(
        case,
        hops=hops,
        rectify=rectify,
        per_hop=per_hop,
        norm="l2" if squared else "l1",
        hop_weights=hop_weights,
        pair_weights=pair_weights,
    )
    assert isinstance(actual, dict), f"a number was due, got {actual!r}"
    options = Options(factors, exact_pair_weights(pair_weights, graph), per_hop, squared)
    for name, expected in finite_gradients(graph, hops, options).items():
        expected.check(f"gradient of {name}", actual[name])


def check_infinite_gradients(
    case: Weights, rectify: bool, pair_weights: Tensor | None, squared: bool, method: str
) -> None:
    """Of sums that are easy."""
    graph = Graph(case, rectify)
    if not is_easy(graph, method):
        return
    options = {"norm": "l2" if squared else "l1", "pair_weights": pair_weights, "method": method}
    actual = gradients_of(case, hops=None, rectify=rectify, **options)
    assert isinstance(actual, dict), f"a number was due, got {actual!r}"
    for name, expected in infinite_gradients(graph, exact_pair_weights(pair_weights, graph), squared).items():
        expected.check(f"gradient of {name}", actual[name])
