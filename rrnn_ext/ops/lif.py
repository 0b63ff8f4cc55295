"""Leaky integrate-and-fire neurons over time: fake kernels, derivatives and vmap. csrc/ops/lif.cpp has the shapes.

The derivative of a spike is the surrogate's, so the gradient is one that is meant, not one of what is computed: it has
neither forward-mode derivatives nor second ones, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from rrnn_ext.ops import native
from rrnn_ext.ops._registration import Differentiable, derivatives_of, fold_batch

lif = native.lif.default
_lif_backward = native.lif_backward.default

#: What ``keep`` of :func:`lif` means.
KEEP_NOTHING, KEEP_POTENTIALS, KEEP_SYNAPTIC_CURRENTS = range(3)

_NO_HIGHER = (
    "lif has no {} derivatives: that of a spike is a surrogate's, which back-propagation alone puts in its place; "
    "use backward() or torch.autograd.grad without create_graph"
)


@torch.library.register_fake("rrnn_ext::lif")
def _lif_fake(
    current: Tensor,
    weight_rec: Tensor | None,
    levels: Tensor | None,
    leak: Tensor,
    leak_syn: Tensor | None,
    threshold: Tensor,
    reset: Tensor | None,
    potential: Tensor,
    synaptic: Tensor | None,
    initial_spikes: Tensor | None,
    waiting: Tensor | None,
    refractory: int,
    surrogate: int,
    slope: float,
    keep: int,
) -> tuple[Tensor, ...]:
    groups, _, samples, n = current.shape

    def record(wanted: bool) -> Tensor:
        return current.new_empty(current.shape if wanted else (groups, 0))

    def moment(wanted: bool) -> Tensor:
        return current.new_empty((groups, samples, n) if wanted else (groups, 0))

    return (
        record(True),
        record(keep >= KEEP_POTENTIALS),
        record(keep >= KEEP_SYNAPTIC_CURRENTS),
        moment(True),
        moment(leak_syn is not None),
        moment(waiting is not None),
    )


@torch.library.register_fake("rrnn_ext::lif_backward")
def _lif_backward_fake(
    grad_spikes: Tensor | None,
    grad_potential: Tensor | None,
    grad_synaptic: Tensor | None,
    spikes: Tensor,
    potentials: Tensor,
    synaptics: Tensor | None,
    last_waiting: Tensor | None,
    weight_rec: Tensor | None,
    leak: Tensor,
    leak_syn: Tensor | None,
    threshold: Tensor,
    reset: Tensor | None,
    potential: Tensor,
    synaptic: Tensor | None,
    waiting: Tensor | None,
    refractory: int,
    surrogate: int,
    slope: float,
    parameters: bool,
) -> tuple[Tensor, ...]:
    groups, _, samples, n = spikes.shape

    def moment(wanted: bool) -> Tensor:
        return spikes.new_empty((groups, samples, n) if wanted else (groups, 0))

    return (
        spikes.new_empty(spikes.shape),
        spikes.new_empty((groups, 0) if weight_rec is None else (groups, n, n)),
        moment(parameters),
        moment(parameters and leak_syn is not None),
        moment(parameters),
        moment(parameters and reset is not None),
        moment(True),
        moment(leak_syn is not None),
    )


@derivatives_of(lif)
class _Lif(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, weight_rec, _, leak, leak_syn, threshold, reset, potential, synaptic, initial_spikes, waiting, *rest = inputs
        spikes, potentials, synaptics, _, _, last_waiting = output
        *ctx.options, keep = rest
        ctx.set_materialize_grads(False)  # zeros for each step of time would be a tensor of their own
        ctx.mark_non_differentiable(potentials, synaptics, last_waiting)
        kept = synaptics if keep >= KEEP_SYNAPTIC_CURRENTS else None, None if waiting is None else last_waiting
        ctx.save_for_backward(
            *(spikes, potentials, *kept, weight_rec, leak, leak_syn, threshold, reset),
            *(potential, synaptic, initial_spikes, waiting),
        )

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor | None, *grads: Tensor | None) -> Any:
        *saved, initial_spikes, waiting = ctx.saved_tensors
        _, _, _, _, weight_rec, leak, leak_syn, threshold, reset, _, _ = saved
        if grad_spikes is not None and grad_spikes.shape[1] > 1 and grad_spikes.stride(1) == 0:
            grad_spikes = grad_spikes[:, :1]  # of a sum or a mean over time, say
        wants = ctx.needs_input_grad
        parameters = any(wants[3:7])
        grad_current, grad_weight, *of_parameters, grad_potential, grad_synaptic = _lif_backward(
            grad_spikes, grads[2], grads[3], *saved, waiting, *ctx.options, parameters
        )
        grad_initial = None
        if weight_rec is not None and grad_current.shape[1] > 0:
            first = grad_current[:, 0]
            if wants[1]:
                grad_weight = grad_weight + first.mT @ initial_spikes
            if wants[9]:
                grad_initial = first @ weight_rec
        grad_leak, grad_leak_syn, grad_threshold, grad_reset = (
            each.sum(1) if parameters and given is not None else None
            for each, given in zip(of_parameters, (leak, leak_syn, threshold, reset), strict=True)
        )
        return (
            *(grad_current, grad_weight if wants[1] else None, None, grad_leak, grad_leak_syn, grad_threshold),
            *(grad_reset, grad_potential, grad_synaptic if leak_syn is not None else None, grad_initial, None),
            *(None, None, None, None),
        )

    @staticmethod
    def tangent(ctx: Any, saved: Sequence[Any], *tangents: Any) -> NoReturn:
        raise NotImplementedError(_NO_HIGHER.format("forward-mode"))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        tensors, unfold = fold_batch(info.batch_size, in_dims[:11], args[:11], (3, 2, 3, 1, 1, 1, 1, 2, 2, 2, 2))
        return tuple(map(unfold, lif(*tensors, *args[11:]))), (0,) * 6


@derivatives_of(_lif_backward)
class _LifBackward(Differentiable):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> NoReturn:
        raise NotImplementedError(_NO_HIGHER.format("second"))

    @staticmethod
    def tangent(ctx: Any, saved: Sequence[Any], *tangents: Any) -> NoReturn:
        raise NotImplementedError(_NO_HIGHER.format("forward-mode"))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        dims = (3, 2, 2, 3, 3, 3, 2, 2, 1, 1, 1, 1, 2, 2, 2)
        tensors, unfold = fold_batch(info.batch_size, in_dims[:15], args[:15], dims)
        return tuple(map(unfold, _lif_backward(*tensors, *args[15:]))), (0,) * 8
