"""Sums over all walks: solves with I - A once convergence is certain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext import _deferred, _lapack
from rrnn_ext._arguments import Graph
from rrnn_ext._convergence import block_of_walks, check_convergence, surely_converges
from rrnn_ext._ops import CUDA_EMULATED, _native, differentiable_gradients, fold_batch, pair_norm

_BLOCK_HOPS = 64
_MAX_BLOCKS = 20_000


def _one_minus(a: Tensor) -> Tensor:
    return torch.eye(a.shape[-1], dtype=a.dtype, device=a.device) - a


def _factorised(a: Tensor, b: Tensor) -> Tensor:
    """(I - A)^{-1} B; NaN where A has a NaN or an infinity."""
    return _lapack.solve(_one_minus(a), b) + 0 * a.sum((-2, -1), keepdim=True)


def _summed(a: Tensor, b: Tensor) -> Tensor:
    """B + A B + A^2 B + ... until what is left out is below rounding.

    By blocks of hops: where they shrink by a factor q from one to the next, the rest is at most q / (1 - q) of the
    last. (The size of a single term says nothing: signed terms can vanish and come back.)
    """
    total, size, vectors = torch.zeros_like(b), torch.inf, b
    for _ in range(_MAX_BLOCKS):
        block, last_vectors = block_of_walks(a, vectors, _BLOCK_HOPS)
        vectors = a @ last_vectors
        total = total + block
        last, size = size, float(block.abs().sum())
        ratio = size / last if last < torch.inf else 1.0
        rounding = torch.finfo(a.dtype).eps * float(total.abs().sum()) / 4
        if not size * ratio > rounding * (1 - ratio):  # NaN ends the sum too
            return total
    raise RuntimeError(
        f'method="series" did not reach rounding within {_MAX_BLOCKS * _BLOCK_HOPS} hops; use method="inverse"'
    )


def _all_walks_unseen(a: Tensor, b: Tensor) -> Tensor:
    """sum_m A^m B for (b, n, n) and (b, n, c) without a look at any value; NaN where it was not proved to converge."""
    proved = surely_converges(a)
    finite = a.sum((-2, -1)).isfinite()  # else there is nothing to prove, and NaN is what comes out on the CPU too
    _deferred.note(proved.logical_or(finite.logical_not()))
    return torch.where(proved.unsqueeze(-1).unsqueeze(-1), _factorised(a, b), torch.nan)


@torch.library.custom_op("rrnn_ext::all_walks", mutates_args=())
def _all_walks_op(a: Tensor, b: Tensor, alpha: Tensor, nonnegative: bool, series: bool) -> Tensor:
    """sum_m A^m B for (b, n, n) and (b, n, c), or without the batch. Raises ResolventDivergenceError. On CUDA it is NaN
    where the sum diverges, and a series too is factorised: how many hops it needs, only its values could tell."""
    if a.is_cuda and a.numel():
        # cuSOLVER's solutions lie column by column.
        if a.dim() == 3:
            return _all_walks_unseen(a, b).contiguous()
        return _all_walks_unseen(a.unsqueeze(0), b.unsqueeze(0)).squeeze(0).contiguous()
    check_convergence(a if a.dim() == 3 else a[None], alpha, nonnegative)
    if a.numel() == 0 or b.numel() == 0:
        return b.clone(memory_format=torch.contiguous_format)
    return (_summed(a, b) if series else _factorised(a, b)).contiguous()


@_all_walks_op.register_fake
def _(a: Tensor, b: Tensor, alpha: Tensor, nonnegative: bool, series: bool) -> Tensor:
    return b.new_empty(b.shape)


class _AllWalks(Function):
    @staticmethod
    def forward(a: Tensor, b: Tensor, alpha: Tensor, nonnegative: bool, series: bool) -> Tensor:
        return _all_walks_op(a, b, alpha, nonnegative, series)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        a, _, _, _, ctx.series = inputs
        ctx.save_for_backward(a, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, x = ctx.saved_tensors
        # PyTorch's own differentiable solve: convergence is known by now. The two ways agree to rounding.
        adjoint = _lapack.solve(_one_minus(a.mT), grad) if a.numel() and grad.numel() else grad
        return adjoint @ x.mT, adjoint, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        pair, unfold = fold_batch(info.batch_size, in_dims[:3], args[:3], (2, 2, 0))
        return unfold(_AllWalks.apply(*pair, *args[3:])), 0


class _AllPairs(Function):
    """(I - A)^{-1}, whose gradient takes two products: grad A = Q' G Q'."""

    @staticmethod
    def forward(a: Tensor, alpha: Tensor, nonnegative: bool, series: bool) -> Tensor:
        eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
        return _all_walks_op(a, eye, alpha, nonnegative, series)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (walks,) = ctx.saved_tensors
        return walks.mT @ grad @ walks.mT, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        pair, unfold = fold_batch(info.batch_size, in_dims[:2], args[:2], (2, 0))
        return unfold(_AllPairs.apply(*pair, *args[2:])), 0


def resolvent_sum(graph: Graph, rectify: bool, series: bool) -> Tensor:
    """R (..., o, i) of all walks; raises ResolventDivergenceError where they have no sum."""
    weight_hh, weight_in, weight_out, _, _, alpha, given_alpha, *_ = graph
    phi = torch.abs if rectify else _same
    a = alpha * phi(weight_hh)
    options = torch.as_tensor(given_alpha, dtype=a.dtype), rectify, series
    if weight_in is None and weight_out is None:
        return _AllPairs.apply(a, *options) - torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    if weight_out is None or (weight_in is not None and weight_in.shape[-1] <= weight_out.shape[-2]):
        assert weight_in is not None
        walks = _AllWalks.apply(a, alpha * phi(weight_in), *options)
        return walks if weight_out is None else (alpha * phi(weight_out)) @ walks
    walks = _AllWalks.apply(a.mT, (alpha * phi(weight_out)).mT, *options).mT
    return walks if weight_in is None else walks @ (alpha * phi(weight_in))


def _same(weight: Tensor) -> Tensor:
    return weight


class _Pathway(Function):
    """The rectified sum from one source to one target, (b,), once x and y, its solutions from both ends, are known."""

    @staticmethod
    def forward(weight_hh: Tensor, sources: Tensor, targets: Tensor, x: Tensor, y: Tensor, alpha: float) -> Tensor:
        return alpha**2 * (targets * x).sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        *tensors, ctx.alpha = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight_hh, sources, targets, x, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # a derivative of this gradient is wanted
            a = ctx.alpha * weight_hh.abs()
            value = ctx.alpha**2 * (targets * _lapack.solve(_one_minus(a), sources.unsqueeze(-1)).squeeze(-1)).sum(-1)
            return *differentiable_gradients(value, (weight_hh, sources, targets), grad), None, None, None
        scale = ctx.alpha**2 * grad
        grad_hh = _native.pathway_solve_backward(scale, weight_hh, x, y, ctx.alpha)
        return grad_hh, scale.unsqueeze(-1) * y, scale.unsqueeze(-1) * x, None, None, None


def pathway_sum(graph: Graph) -> Tensor | None:
    """The rectified sum of a graph with one input and one output, by iteration; None where that does not settle it.
    On CUDA it is NaN there."""
    weight_hh, weight_in, weight_out = graph.weight_hh, graph.weight_in, graph.weight_out
    assert weight_in is not None
    assert weight_out is not None
    given = weight_hh, weight_in.squeeze(-1), weight_out.squeeze(-2)
    batch = given if graph.batch else [each.unsqueeze(0) for each in given]
    x, y, found = _native.pathway_solve(*(each.detach() for each in batch), graph.alpha)
    if found.is_cuda:
        _deferred.note(found)
    elif not bool(found.all()):
        return None
    value = _Pathway.apply(*batch, x, y, graph.alpha)
    return value if graph.batch else value.squeeze(0)


class _AllPairsPenalty(Function):
    """The penalty of all pairs, (b,), once their walks are known."""

    @staticmethod
    def forward(
        weight_hh: Tensor,
        pair_weights: Tensor | None,
        value: Tensor,
        walks: Tensor,
        alpha: float,
        rectify: bool,
        squared: bool,
    ) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        weight_hh, pair_weights, _, walks, *ctx.options = inputs
        ctx.save_for_backward(weight_hh, pair_weights, walks)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        weight_hh, pair_weights, walks = ctx.saved_tensors
        alpha, rectify, squared = ctx.options
        if torch.is_grad_enabled():  # a derivative of this gradient is wanted
            eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
            walks = _lapack.inverse(eye - alpha * (weight_hh.abs() if rectify else weight_hh)) - eye
            value = pair_norm(walks, pair_weights, squared)
            (grad_hh,) = differentiable_gradients(value, (weight_hh,), grad)
        elif _is_small(weight_hh):
            grad_hh = _native.all_pairs_penalty_backward(grad, walks, weight_hh, pair_weights, *ctx.options)
        else:
            grad_walks = 2 * walks if squared else walks.sign()
            if pair_weights is not None:
                grad_walks *= pair_weights
            grad_walks *= alpha * grad[:, None, None]
            back = walks.mT  # Q' G Q' for Q = I + walks, without making Q
            half = torch.baddbmm(grad_walks, back, grad_walks)
            grad_hh = torch.baddbmm(half, half, back)
            if rectify:
                grad_hh *= weight_hh.sign()
        return grad_hh, None, None, None, None, None, None


# The largest graph whose inverse one thread makes in cache; on a GPU, the largest one for our own kernels.
_SMALL_GRAPH = 160
_SMALL_GRAPH_CUDA = 1024
# The largest one that LAPACK inverts as fast as products do.
_LAPACK_GRAPH = 256


def _is_small(weight_hh: Tensor) -> bool:
    return weight_hh.shape[-1] <= (_SMALL_GRAPH_CUDA if weight_hh.is_cuda or CUDA_EMULATED else _SMALL_GRAPH)


def _inverse_by_halves(a: Tensor) -> Tensor:
    """(I - A)^{-1} of (b, n, n): walks within the first half of the units, and those of the second half by way of the
    first. Mostly products, which run at twice the rate of a factorisation; without pivoting, so look at the result."""
    n = a.shape[-1]
    if n <= _LAPACK_GRAPH:
        return _lapack.inverse(_one_minus(a))
    half = n // 2
    into, out = a[..., :half, half:], a[..., half:, :half]
    first = _inverse_by_halves(a[..., :half, :half])
    through = first @ into
    second = _inverse_by_halves(torch.baddbmm(a[..., half:, half:], out, through))
    inverse = torch.empty_like(a)
    inverse[..., half:, half:] = second
    inverse[..., :half, half:] = through @ second
    inverse[..., half:, :half] = second @ (out @ first)
    inverse[..., :half, :half] = torch.baddbmm(first, through, inverse[..., half:, :half])
    return inverse


def _inverse(a: Tensor) -> Tensor:
    """(I - A)^{-1} of (b, n, n); NaN where A has a NaN or an infinity."""
    inverse = _inverse_by_halves(a)
    probes = torch.randn(a.shape[-1], 4, dtype=a.dtype, generator=torch.Generator().manual_seed(0)).expand(
        a.shape[0], -1, -1
    )
    images = inverse @ probes
    residual = (images - a @ images - probes).abs().amax()
    # A backward stable inverse leaves a few units of rounding times sqrt(n) |A| |X|; pivot where this one leaves more.
    if not residual <= 16 * torch.finfo(a.dtype).eps * a.shape[-1] ** 0.5 * images.abs().amax():
        inverse = _lapack.inverse(_one_minus(a))
    return inverse + 0 * a.sum((-2, -1), keepdim=True) if not bool(residual.isfinite()) else inverse


def all_pairs_penalty(graph: Graph, rectify: bool, squared: bool) -> Tensor:
    """The penalty of all walks between all pairs."""
    weight_hh, pair_weights, alpha = graph.weight_hh, graph.pair_weights, graph.alpha
    if not graph.batch:
        weight_hh = weight_hh.unsqueeze(0)
    weights = weight_hh.detach()
    given_alpha = torch.as_tensor(graph.given_alpha, dtype=weights.dtype).expand(weights.shape[0])
    if _is_small(weights):
        value, walks, converges = _native.all_pairs_penalty(weights, pair_weights, alpha, rectify, squared)
        if converges.is_cuda:
            _deferred.note(converges)
        elif bool((unclear := converges == 0).any()):
            a = alpha * (weights if bool(unclear.all()) else weights[unclear])
            check_convergence(a.abs_() if rectify else a, given_alpha[unclear], rectify)
    else:
        a = alpha * weights
        a = a.abs_() if rectify else a
        if a.is_cuda:
            walks = _all_walks_unseen(a, torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a))
        else:
            check_convergence(a, given_alpha, rectify)
            walks = _inverse(a)
        walks.diagonal(dim1=-2, dim2=-1).sub_(1)
        if pair_weights is None and not squared:
            value = torch.linalg.vector_norm(walks, ord=1, dim=(-2, -1))  # in one pass
        else:
            value = pair_norm(walks, pair_weights, squared)
    value = _AllPairsPenalty.apply(weight_hh, pair_weights, value, walks, alpha, rectify, squared)
    return value if graph.batch else value.squeeze(0)
