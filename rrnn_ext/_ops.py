"""Loads the native library, and makes its ops what PyTorch expects of an op: fake kernels; and what their gradients
share.

Each op takes one graph, ``weight_hh`` (n, n), ``weight_in`` (n, i) or None, ``weight_out`` (o, n) or None, or a batch
of them, (b, n, n) and so on, in float32 or float64. ``alpha`` is a float, ``hop_weights`` (hops,) or (b, hops).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import Function, forward_ad

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

_BATCHED: Any = tuple(map(torch._C._parse_dispatch_key, ("Batched", "FuncTorchBatched")))
_NO_CONTEXT = nullcontext()  # one for all: making one takes as long as a check


def may_be_batched() -> bool:
    """Whether a tensor may have a dimension more than it shows, or come to have one."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def transforming(tensor: Tensor) -> bool:
    """Whether something is looking at what runs now, or at this tensor, that has to see PyTorch's own operations and
    ops with rules: torch.compile, torch.func, forward-mode derivatives, a dispatch mode or a tensor without values."""
    return (
        may_be_batched()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or not (type(tensor) is Tensor or type(tensor) is nn.Parameter)
        or tensor.is_meta
    )


def has_values(tensor: Tensor) -> bool:
    """Whether its values can be looked at: neither unknown nor to be waited for."""
    return not (
        may_be_batched()
        or torch._C._len_torch_dispatch_stack() > 0
        or tensor.is_cuda
        or tensor.is_meta
        or isinstance(tensor, FakeTensor)
    )


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Weights are computed in their own dtype."""
    if device == "meta" or not torch.is_autocast_enabled(device):
        return _NO_CONTEXT
    return torch.autocast(device, enabled=False)


_library = torch.library.Library("rrnn_ext", "FRAGMENT")


class Differentiable(Function):
    """The derivatives of an op: backward, vmap, and ``tangent``, from which its jvp is made."""

    tangent: Callable[..., Any]


def derivatives_of(op: Any) -> Callable[[type[Differentiable]], type[Differentiable]]:
    """Gives the op the derivatives of the class: in eager mode, in transforms, and in every graph that it is part of.

    Call the op, not the class. Under torch.func it goes to the rules of the class before anything is unwrapped; else it
    gets there as PyTorch's own ops get to theirs.
    """

    def forward(*arguments: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op(*arguments)

    def register(function: type[Differentiable]) -> type[Differentiable]:
        rules: Any = function
        rules.forward, rules.jvp = staticmethod(forward), staticmethod(_forward_rule(function.tangent))
        for key in ("Autograd", "FuncTorchDynamicLayerFrontMode"):
            _library.impl(op, function.apply, key)
        return function

    return register


def _forward_rule(tangent: Callable[..., Any]) -> Callable[..., Any]:
    """``tangent`` of (ctx, saved tensors, tangents). PyTorch calls a jvp with derivatives of forward mode switched off,
    and with saved tensors that carry their tangents; derivatives of derivatives need them on, of the plain tensors."""

    @functools.wraps(tangent)
    def jvp(ctx: Any, *tangents: Any) -> Any:
        saved = [None if each is None else _primal(each) for each in ctx.saved_tensors]
        with forward_ad._set_fwd_grad_enabled(True):
            return tangent(ctx, saved, *tangents)

    return jvp


def _primal(tensor: Tensor) -> Tensor:
    """The tensor without its tangent of the innermost level."""
    interpreter = torch._C._functorch.peek_interpreter_stack()
    if interpreter is None:
        return forward_ad.unpack_dual(tensor, level=0).primal  # the only level there is
    return torch._C._functorch._unwrap_for_grad(tensor, interpreter.level())


def is_batched(gradient: Tensor) -> bool:
    """Whether it stands for many upstream gradients at once, of torch.func.vmap or of is_grads_batched."""
    keys = torch._C._dispatch_keys(gradient)
    return any(keys.has(key) for key in _BATCHED)


def python_op(function: Callable[..., Any]) -> Any:
    """An op of the function's name that changes no argument and computes in the dtype of its weights: a backward may be
    called, or compiled, where autocast is on."""

    @functools.wraps(function)
    def in_own_dtype(*arguments: Any) -> Any:
        with without_autocast(arguments[0].device.type):
            return function(*arguments)

    name = function.__name__.strip("_")
    _library.define(name + torch.library.infer_schema(function, mutates_args=()), tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, in_own_dtype, "CompositeExplicitAutograd")
    return getattr(_native, name).default


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


# -------------------------------------------------------------------------------------------------------------- vmap


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
