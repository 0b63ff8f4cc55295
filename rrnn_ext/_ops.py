"""Loads the native library, and makes its ops what PyTorch expects of an op: fake kernels, gradients, vmap.

Each op takes one graph, ``weight_hh`` (n, n), ``weight_in`` (n, i) or None, ``weight_out`` (o, n) or None, or a batch
of them, (b, n, n) and so on, in float32 or float64. ``alpha`` is a float, ``hop_weights`` (hops,) or (b, hops).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rrnn_ext import reference

try:
    from rrnn_ext import _C
except ImportError as error:
    raise ImportError(
        "rrnn_ext's native library is not built for this Python and PyTorch; "
        "in the source tree, run: pip install --no-build-isolation ."
    ) from error

_native = torch.ops.rrnn_ext
CUDA_ARCHS = tuple(_C.build_info()["cuda_archs"])
CUDA_EMULATED = _C.build_info()["cuda_emulated"]


def transforming() -> bool:
    """Whether torch.compile or a torch.func transform is looking at what runs now."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


# ------------------------------------------------------------------------------------------------------ fake kernels


def _sizes(weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None) -> tuple[int, int, int]:
    n = weight_hh.shape[-1]
    return n, n if weight_in is None else weight_in.shape[-1], n if weight_out is None else weight_out.shape[-2]


def _chain_size(
    weight_hh: Tensor,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    hop_weights: Tensor | None,
    hops: int,
    per_hop: bool,
) -> int:
    """The elements the backward needs of a graph: Walks::chain_size in csrc/cpu/walks.h and csrc/cuda/walks.h."""
    n, inputs, outputs = _sizes(weight_hh, weight_in, weight_out)
    if weight_in is None:
        return hops * outputs * n
    if weight_out is None:
        return hops * inputs * n
    if not per_hop and hop_weights is None and hops > 1:  # both chains at once?
        if weight_hh.is_cuda or CUDA_EMULATED:
            narrower, wider = torch.sym_min(inputs, outputs), torch.sym_max(inputs, outputs)
            both = narrower > 0 and wider <= 64 and wider - narrower <= 16
        else:
            both = inputs == 1 and outputs == 1
        if both:
            return hops * (inputs + outputs) * n
    return hops * torch.sym_min(inputs, outputs) * n


@torch.library.register_fake("rrnn_ext::walk_sums")
def _walk_sums_fake(
    weight_hh: Tensor,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    hop_weights: Tensor | None,
    alpha: float,
    hops: int,
    rectify: bool,
    per_hop: bool,
    keep_chain: bool,
) -> tuple[Tensor, Tensor]:
    _, inputs, outputs = _sizes(weight_hh, weight_in, weight_out)
    batch = weight_hh.shape[:-2]
    chain = _chain_size(weight_hh, weight_in, weight_out, hop_weights, hops, per_hop) if keep_chain else 0
    return weight_hh.new_empty(*batch, hops if per_hop else 1, outputs, inputs), weight_hh.new_empty(*batch, chain)


@torch.library.register_fake("rrnn_ext::walk_sums_backward")
def _walk_sums_backward_fake(
    grad_walks: Tensor,
    chain: Tensor,
    weight_hh: Tensor,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    def gradient(weight: Tensor | None) -> Tensor:
        return weight_hh.new_empty(*weight_hh.shape[:-2], *((0, 0) if weight is None else weight.shape[-2:]))

    return gradient(weight_hh), gradient(weight_in), gradient(weight_out)


@torch.library.register_fake("rrnn_ext::walk_penalty")
def _walk_penalty_fake(
    weight_hh: Tensor,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    hop_weights: Tensor | None,
    pair_weights: Tensor | None,
    alpha: float,
    hops: int,
    rectify: bool,
    per_hop: bool,
    squared: bool,
    keep_chain: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    walks, chain = _walk_sums_fake(
        weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop, keep_chain
    )
    return weight_hh.new_empty(weight_hh.shape[:-2]), walks, chain


@torch.library.register_fake("rrnn_ext::walk_penalty_backward")
def _walk_penalty_backward_fake(
    grad_value: Tensor, walks: Tensor, chain: Tensor, *graph_and_options: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return _walk_sums_backward_fake(walks, chain, *graph_and_options)


@torch.library.register_fake("rrnn_ext::pathway_solve")
def _pathway_solve_fake(
    weight_hh: Tensor, sources: Tensor, targets: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    return sources.new_empty(sources.shape), targets.new_empty(targets.shape), sources.new_empty(sources.shape[:1])


@torch.library.register_fake("rrnn_ext::pathway_solve_backward")
def _pathway_solve_backward_fake(scale: Tensor, weight_hh: Tensor, x: Tensor, y: Tensor, alpha: float) -> Tensor:
    return weight_hh.new_empty(weight_hh.shape)


@torch.library.register_fake("rrnn_ext::all_pairs_penalty")
def _all_pairs_penalty_fake(
    weight_hh: Tensor, pair_weights: Tensor | None, alpha: float, rectify: bool, squared: bool
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
    squared: bool,
) -> Tensor:
    return weight_hh.new_empty(weight_hh.shape)


# ----------------------------------------------------------------------------------------------------- walks and vmap


def _present(gradients: Sequence[Tensor], weights: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    return tuple(None if weight is None else gradient for gradient, weight in zip(gradients, weights, strict=True))


def fold_batch(
    batch_size: int, in_dims: Sequence[int | None], tensors: Sequence[Tensor | None], dims: Sequence[int]
) -> tuple[list[Tensor | None], Callable[[Tensor], Tensor]]:
    """Tensors of `dims` dimensions a graph, with a vmapped dimension or without, as one batch of graphs; and the
    function that gives results of such a batch the vmapped dimension, first."""
    batched = [
        tensor is not None and tensor.dim() - (at is not None) > dim
        for tensor, at, dim in zip(tensors, in_dims, dims, strict=True)
    ]
    own = next((tensor for tensor, is_batched in zip(tensors, batched, strict=True) if is_batched), None)
    inner = [] if own is None else [own.shape[0 if in_dims[batched.index(True)] != 0 else 1]]

    def fold(tensor: Tensor | None, at: int | None, dim: int, is_batched: bool) -> Tensor | None:
        if tensor is None:
            return None
        tensor = tensor.unsqueeze(0) if at is None else tensor.movedim(at, 0)
        if not is_batched and inner:
            tensor = tensor.unsqueeze(1)
        shape = tensor.shape[tensor.dim() - dim :]
        return tensor.expand(batch_size, *inner, *shape).reshape(-1, *shape)

    folded = [fold(*each) for each in zip(tensors, in_dims, dims, batched, strict=True)]
    return folded, lambda result: result.reshape(batch_size, *inner, *result.shape[1:])


class _Walks(Function):
    @staticmethod
    def forward(
        weight_hh: Tensor,
        weight_in: Tensor | None,
        weight_out: Tensor | None,
        hop_weights: Tensor | None,
        alpha: float,
        hops: int,
        rectify: bool,
        per_hop: bool,
    ) -> Any:
        return _native.walk_sums(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop, True)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        weight_hh, weight_in, weight_out, hop_weights, *ctx.options = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(weight_hh, weight_in, weight_out, hop_weights, output[1])

    @staticmethod
    def backward(ctx: Any, grad_walks: Tensor, _: Tensor) -> Any:
        weight_hh, weight_in, weight_out, hop_weights, chain = ctx.saved_tensors
        weights = weight_hh, weight_in, weight_out
        gradients = _WalksBackward.apply(grad_walks, chain, *weights, hop_weights, *ctx.options)
        return *_present(gradients, weights), None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        graph, unfold = fold_batch(info.batch_size, in_dims[:4], args[:4], (2, 2, 2, 1))
        walks, chain = _Walks.apply(*graph, *args[4:])
        return (unfold(walks), unfold(chain)), (0, 0)


class _WalksBackward(Function):
    @staticmethod
    def forward(
        grad_walks: Tensor,
        chain: Tensor,
        weight_hh: Tensor,
        weight_in: Tensor | None,
        weight_out: Tensor | None,
        hop_weights: Tensor | None,
        alpha: float,
        hops: int,
        rectify: bool,
        per_hop: bool,
    ) -> Any:
        return _native.walk_sums_backward(
            grad_walks, chain, weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        grad_walks, _, weight_hh, weight_in, weight_out, hop_weights, *ctx.options = inputs
        ctx.save_for_backward(grad_walks, weight_hh, weight_in, weight_out, hop_weights)

    @staticmethod
    def backward(ctx: Any, *grad_gradients: Tensor) -> Any:
        """Second derivatives are rare, and plain PyTorch has all of them."""
        grad_walks, weight_hh, weight_in, weight_out, hop_weights = ctx.saved_tensors
        alpha, hops, rectify, per_hop = ctx.options
        weights = weight_hh, weight_in, weight_out
        given = [weight for weight in weights if weight is not None]

        def walks(*given: Tensor) -> Tensor:
            each = iter(given)
            graph: list[Any] = [None if weight is None else next(each) for weight in weights]
            terms = reference.hop_decomposition(*graph, hops=hops, alpha=alpha, rectify=rectify)
            if per_hop:
                return terms
            return (terms if hop_weights is None else hop_weights[..., None, None] * terms).sum(-3, keepdim=True)

        def gradients(grad_walks: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            return torch.func.vjp(walks, *given)[1](grad_walks)

        pull_back = torch.func.vjp(gradients, grad_walks, *given)[1]
        pulled = pull_back(tuple(g for g, weight in zip(grad_gradients, weights, strict=True) if weight is not None))
        each = iter(pulled[1:])
        in_place = [None if weight is None else next(each) for weight in weights]
        return pulled[0], None, *in_place, None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        graph, unfold = fold_batch(info.batch_size, in_dims[:6], args[:6], (3, 1, 2, 2, 2, 1))
        return tuple(map(unfold, _WalksBackward.apply(*graph, *args[6:]))), (0, 0, 0)


def walk_sums(
    weight_hh: Tensor,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    hop_weights: Tensor | None,
    alpha: float,
    hops: int,
    rectify: bool,
    per_hop: bool,
) -> Tensor:
    """The walks (..., terms, o, i): each P_m where ``per_hop``, else their weighted sum. A side must be given."""
    return _Walks.apply(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop)[0]


# ---------------------------------------------------------------------------------------------------- penalty, eager


# Everything here is on the path of each training step, where a small call costs more than its arithmetic.
_walk_penalty = _native.walk_penalty.default
_walk_penalty_backward = _native.walk_penalty_backward.default


class _WalkPenalty(Function):
    """Of the weights, and of everything that takes no gradient as one argument more."""

    @staticmethod
    def forward(
        ctx: Any, weight_hh: Tensor, weight_in: Tensor | None, weight_out: Tensor | None, constants: tuple[Any, ...]
    ) -> Tensor:
        value, walks, chain = _walk_penalty(weight_hh, weight_in, weight_out, *constants, True)
        hop_weights, pair_weights, *ctx.options = constants
        ctx.save_for_backward(weight_hh, weight_in, weight_out, hop_weights, pair_weights, walks, chain)
        return value

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor) -> Any:
        weight_hh, weight_in, weight_out, hop_weights, pair_weights, walks, chain = ctx.saved_tensors
        graph = weight_hh, weight_in, weight_out, hop_weights, pair_weights
        if torch.is_grad_enabled():  # a derivative of this gradient is wanted
            value = walk_norm(*graph, *ctx.options)
            return *differentiable_gradients(value, graph[:3], grad_value), None
        grad_hh, grad_in, grad_out = _walk_penalty_backward(grad_value, walks, chain, *graph, *ctx.options)
        return grad_hh, None if weight_in is None else grad_in, None if weight_out is None else grad_out, None


def differentiable_gradients(
    value: Tensor, weights: Sequence[Tensor | None], grad_value: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients of a value that was computed in differentiable operations; None for what requires none."""
    wanted = [weight is not None and weight.requires_grad for weight in weights]
    given = [weight for weight, is_wanted in zip(weights, wanted, strict=True) if weight is not None and is_wanted]
    gradients = iter(torch.autograd.grad(value, given, grad_value, create_graph=True, materialize_grads=True))
    return tuple(next(gradients) if is_wanted else None for is_wanted in wanted)


def walk_norm(
    weight_hh: Tensor,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    hop_weights: Tensor | None,
    pair_weights: Tensor | None,
    alpha: float,
    hops: int,
    rectify: bool,
    per_hop: bool,
    squared: bool,
) -> Tensor:
    """The norm of :func:`walk_sums` in PyTorch's own operations, for transforms and second derivatives."""
    walks = walk_sums(weight_hh, weight_in, weight_out, None if per_hop else hop_weights, alpha, hops, rectify, per_hop)
    pairs = pair_norm(walks, pair_weights if pair_weights is None else pair_weights.unsqueeze(-3), squared)
    if per_hop and hop_weights is not None:
        pairs = hop_weights * pairs
    return pairs.sum(-1)


def pair_norm(matrices: Tensor, pair_weights: Tensor | None, squared: bool) -> Tensor:
    """sum D|M| or sum D M^2 over the last two dimensions."""
    sizes = matrices.square() if squared else matrices.abs()
    return (sizes if pair_weights is None else pair_weights * sizes).sum((-2, -1))


def walk_penalty(
    weight_hh: Tensor,
    weight_in: Tensor | None,
    weight_out: Tensor | None,
    hop_weights: Tensor | None,
    pair_weights: Tensor | None,
    alpha: float,
    hops: int,
    rectify: bool,
    per_hop: bool,
    squared: bool,
) -> Tensor:
    """The penalty of each graph, (...)."""
    if transforming():
        return walk_norm(
            weight_hh, weight_in, weight_out, hop_weights, pair_weights, alpha, hops, rectify, per_hop, squared
        )
    constants = hop_weights, pair_weights, alpha, hops, rectify, per_hop, squared
    if torch.is_grad_enabled() and (
        weight_hh.requires_grad
        or (weight_in is not None and weight_in.requires_grad)
        or (weight_out is not None and weight_out.requires_grad)
    ):
        # Function.apply without its Python part, which serves functorch and takes half of a small call's time.
        apply: Callable[..., Tensor] = super(Function, _WalkPenalty).apply
        return apply(weight_hh, weight_in, weight_out, constants)
    value, _, _ = _walk_penalty(weight_hh, weight_in, weight_out, *constants, False)
    return value
