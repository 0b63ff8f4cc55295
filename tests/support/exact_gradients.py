"""Gradients of penalties in exact arithmetic, with the bounds of exact_walks.py."""

from __future__ import annotations

from dataclasses import dataclass

from support.exact import Exact, total
from support.exact_walks import Bounded, Graph, added, eps_of, smallest_of

_FACTOR = 4  # of a gradient's bound, over that of its sum


@dataclass(frozen=True)
class Options:
    """Of a penalty: factors of hops and pairs, and its norm."""

    hop_weights: list[float]
    pair_weights: Exact
    per_hop: bool
    squared: bool


def finite_gradients(graph: Graph, hops: int, options: Options) -> dict[str, Bounded]:
    """Of every weight that is there, by the chains forwards and backwards."""
    walks = graph.walks(hops)
    factors = [Exact.of(weight) for weight in options.hop_weights]
    sums = walks if options.per_hop else [added(walks, options.hop_weights)] * hops
    slopes, sizes, kinks = [], [], []  # of the penalty at every P_m
    for factor, walk in zip(factors, sums, strict=True):
        weights = factor * options.pair_weights
        if options.squared:
            slopes.append(weights.times(2) * walk.exact)
            sizes.append(abs(weights).times(2) * (walk.size + walk.bound))
            kinks.append(abs(weights).times(0))
        else:
            slopes.append(weights * walk.exact.sign())
            sizes.append(abs(weights))
            # Of an entry that could be zero, either sign.
            kinks.append(abs(weights).where(abs(walk.exact) <= walk.bound).times(2))

    a, u, v = graph.a, graph.u, graph.v
    positive = abs(a), None if u is None else abs(u), None if v is None else abs(v)
    exact = _pull_back(graph, (a, u, v), slopes)
    size, kink = (_pull_back(graph, positive, each) for each in (sizes, kinks))
    smallest = Exact.full((1, 1), graph.n + 2, smallest_of(graph.dtype))
    raised = [each + Exact.full(each.shape, 1) for each in sizes]
    with_loss = _pull_back(graph, positive, raised, smallest)
    without = _pull_back(graph, positive, raised)
    roundings = _FACTOR * (graph.n + 4) * (hops + 2)
    results = {}
    for place, name in enumerate(("weight_hh", "weight_in", "weight_out")):
        if name not in exact:
            continue
        lost = with_loss[name] - without[name] + Exact.full((1, 1), hops * graph.n + 2, smallest_of(graph.dtype))
        bound = size[name].times(roundings, eps_of(graph.dtype)) + kink[name] + lost
        signs = graph.signs[place]
        results[name] = Bounded(exact[name] if signs is None else exact[name] * signs, bound, size[name])
    return results


def _pull_back(
    graph: Graph, matrices: tuple[Exact, Exact | None, Exact | None], slopes: list[Exact], lost: Exact | None = None
) -> dict[str, Exact]:
    """Gradients of phi(W), phi(U), phi(V) for the slopes at every P_m."""
    a, u, v = matrices
    hops = len(slopes)
    chain = graph.chain(hops, a, u, lost)
    back: list[Exact] = []
    for slope in reversed(slopes):
        arriving = slope if v is None else v.mT @ slope
        if lost is not None:
            arriving = arriving + lost + lost * slope.sum()
        back.append(arriving if not back else arriving + a.mT @ back[-1])
    back.reverse()
    steps = [later @ earlier.mT for later, earlier in zip(back[1:], chain[:-1], strict=True)]
    gradients = {"weight_hh": total(steps) if steps else Exact.full(a.shape)}
    if u is not None:
        gradients["weight_in"] = back[0]
    if v is not None:
        reading = total([slope @ x.mT for slope, x in zip(slopes, chain, strict=True)])
        if graph.between_all:  # the first edge of A^{m+1} is in the place of a read-out
            gradients["weight_hh"] = gradients["weight_hh"] + reading
        else:
            gradients["weight_out"] = reading
    return {name: graph.alpha * gradient for name, gradient in gradients.items()}


def infinite_gradients(graph: Graph, pair_weights: Exact, squared: bool) -> dict[str, Bounded]:
    """Of every weight that is there, by solutions from both ends; by norm, so for sums that are easy."""
    problem = graph.infinite()
    turned = problem.turned
    c, eye = problem.v, Exact.eye(graph.n)
    pair_weights = pair_weights.mT if turned else pair_weights
    walks = problem.sum(series=False)
    error = walks.bound.mT if turned else walks.bound
    result = problem.result
    if squared:
        slope, slope_error = pair_weights.times(2) * result, pair_weights.times(2) * error
    else:
        slope = pair_weights * result.sign()
        slope_error = pair_weights.where(abs(result) <= error).times(2)
    # The chain forwards is the whole of it between all pairs: R = A (I - A)^{-1} has the slope Q' G Q', Q = I + R.
    x = problem.x + eye if graph.between_all else problem.x
    reading = slope if c is None else c.mT @ slope
    adjoint = problem.inverse.mT @ reading
    unit = _FACTOR * 256 * graph.n
    x_error = problem.x_error(abs(problem.x)).times(unit, eps_of(graph.dtype)) + Exact.full(
        (1, 1), graph.n, smallest_of(graph.dtype)
    )
    size = abs(problem.a).mT @ abs(adjoint) + (abs(slope) if c is None else abs(c).mT @ abs(slope))
    adjoint_error = (abs(problem.inverse).mT @ size).times(unit, eps_of(graph.dtype)) + abs(problem.inverse).mT @ (
        slope_error if c is None else abs(c).mT @ slope_error
    )
    adjoint_error = adjoint_error + Exact.full((1, 1), graph.n, smallest_of(graph.dtype))
    parts: dict[str, tuple[Exact, Exact]] = {}
    # By the norm of every column: each entry of the error is at most the sum of its column.
    x_norm, adjoint_norm = x_error.sum(0), adjoint_error.sum(0)
    parts["a"] = adjoint @ x.mT, _outer_error(adjoint, x, adjoint_norm, x_norm)
    parts["b"] = adjoint, Exact.full((graph.n, 1), 1) @ adjoint_norm
    if c is not None:
        parts["c"] = slope @ x.mT, _outer_error(slope, x, slope_error.sum(0), x_norm)
    if turned:
        parts["a"] = parts["a"][0].mT, parts["a"][1].mT
    names = {"weight_hh": "a"}
    if graph.u is not None:
        names["weight_in"] = "c" if turned else "b"
    if graph.v is not None and not graph.between_all:
        names["weight_out"] = "b" if turned else "c"
    results = {}
    for place, name in enumerate(("weight_hh", "weight_in", "weight_out")):
        if name not in names:
            continue
        exact, bound = (graph.alpha * each for each in parts[names[name]])
        if turned and name != "weight_hh":
            exact, bound = exact.mT, bound.mT
        rounding = Exact.full((1, 1), graph.n + 2, smallest_of(graph.dtype))
        signs = graph.signs[place]
        exact = exact if signs is None else exact * signs
        results[name] = Bounded(exact, bound + rounding, abs(exact))
    return results


def _outer_error(left: Exact, right: Exact, left_norm: Exact, right_norm: Exact) -> Exact:
    """Of left right', where the columns of both are known by norm."""
    n_left, n_right = left.shape[0], right.shape[0]
    one = abs(left) @ (Exact.full((n_right, 1), 1) @ right_norm).mT
    other = (Exact.full((n_left, 1), 1) @ left_norm) @ abs(right).mT
    both = (Exact.full((n_left, 1), 1) @ left_norm) @ (Exact.full((n_right, 1), 1) @ right_norm).mT
    return one + other + both
