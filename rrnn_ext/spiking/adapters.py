"""What a module of spiking neurons computes, read off it: of this library's, and of others' by their attributes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rrnn_ext.spiking._layer_neuron import LayerNeuron, layer_neuron
from rrnn_ext.spiking.neurons import LIF


class SpikingLayer(NamedTuple):
    """A module of leaky integrate-and-fire neurons. Values that differ between its neurons stand as their mean."""

    neuron: LayerNeuron
    gain: float  # by which the current is multiplied before it reaches the potential
    whole_time: bool | None  # it takes (T, ...), not one step at a time; None: either, as it is called
    recurrent: Tensor | None = None  # weights (n, n) of its own
    recurrent_bias: Tensor | None = None  # (n,)


def spiking_layer(module: nn.Module, dt: float | None = None) -> SpikingLayer | None:
    """None if the module has no spiking neurons.

    Known are :class:`rrnn_ext.spiking.LIF`; modules with `beta`, `threshold` and `reset_mechanism`, as snntorch's
    Leaky, RLeaky, Synaptic and RSynaptic have them, which return spikes, alone or first (`dt`, in seconds, says how
    long a step of theirs is, which makes tau = -dt / ln(beta)): called many times, a step (samples, ...) at a time, or
    once, with all of time (T, samples, ...); and those with the parameters `p.tau_mem_inv`, `p.tau_syn_inv`, `p.v_th`
    and their own `dt`, as norse's LIFCell and LIF have them.
    """
    if isinstance(module, LIF):
        return _own(module)
    if all(hasattr(module, name) for name in ("beta", "threshold", "reset_mechanism")):
        return _by_decay(module, dt)
    if all(hasattr(getattr(module, "p", None), name) for name in ("tau_mem_inv", "tau_syn_inv", "v_th")):
        return _by_time_constants(module)
    return None


def _own(module: LIF) -> SpikingLayer:
    reset = 0.0 if isinstance(module.reset, str) else _mean(module.reset)
    neuron = layer_neuron(
        tau=_mean(module.tau),
        dt=module.dt,
        tau_syn=0.0 if module.tau_syn is None else _mean(module.tau_syn),
        threshold=_mean(module.threshold),
        reset=reset,
        refractory=module.refractory,
    )
    return SpikingLayer(neuron, 1.0, whole_time=True, recurrent=module.weight_rec)


def _by_decay(module: Any, dt: float | None) -> SpikingLayer:
    if dt is None:
        raise ValueError(f"dt must be given for {type(module).__name__}, which has no time step of its own")
    recurrent = getattr(module, "recurrent", None)
    for name in ("beta", "alpha"):
        decay = _mean(getattr(module, name, 0.5))
        if not 0 < decay < 1:
            raise ValueError(f"{name} of {type(module).__name__} must be above 0 and below 1, got {decay:g}")
    neuron = layer_neuron(
        tau=-dt / math.log(_mean(module.beta)),
        dt=dt,
        tau_syn=-dt / math.log(_mean(module.alpha)) if hasattr(module, "alpha") else 0.0,
        threshold=_mean(module.threshold),
        reset=0.0,
        refractory=0.0,
    )
    if not isinstance(recurrent, nn.Linear):
        return SpikingLayer(neuron, 1.0, whole_time=None)
    return SpikingLayer(neuron, 1.0, whole_time=None, recurrent=recurrent.weight, recurrent_bias=recurrent.bias)


def _by_time_constants(module: Any) -> SpikingLayer:
    """Euler steps, v += dt / tau_mem (v_leak - v + i): the potential from v_leak up."""
    p, dt = module.p, float(module.dt)
    if hasattr(module, "recurrent_weights"):
        raise TypeError(f"{type(module).__name__} holds the weights of its input itself, which is not supported")
    gain, decay = dt * _mean(p.tau_mem_inv), dt * _mean(p.tau_syn_inv)
    rest = _mean(p.v_leak)
    neuron = layer_neuron(
        tau=-dt / math.log1p(-gain),
        dt=dt,
        tau_syn=-dt / math.log1p(-decay) if decay < 1 else 0.0,
        threshold=_mean(p.v_th) - rest,
        reset=_mean(p.v_reset) - rest,
        refractory=0.0,
    )
    return SpikingLayer(neuron, gain, whole_time=hasattr(module, "record_states"))


def _mean(value: float | Tensor) -> float:
    return torch.as_tensor(value, dtype=torch.float64).mean().item()
