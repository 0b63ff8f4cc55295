"""Leaky integrate-and-fire neurons as a user would run them elsewhere: what ``spiking.lif`` is measured against.

Every peer steps through ``current`` (T, B, n) from rest, with a reset to 0 through which no gradient flows, and the
surrogate ``1 / (1 + |u|)^2``; it returns the spikes (T, B, n) and leaves the gradient to autograd. ``weight_rec``
(n, n) brings the spikes of a step to the next one.

How a loop takes a step's input decides: the backward of ``current[t]``, which tutorials have, makes a gradient as large
as ``current`` for each step; that of ``current.unbind()`` makes one. All peers go the second way, and one both.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeAlias

import torch
from torch import Tensor

LEAK = 0.95
SLOPE = 1.0

Run: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        return grad / (1 + distance.abs()).square()


def _step(current: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
    potential = LEAK * potential + current
    spikes: Tensor = _Spike.apply(potential - 1)
    return spikes, potential * (1 - spikes.detach())


def _indexed(current: Tensor) -> Iterator[Tensor]:
    for step in range(current.shape[0]):
        yield current[step]


def _loop(step: Callable[[Tensor, Any], tuple[Tensor, Any]], indexed: bool, state: Any = torch.zeros_like) -> Run:
    """Through time with a function of one step, of an input and the state."""

    def run(current: Tensor, weight_rec: Tensor | None) -> Tensor:
        now, record = state(current[0]), [torch.zeros_like(current[0])]
        for moment in _indexed(current) if indexed else current.unbind():
            given = moment if weight_rec is None else moment + record[-1] @ weight_rec.mT
            spikes, now = step(given, now)
            record.append(spikes)
        return torch.stack(record[1:])

    return run


def eager(indexed: bool) -> Run:
    return _loop(_step, indexed)


def compiled(indexed: bool) -> Run:
    """The step under torch.compile."""
    torch._dynamo.reset()
    return _loop(torch.compile(_step, dynamic=False, fullgraph=True), indexed)


def snntorch(indexed: bool) -> Run:
    module = importlib.import_module("snntorch")
    surrogate = importlib.import_module("snntorch.surrogate")
    leaky = module.Leaky(beta=LEAK, spike_grad=surrogate.fast_sigmoid(slope=SLOPE), reset_mechanism="zero")
    return _loop(leaky, indexed)


def norse(indexed: bool) -> Run:
    """Its neurons without a synaptic current."""
    box: ModuleType = importlib.import_module("norse.torch.functional.lif_box")

    def reset(spikes: Tensor, potential: Tensor, to: Tensor, threshold: Tensor) -> Tensor:
        return (1 - spikes.detach()) * potential  # its own passes a gradient

    dt = 1e-3
    inverse = torch.tensor((1 - LEAK) / dt)
    parameters = box.LIFBoxParameters(tau_mem_inv=inverse, method="super", reset_method=reset)

    def step(current: Tensor, state: Any) -> tuple[Tensor, Any]:
        # It takes dt / tau of its input.
        return box.lif_box_feed_forward_step(current / (1 - LEAK), state, parameters, dt)

    return _loop(step, indexed, lambda moment: box.LIFBoxFeedForwardState(torch.zeros_like(moment)))


def spikingjelly(indexed: bool) -> Run:
    """Where there are no recurrent weights, its own mode of many steps is its way through time."""
    neuron = importlib.import_module("spikingjelly.activation_based.neuron")
    surrogate = importlib.import_module("spikingjelly.activation_based.surrogate")
    functional = importlib.import_module("spikingjelly.activation_based.functional")

    class Surrogate(surrogate.SoftSign):  # type: ignore[name-defined, misc]
        """Its soft sign, which is half its slope times the one that the others have, at their height."""

        @staticmethod
        def spiking_function(x: Tensor, alpha: float) -> Tensor:
            return _Spike.apply(x)

    def layer(mode: str) -> Any:
        options = {"decay_input": False, "v_reset": 0.0, "detach_reset": True, "step_mode": mode}
        return neuron.LIFNode(tau=1 / (1 - LEAK), surrogate_function=Surrogate(), **options)

    many, one = layer("m"), layer("s")

    def run(current: Tensor, weight_rec: Tensor | None) -> Tensor:
        functional.reset_net(many)
        functional.reset_net(one)
        if weight_rec is None and not indexed:
            return many(current)
        return _loop(lambda given, state: (one(given), state), indexed)(current, weight_rec)

    return run


#: Those that have to be installed have the name of their package.
PEERS: dict[str, Callable[[bool], Run]] = {
    "eager loop": eager,
    "compiled step": compiled,
    "snntorch": snntorch,
    "norse": norse,
    "spikingjelly": spikingjelly,
}
