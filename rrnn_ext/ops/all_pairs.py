"""The penalty of all walks between all pairs of units: the inverse of I - A, by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrnn_ext._call import Call, given_apart
from rrnn_ext._modes import is_batched
from rrnn_ext._options import Norm
from rrnn_ext.infinite import deferred, lapack
from rrnn_ext.infinite.convergence import Source, prove_convergence, source_of
from rrnn_ext.infinite.margins import INVERSE_ROUNDINGS, LARGEST_ERROR
from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.probes import gaussian
from rrnn_ext.infinite.solve import refined
from rrnn_ext.ops import native
from rrnn_ext.ops._matrices import of_weight, pair_norm, phi, walk_size_derivative
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch, python_op
from rrnn_ext.ops.infinite_walks import between, infinite_walks_of_edges, without_the_empty_walk

# On the CPU, the largest graph whose inverse one thread makes in cache.
_SMALL_GRAPH = 160
# The largest one that LAPACK inverts as fast as products do.
_LAPACK_GRAPH = 256


@torch.library.register_fake("rrnn_ext::all_pairs_penalty")
def _all_pairs_penalty_fake(
    weight_hh: Tensor, pair_weights: Tensor | None, alpha: float, rectify: bool, norm: int
) -> tuple[Tensor, Tensor, Tensor]:
    batch = weight_hh.shape[:1]
    return weight_hh.new_empty(batch), weight_hh.new_empty(weight_hh.shape), weight_hh.new_empty(batch)


@torch.library.register_fake("rrnn_ext::all_pairs_penalty_backward")
def _all_pairs_penalty_backward_fake(
    grad_value: Tensor,
    walks: Tensor,
    weight_hh: Tensor,
    pair_weights: Tensor | None,
    alpha: float,
    rectify: bool,
    norm: int,
) -> Tensor:
    return weight_hh.new_empty(weight_hh.shape)


@python_op
def all_pairs_norm(
    weight_hh: Tensor,
    pair_weights: Tensor | None,
    alpha: float,
    rectify: bool,
    norm: int,
    given_hh: Tensor | None,
    given_alpha: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The penalty (b,) of weight_hh (b, n, n), and the walks R.

    ``given_hh`` and ``given_alpha`` are what a tensor alpha was given with, as it is in the weights then. Raises
    ResolventDivergenceError and ResolventConditionError; on CUDA the penalty is NaN instead.
    """
    source = source_of(weight_hh, alpha, given_hh, given_alpha, rectify)
    if not _has_kernels(weight_hh):
        walks = _walks_by_products(weight_hh, alpha, source)
        if pair_weights is None and norm == Norm.l1:
            return torch.linalg.vector_norm(walks, ord=1, dim=(-2, -1)), walks  # in one pass
        return pair_norm(walks, pair_weights, norm), walks
    value, walks, converges = native.all_pairs_penalty(weight_hh, pair_weights, alpha, rectify, norm)
    if converges.is_cuda:
        deferred.note(converges)
    elif bool((unclear := converges == 0).any()):
        a = alpha * phi(weight_hh, rectify)
        prove_convergence(a, source)
        weighed = source._replace(weights=source.weights[unclear])
        if source.alpha.dim():
            weighed = weighed._replace(alpha=source.alpha[unclear])
        walks[unclear] = _exact_walks(a[unclear], weighed)
        value = pair_norm(walks, pair_weights, norm)
    return value, walks


@torch.library.register_fake("rrnn_ext::all_pairs_norm")
def _all_pairs_norm_fake(weight_hh: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return weight_hh.new_empty(weight_hh.shape[:1]), weight_hh.new_empty(weight_hh.shape)


@derivatives_of(all_pairs_norm)
class _AllPairsNorm(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        weight_hh, pair_weights, *ctx.options, given_hh, given_alpha = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight_hh, pair_weights, given_hh, given_alpha, output[1])
        ctx.save_for_forward(weight_hh, pair_weights, given_hh, given_alpha, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> Any:
        if grad is None:
            return (None,) * 7
        weight_hh, pair_weights, given_hh, given_alpha, walks = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this gradient may be wanted
            walks, grad_walks, slope = _differentiable(ctx, weight_hh, pair_weights, given_hh, given_alpha)
            by_walk = grad.unsqueeze(-1).unsqueeze(-1) * grad_walks
            grad_hh = slope * between(walks.mT, by_walk, walks.mT)
        elif is_batched(grad):
            ones = walks.new_ones(walks.shape[:1])
            one_by_one = _gradient(ones, walks, weight_hh, pair_weights, *ctx.options)
            grad_hh = grad.unsqueeze(-1).unsqueeze(-1) * one_by_one
        else:
            grad_hh = _gradient(grad, walks, weight_hh, pair_weights, *ctx.options)
        return grad_hh, None, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Any, d_hh: Tensor, *_: Any) -> Any:
        walks, grad_walks, slope = _differentiable(ctx, *saved[:-1])
        return (grad_walks * between(walks, slope * d_hh, walks)).sum((-2, -1)), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        tensors = *args[:2], *args[5:]
        folded, unfold = fold_batch(info.batch_size, (*in_dims[:2], *in_dims[5:]), tensors, (2, 2, 2, 0))
        return tuple(map(unfold, all_pairs_norm(*folded[:2], *args[2:5], *folded[2:]))), (0, 0)


def _differentiable(
    ctx: Any, weight_hh: Tensor, pair_weights: Tensor | None, given_hh: Tensor | None, given_alpha: Tensor | None
) -> tuple[Tensor, Tensor, Any]:
    """The walks, the derivative of the penalty by them, and that of A by the weights, all of them differentiable."""
    alpha, rectify, norm = ctx.options
    source = source_of(weight_hh, alpha, given_hh, given_alpha, rectify)
    walks = _exact_walks(alpha * phi(weight_hh, rectify), source)
    counted = walks if pair_weights is None else of_weight(walks, pair_weights)
    grad_walks = walk_size_derivative(counted, norm)
    if pair_weights is not None:
        grad_walks = pair_weights * grad_walks
    return walks, grad_walks, alpha * weight_hh.sign() if rectify else alpha


def _gradient(
    grad: Tensor,
    walks: Tensor,
    weight_hh: Tensor,
    pair_weights: Tensor | None,
    alpha: float,
    rectify: bool,
    norm: int,
) -> Tensor:
    if _has_kernels(weight_hh):
        return native.all_pairs_penalty_backward(grad, walks, weight_hh, pair_weights, alpha, rectify, norm)
    grad_walks = walk_size_derivative(walks, norm)
    if pair_weights is not None:
        grad_walks *= pair_weights
    grad_walks *= alpha * grad[:, None, None]
    # Q' G Q' for Q = I + walks, without making Q
    half = native.hop(walks, grad_walks, 1.0, False, False).add_(grad_walks)
    grad_hh = native.hop_gradient(walks, walks, half, 1.0, False).add_(half)
    if rectify:
        grad_hh *= weight_hh.sign()
    return grad_hh


def _has_kernels(weight_hh: Tensor) -> bool:
    return weight_hh.is_cuda or weight_hh.shape[-1] <= _SMALL_GRAPH


def _inverse_by_halves(a: Tensor) -> Tensor:
    """(I - A)^{-1} of (b, n, n): walks within the first half of the units, and those of the second half by way of the
    first. Mostly products, which run at several times the rate of a factorisation; without pivoting, so look at the
    result."""
    n = a.shape[-1]
    if n <= _LAPACK_GRAPH:
        return lapack.inverse(lapack.one_minus(a))
    half = n // 2
    into, out = a[..., :half, half:], a[..., half:, :half]
    first = _inverse_by_halves(a[..., :half, :half])
    through = _times(first, into)
    second = _inverse_by_halves(_times(out, through).add_(a[..., half:, half:]))
    whole = torch.empty_like(a)
    whole[..., half:, half:] = second
    whole[..., :half, half:] = _times(through, second)
    whole[..., half:, :half] = back = _times(second, _times(out, first))
    whole[..., :half, :half] = _times(through, back).add_(first)
    return whole


def _times(left: Tensor, right: Tensor) -> Tensor:
    """left @ right for (b, m, k) and (b, k, n), by our kernels: twice as fast as PyTorch's library on processors for
    which it takes shorter vectors than they have."""
    found: Tensor = native.hop(right, left, 1.0, False, True)
    return found


def _walks_by_products(weight_hh: Tensor, alpha: float, source: Source) -> Tensor:
    """A + A^2 + .. of (b, n, n), once that is proved to converge; NaN where A has a NaN or an infinity."""
    a = alpha * weight_hh
    a = a.abs_() if source.nonnegative else a
    prove_convergence(a, source)
    quick = _inverse_by_halves(a)
    poison = 0 * a.sum((-2, -1), keepdim=True)
    probes = gaussian(a.shape[-1], 4, a).expand(a.shape[0], -1, -1)
    _, left, rounding = refined(
        DenseOperand(a, a.double), probes, lambda right, rough=False: quick @ right, poison.isfinite()
    )
    # A backward stable inverse leaves a few units of rounding on top of what rounding does; pivot where there is more.
    stable = INVERSE_ROUNDINGS * torch.finfo(a.dtype).eps * a.shape[-1] ** 0.5
    if not left <= max(stable, rounding) or left + rounding > LARGEST_ERROR:
        return _exact_walks(a, source)  # with pivoting, in float64 where that is needed
    walks = without_the_empty_walk(a, quick)
    return walks + poison if not bool(poison.isfinite().all()) else walks


def _exact_walks(a: Tensor, source: Source) -> Tensor:
    return infinite_walks_of_edges(a, *source, series=False, proved=True)


def all_pairs_penalty(call: Call) -> Tensor:
    """The penalty of all walks between all pairs."""
    weight_hh = call.weight_hh if call.batch else call.weight_hh.unsqueeze(0)
    options = call.alpha, call.rectify, int(call.norm)
    value, _ = all_pairs_norm(weight_hh, call.pair_weights, *options, *given_apart(call))
    return value if call.batch else value.squeeze(0)
