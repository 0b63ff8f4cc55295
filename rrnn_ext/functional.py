"""The resolvent of a recurrent network's weights, its hops and its penalty."""

from __future__ import annotations

from torch import Tensor

from rrnn_ext import _dispatch
from rrnn_ext._options import Method, NormName, PenaltyOptions, Reduction
from rrnn_ext.sparse.pattern import SparseWeight


def resolvent_penalty(
    weight_hh: Tensor | SparseWeight,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
    per_hop: bool = False,
    norm: NormName = "l1",
    hop_weights: Tensor | None = None,
    pair_weights: Tensor | None = None,
    method: Method = "auto",
    reduction: Reduction = "sum",
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
            float32. Or sparse, one (n, n) as CSR, CSC or COO tensor or a :class:`rrnn_ext.sparse.SparseWeight`: see
            below.
        weight_in: (..., n, i). None: every hidden unit is an input.
        weight_out: (..., o, n). None: every hidden unit is an output. Without both, the walks of 1 .. hops edges
            between all pairs of units (the empty walk is none).
        alpha: factor of each edge, > 0; a float, or a tensor, 0-d or of the batch's shape, which may require a
            gradient.
        hops: the number of terms, >= 1: for an RNN, the length of the sequences. None: all walks, which have a sum
            where the spectral radius of alpha phi(W) is below 1.
        rectify: phi(M) = ``|M|``, elementwise: the strength of walks, which then cannot cancel. Else phi is the
            identity.
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

    **What it costs.** Where a gradient may be wanted, a finite sum comes with it from one native call, about three
    times the work of the value, and backward scales what is there: under ``torch.no_grad`` there is the value alone.
    :func:`accumulate_penalty_grad` does without the graph.

    **Sparse weights.** Only stored values are edges and have gradients; the zeros that are stored count as edges.
    weight_in and weight_out are (n, i) and (o, n), without a batch, or int64 (units,): the numbers of the units that
    are sources or targets, which stand for those columns or rows of the identity and are one edge of each walk, as
    dense ones are. One of them must be given, and ``method="inverse"`` is an error. Vectors of the narrower side are
    carried 16 at a time, so beside the weights, the sides and what is returned the memory is that of 16 x (hops + 4)
    numbers a unit and of two numbers an edge, however many sources there are. Where a gradient is wanted, it is made
    with the value. Indices are int32 within: the first call with a pattern of indices sorts them and checks them, and
    later ones find it again. Walks that overflow on the way are not finite.

    Where hops=None, the sum is made by iteration above 256 units, of 4 million numbers at a time (or 16 vectors), and
    so is the gradient: some 3 GB at the most beside the weights, the sides and what is returned, but n numbers a source
    where a gradient of :func:`resolvent` or a second derivative is wanted. That it converges is proved without
    eigenvalues: by norms; for nonnegative or rectified weights by the bounds of Collatz and Wielandt within strongly
    connected components, which are certain and decide; else by random vectors, but for a probability below 1e-10. What
    is not proved is refused, and the error has what is known of the spectral radius.

    **Sharded weights.** DTensors of any placement, on every rank: the page "Sharded weights". The value is an ordinary
    tensor, the same on each, and gradients have the placements of their weights. From 4096 units on a weight_hh that
    is sharded by rows or columns stays where it is: then one side must be given, ``method="inverse"`` and second
    derivatives are errors that name ``weight_hh.full_tensor()``, and infinite sums are made by iteration, proved as
    sparse ones are.

    On a CUDA device nothing waits for values: a diverging sum is NaN and its error comes with a later infinite sum on
    that device; a tensor alpha that is not positive, negative pair_weights and factors that are not finite give NaN.
    Infinite sums are factorised there whatever the method, in the dtype of the weights, and finite ones that overflow
    on the way are not finite. Infinite sums of sparse weights are as on the CPU, and wait for the device.

    Source: Sharma, Goodman & Akarca, "Resolvent-RNN", arXiv 2605.03598, for norm="l1", per_hop=False, rectify=False.
    """
    options = PenaltyOptions(alpha, hops, rectify, per_hop, norm, hop_weights, pair_weights, method, reduction)
    return _dispatch.penalty((weight_hh, weight_in, weight_out), options)


def accumulate_penalty_grad(
    weight_hh: Tensor | SparseWeight,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    strength: float = 1.0,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
    per_hop: bool = False,
    norm: NormName = "l1",
    hop_weights: Tensor | None = None,
    pair_weights: Tensor | None = None,
    method: Method = "auto",
    reduction: Reduction = "sum",
) -> Tensor:
    """Adds ``strength`` times the gradient of :func:`resolvent_penalty` to ``.grad`` of the weights, without a graph.

    What ``(strength * resolvent_penalty(...)).backward()`` would do (of ``reduction="none"``, of the sum), for less:
    value and gradient of a finite sum are one native call, which adds to ``.grad`` as it multiplies.

    ::

        loss.backward()
        W, U, V = rnn.weight_hh_l0, rnn.weight_ih_l0, readout.weight
        value = rrnn_ext.accumulate_penalty_grad(W, U, V, strength=1e-4, hops=20)
        optimiser.step()

    Call it between ``backward`` and ``step``: after ``GradScaler.unscale_``, once per optimiser step where gradients of
    several micro-batches are accumulated, and under DistributedDataParallel on every rank, where it is the same and is
    not reduced again. It may come before or after clipping: before, the norm that is clipped has the penalty in it.

    To a DTensor it adds the shard of its gradient that is this rank's own.

    A ``.grad`` that is None is made; a weight that requires no gradient gets none, and a tensor ``alpha`` that does
    gets its own. Weights may be tied. Hooks of ``Tensor.register_hook`` see the gradient before it is added; those of
    ``register_post_accumulate_grad_hook`` do not run. It works under ``torch.no_grad`` too, is left out of graphs by
    ``torch.compile`` (which breaks there), and there are no derivatives of it.

    Args:
        weight_hh, weight_in, weight_out: as of :func:`resolvent_penalty`; leaves, such as Parameters, or another shape
            of one (``weight.view(gates, n, n)``), as far as they require a gradient.
        strength: factor of the gradient, finite.
        alpha, hops, rectify, per_hop, norm, hop_weights, pair_weights, method, reduction: as there.

    Returns:
        The penalty, without the strength, as :func:`resolvent_penalty` has it, detached.

    Raises:
        ValueError: a weight is no leaf, but computed, as a parametrised or pruned one is: its gradient belongs to what
            it was computed from, and the way there is through the loss. And as :func:`resolvent_penalty`. Where an
            error is raised, nothing has been added.
    """
    options = PenaltyOptions(alpha, hops, rectify, per_hop, norm, hop_weights, pair_weights, method, reduction)
    return _dispatch.accumulate_grad((weight_hh, weight_in, weight_out), options, strength)


def resolvent(
    weight_hh: Tensor | SparseWeight,
    weight_in: Tensor | None = None,
    weight_out: Tensor | None = None,
    *,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
    hop_weights: Tensor | None = None,
    method: Method = "auto",
) -> Tensor:
    """The sum of all walks from each input to each output, ``sum_m w_m P_m``: (..., o, i), differentiable.

    Arguments and errors as of :func:`resolvent_penalty`.
    """
    options = PenaltyOptions(alpha=alpha, hops=hops, rectify=rectify, hop_weights=hop_weights, method=method)
    return _dispatch.total((weight_hh, weight_in, weight_out), options)


def hop_decomposition(
    weight_hh: Tensor | SparseWeight,
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
    options = PenaltyOptions(alpha=alpha, hops=hops, rectify=rectify)
    return _dispatch.hop_by_hop((weight_hh, weight_in, weight_out), options)
