"""The resolvent of a recurrent network's weights, its hops and its penalty."""

from __future__ import annotations

from torch import Tensor

from rrnn_ext import _arguments, _finite
from rrnn_ext._modes import transforming, without_autocast
from rrnn_ext.ops._matrices import pair_norm
from rrnn_ext.ops.all_pairs import all_pairs_penalty
from rrnn_ext.ops.finite_walks import walk_penalty
from rrnn_ext.ops.infinite_walks import resolvent_sum
from rrnn_ext.ops.pathway import pathway_sum

_METHODS = ("auto", "series", "inverse")


def resolvent_penalty(
    weight_hh: Tensor,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
    per_hop: bool = False,
    norm: str = "l1",
    hop_weights: Tensor | None = None,
    pair_weights: Tensor | None = None,
    method: str = "auto",
    reduction: str = "sum",
) -> Tensor:
    """The size of the walks from inputs to outputs, ``||sum_m P_m||``, or ``sum_m ||P_m||`` with ``per_hop``.

    ``P_m = alpha^e phi(V) (alpha phi(W))^m phi(U)`` are the walks through the recurrent weight W = ``weight_hh`` that
    pass it m times, m < hops, with U = ``weight_in`` and V = ``weight_out``; e counts the given ones of U and V.
    Differentiable in W, U, V and alpha, at any order, in reverse and in forward mode.

    ::

        rnn, readout = torch.nn.RNN(16, 64), torch.nn.Linear(64, 8)
        penalty = rrnn_ext.resolvent_penalty(rnn.weight_hh_l0, rnn.weight_ih_l0, readout.weight, hops=20, alpha=0.9)

    Args:
        weight_hh: (..., n, n), column = source, row = target, as in nn.RNN. float16 and bfloat16 are computed in
            float32.
        weight_in: (..., n, i). None: every hidden unit is an input.
        weight_out: (..., o, n). None: every hidden unit is an output. Without both, the walks of 1 .. hops edges
            between all pairs of units (the empty walk is none).
        alpha: factor of each edge, > 0; a float, or a tensor, 0-d or of the batch's shape, which may require a
            gradient.
        hops: the number of terms, >= 1: of the R-RNN, the length of the sequences. None: all walks, which have a sum
            where the spectral radius of alpha phi(W) is below 1.
        rectify: phi = | |: the strength of walks, which then cannot cancel. Else phi is the identity.
        per_hop: add the norms of the hops, which then cannot cancel one another; needs finite hops.
        norm: "l1", the sum of absolute values, or "l2", the sum of squares.
        hop_weights: (..., hops), constant factors of the hops; need finite hops. A hop of weight 0 takes no part.
        pair_weights: (..., o, i), >= 0, constant factors of the output-input pairs inside the norm. Both may be of any
            floating-point dtype, and must not require a gradient.
        method: "series" multiplies walk by walk; "inverse" factorises I - A and is for plain sums only (neither
            per_hop nor hop_weights); "auto" takes the faster.
        reduction: of the batch's penalties, "sum", "mean" or "none". Batch dimensions broadcast together.

    Returns:
        A scalar, or one penalty for each of the batch with reduction="none", in the dtype of the weights.

    Raises:
        ValueError, TypeError: an argument does not fit; the message names it, what was needed and what came.
        ResolventDivergenceError: hops=None where the sum does not converge, or was not proved to.
        ResolventConditionError: hops=None or method="inverse" where rounding decides the digits of the sum.

    **How far it is right.** With S the same sum when every weight, alpha and factor is replaced by its absolute value,
    L hops and eps of the dtype that is computed in, a finite sum is within ``(n + 4) (L + 2) eps S`` of the exact one,
    but for what underflows; walks that overflow on the way do not spoil a sum that is finite. By method="inverse", and
    where hops=None, what the walks bring into each hidden unit is right to 2^-11 of the largest of them, and mostly to
    rounding: where float32 does not reach that, it is computed in float64, and where that does not, it is an error.

    On a CUDA device nothing waits for values: a diverging sum is NaN and its error comes with a later infinite sum on
    that device; a tensor alpha that is not positive, negative pair_weights and factors that are not finite give NaN.
    Infinite sums are factorised there whatever the method, in the dtype of the weights, and finite ones that overflow
    on the way are not finite.

    Source: Sharma, Goodman & Akarca, "Resolvent-RNN", arXiv 2605.03598, for norm="l1", per_hop=False, rectify=False.
    """
    _arguments.check_choice("norm", norm, ("l1", "l2"))
    _arguments.check_choice("reduction", reduction, ("sum", "mean", "none"))
    hops = _arguments.check_hops(hops)
    _check_method(method, hops, per_hop, hop_weights)
    graph = _arguments.prepare(
        weight_hh, weight_in, weight_out, alpha=alpha, hops=hops, hop_weights=hop_weights, pair_weights=pair_weights
    )
    with without_autocast(weight_hh.device.type):
        value = _penalty(graph, hops, rectify, per_hop, norm == "l2", method)
    if graph.batch:
        value = value.reshape(graph.batch) if reduction == "none" else getattr(value, reduction)()
    return value if value.dtype == graph.dtype else value.to(graph.dtype)


def resolvent(
    weight_hh: Tensor,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
    hop_weights: Tensor | None = None,
    method: str = "auto",
) -> Tensor:
    """The sum of all walks from each input to each output, ``sum_m w_m P_m``: (..., o, i), differentiable.

    Arguments and errors as of :func:`resolvent_penalty`.
    """
    hops = _arguments.check_hops(hops)
    _check_method(method, hops, False, hop_weights)
    graph = _arguments.prepare(weight_hh, weight_in, weight_out, alpha=alpha, hops=hops, hop_weights=hop_weights)
    with without_autocast(weight_hh.device.type):
        total = _sum(graph, hops, rectify, method)
    return _arguments.unflatten(total, graph, 2)


def hop_decomposition(
    weight_hh: Tensor,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    hops: int,
    alpha: float | Tensor = 1.0,
    rectify: bool = False,
) -> Tensor:
    """The walks hop by hop: P_m at [..., m, :, :], (..., hops, o, i), differentiable.

    ``P_m`` carries what an input brought m steps before the read-out (without weight_in and weight_out: m + 1).
    Arguments and errors as of :func:`resolvent_penalty`.
    """
    hops = _arguments.check_finite_hops(hops)
    graph = _arguments.prepare(weight_hh, weight_in, weight_out, alpha=alpha, hops=hops)
    with without_autocast(weight_hh.device.type):
        walks = _finite.walk_sums(graph, hops, rectify, per_hop=True)
    return _arguments.unflatten(walks, graph, 3)


def _check_method(method: str, hops: int | None, per_hop: bool, hop_weights: Tensor | None) -> None:
    _arguments.check_choice("method", method, _METHODS)
    if not per_hop and hop_weights is None:
        return
    option = "per_hop=True" if per_hop else "hop_weights"
    if hops is None:
        raise ValueError(f"{option} needs a finite number of hops, got hops=None")
    if method == "inverse":
        raise ValueError(
            f"method='inverse' has only the plain sum of all hops, got {option}; use method='series' or 'auto'"
        )


def _sum(graph: _arguments.Graph, hops: int | None, rectify: bool, method: str) -> Tensor:
    if hops is None:
        return resolvent_sum(graph, rectify, method == "series")
    if method == "inverse":
        return _finite.by_inverse(graph, hops, rectify)
    if graph.weight_in is None and graph.weight_out is None and graph.hop_weights is None:
        return _finite.all_pairs(graph, hops, rectify)
    return _finite.walk_sums(graph, hops, rectify, per_hop=False).squeeze(-3)


def _penalty(
    graph: _arguments.Graph, hops: int | None, rectify: bool, per_hop: bool, squared: bool, method: str
) -> Tensor:
    """The penalty of each graph."""
    if rectify and not squared and graph.pair_weights is None and (per_hop or graph.hop_weights is None):
        # Nothing can cancel: the sum over all pairs is one walk sum, from all inputs to all outputs.
        graph, per_hop = _finite.single_pathway(graph), False
        if graph.hop_weights is not None:
            return _sum(graph, hops, rectify, method).squeeze((-2, -1))
        if hops is None and method == "auto" and not transforming(graph.weight_hh):
            value = pathway_sum(graph)
            if value is not None:
                return value
    between_all = graph.weight_in is None and graph.weight_out is None
    if hops is None and between_all and method == "auto" and not transforming(graph.weight_hh):
        return all_pairs_penalty(graph, rectify, squared)
    plain = between_all and graph.hop_weights is None and not per_hop
    if hops is None or method == "inverse" or plain:
        return pair_norm(_sum(graph, hops, rectify, method), graph.pair_weights, squared)
    return walk_penalty(*_finite.with_a_side(graph), hops, rectify, per_hop, squared)
