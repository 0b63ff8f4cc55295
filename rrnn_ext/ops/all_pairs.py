"""The penalty of all walks between all pairs of units, in eager mode: the inverse of I - A, by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext._call import Call
from rrnn_ext._modes import is_batched, without_autocast
from rrnn_ext._options import Norm
from rrnn_ext.infinite import deferred, lapack
from rrnn_ext.infinite.convergence import Source, prove_convergence
from rrnn_ext.infinite.probes import gaussian
from rrnn_ext.infinite.solve import LARGEST_ERROR, one_minus, refined
from rrnn_ext.ops import native
from rrnn_ext.ops._matrices import pair_norm, phi, walk_size_derivative
from rrnn_ext.ops._registration import differentiable_gradients
from rrnn_ext.ops.infinite_walks import infinite_sum, infinite_walks_of_edges, source_of, without_the_empty_walk

# The largest graph whose inverse one thread makes in cache; on a GPU, the largest one for our own kernels.
_SMALL_GRAPH = 160
_SMALL_GRAPH_CUDA = 1024
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


class _AllPairsPenalty(Function):
    """The penalty of each graph, (b,), once its walks are known."""

    @staticmethod
    def forward(
        ctx: Any, weight_hh: Tensor, pair_weights: Tensor | None, value: Tensor, walks: Tensor, call: Call
    ) -> Tensor:
        ctx.save_for_backward(weight_hh, pair_weights, walks)
        ctx.call = call
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight_hh, pair_weights, walks = ctx.saved_tensors
        call = ctx.call
        if torch.is_grad_enabled():  # a derivative of this gradient is wanted

            def value(weight_hh: Any) -> Tensor:
                total = infinite_sum(call._replace(weight_hh=weight_hh), proved=True)
                return pair_norm(total, pair_weights, call.norm)

            (grad_hh,) = differentiable_gradients(value, (weight_hh,), grad)
        elif is_batched(grad):
            ones = walks.new_ones(walks.shape[:1])
            grad_hh = grad.unsqueeze(-1).unsqueeze(-1) * _gradient(call, ones, weight_hh, pair_weights, walks)
        else:
            grad_hh = _gradient(call, grad, weight_hh, pair_weights, walks)
        return grad_hh, None, None, None, None


def _gradient(call: Call, grad: Tensor, weight_hh: Tensor, pair_weights: Tensor | None, walks: Tensor) -> Tensor:
    if _is_small(weight_hh):
        return native.all_pairs_penalty_backward(
            grad, walks, weight_hh, pair_weights, alpha=call.alpha, rectify=call.rectify, norm=call.norm
        )
    grad_walks = walk_size_derivative(walks, call.norm)
    if pair_weights is not None:
        grad_walks *= pair_weights
    grad_walks *= call.alpha * grad[:, None, None]
    back = walks.mT  # Q' G Q' for Q = I + walks, without making Q
    with without_autocast(walks.device.type):
        half = torch.baddbmm(grad_walks, back, grad_walks)
        grad_hh = torch.baddbmm(half, half, back)
    if call.rectify:
        grad_hh *= weight_hh.sign()
    return grad_hh


def _is_small(weight_hh: Tensor) -> bool:
    return weight_hh.shape[-1] <= (_SMALL_GRAPH_CUDA if weight_hh.is_cuda else _SMALL_GRAPH)


def _inverse_by_halves(a: Tensor) -> Tensor:
    """(I - A)^{-1} of (b, n, n): walks within the first half of the units, and those of the second half by way of the
    first. Mostly products, which run at twice the rate of a factorisation; without pivoting, so look at the result."""
    n = a.shape[-1]
    if n <= _LAPACK_GRAPH:
        return lapack.inverse(one_minus(a))
    half = n // 2
    into, out = a[..., :half, half:], a[..., half:, :half]
    first = _inverse_by_halves(a[..., :half, :half])
    through = first @ into
    second = _inverse_by_halves(torch.baddbmm(a[..., half:, half:], out, through))
    whole = torch.empty_like(a)
    whole[..., half:, half:] = second
    whole[..., :half, half:] = through @ second
    whole[..., half:, :half] = second @ (out @ first)
    whole[..., :half, :half] = torch.baddbmm(first, through, whole[..., half:, :half])
    return whole


def _walks_by_products(a: Tensor, source: Source) -> Tensor:
    """A + A^2 + .. of (b, n, n), which converges; NaN where A has a NaN or an infinity."""
    quick = _inverse_by_halves(a)
    poison = 0 * a.sum((-2, -1), keepdim=True)
    probes = gaussian(a.shape[-1], 4, a).expand(a.shape[0], -1, -1)
    _, left, rounding = refined(a, probes, lambda right: quick @ right, poison.isfinite())
    # A backward stable inverse leaves a few units of rounding on top of what rounding does; pivot where there is more.
    if not left <= max(16 * torch.finfo(a.dtype).eps * a.shape[-1] ** 0.5, rounding) or left + rounding > LARGEST_ERROR:
        return _exact_walks(a, source)  # with pivoting, in float64 where that is needed
    walks = without_the_empty_walk(a, quick)
    return walks + poison if not bool(poison.isfinite().all()) else walks


def _exact_walks(a: Tensor, source: Source, proved: bool = True) -> Tensor:
    return infinite_walks_of_edges(a, *source, series=False, proved=proved)


def all_pairs_penalty(call: Call) -> Tensor:
    """The penalty of all walks between all pairs."""
    weight_hh, pair_weights, alpha = call.weight_hh, call.pair_weights, call.alpha
    if not call.batch:
        weight_hh = weight_hh.unsqueeze(0)
    weights = weight_hh.detach()
    source = source_of(call._replace(weight_hh=weight_hh))
    source = source._replace(weights=source.weights.detach(), alpha=source.alpha.detach())
    if _is_small(weights):
        value, walks, converges = native.all_pairs_penalty(
            weights, pair_weights, alpha=alpha, rectify=call.rectify, norm=call.norm
        )
        if converges.is_cuda:
            deferred.note(converges)
        elif bool((unclear := converges == 0).any()):
            a = alpha * phi(weights, call.rectify)
            prove_convergence(a, source)
            weighed = source._replace(weights=source.weights[unclear])
            if source.alpha.dim():
                weighed = weighed._replace(alpha=source.alpha[unclear])
            walks[unclear] = _exact_walks(a[unclear], weighed)
            value = pair_norm(walks, pair_weights, call.norm)
    else:
        a = alpha * weights
        a = a.abs_() if call.rectify else a
        if a.is_cuda:
            walks = _exact_walks(a, source, proved=False)
        else:
            prove_convergence(a, source)
            walks = _walks_by_products(a, source)
        if pair_weights is None and call.norm is Norm.l1:
            value = torch.linalg.vector_norm(walks, ord=1, dim=(-2, -1))  # in one pass
        else:
            value = pair_norm(walks, pair_weights, call.norm)
    value = _AllPairsPenalty.apply(weight_hh, pair_weights, value, walks, call)
    return value if call.batch else value.squeeze(0)
