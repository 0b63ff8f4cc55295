"""A network's layers of spiking neurons, and what one of them receives and sends while the network runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rrnn_ext.spiking.adapters import SpikingLayer, spiking_layer

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
_MOST_NEURONS = 256  # of a sample, whose currents are kept


class Layer(NamedTuple):
    """Spiking neurons and the modules whose weights bring them their input."""

    name: str
    module: nn.Module
    spiking: SpikingLayer
    feeding: list[nn.Linear | nn.Conv1d | nn.Conv2d]
    whole_time: bool  # what a call takes is (T, samples, ...), not one step (samples, ...)


class Recording(NamedTuple):
    """Of a layer, while the network runs on data."""

    current: Tensor  # (T, samples, neurons) of some of the neurons, float64
    active: float  # share of the feeding modules' inputs that are not 0
    chance: float  # mean of the layer's spikes
    looks: int  # at a neuron, of which that is the mean


class _Enough(Exception):
    """What is looked for has been seen: the rest of the network need not run."""


def layers_of(network: nn.Module, data: Any, dt: float | None) -> list[Layer]:
    """In the order of their first calls."""
    spiking: dict[nn.Module, tuple[str, SpikingLayer]] = {}
    for name, module in network.named_modules():
        layer = spiking_layer(module, dt)
        if layer is not None:
            spiking[module] = name, layer
    inside = {part for module in spiking for part in module.modules()}
    called: dict[nn.Module, int] = {}  # how often

    def note(module: nn.Module, _: Any) -> None:
        called[module] = called.get(module, 0) + 1

    weighted = [module for module in network.modules() if isinstance(module, _WEIGHTED) and module not in inside]
    with _hooks(*(module.register_forward_pre_hook(note) for module in [*weighted, *spiking])):
        network(data)
    layers = []
    feeding: list[nn.Linear | nn.Conv1d | nn.Conv2d] = []
    for module in called:
        if isinstance(module, _WEIGHTED):
            feeding.append(module)
            continue
        name, layer = spiking[module]
        whole_time = called[module] == 1 if layer.whole_time is None else layer.whole_time
        if whole_time and called[module] > 1:
            raise ValueError(f"network must call {name or 'its neurons'} in one place, got {called[module]} calls")
        if not feeding:
            raise ValueError(f"network must have an nn.Linear, nn.Conv1d or nn.Conv2d before {name or 'its neurons'}")
        layers.append(Layer(name, module, layer, feeding, whole_time))
        feeding = []
    if not layers:
        raise ValueError("network must have modules of spiking neurons that are known, got none")
    _check_weights(layers)
    return layers


def _check_weights(layers: list[Layer]) -> None:
    """They are to be filled, layer by layer."""
    owners: dict[int, str] = {}
    for layer in layers:
        own = {id(module.weight): module.weight for module in layer.feeding}
        if layer.spiking.recurrent is not None:
            own[id(layer.spiking.recurrent)] = layer.spiking.recurrent
        for key, weight in own.items():
            if not isinstance(weight, nn.Parameter):
                raise ValueError(
                    f"the weights of {layer.name or 'the neurons'} must be Parameters, to be filled, got one that is "
                    "computed, as by pruning or a parametrization: calibrate before that"
                )
            if key in owners:
                raise ValueError(f"the weights of {layer.name} must be its own, got one that {owners[key]} has, too")
        owners |= dict.fromkeys(own, layer.name)


def record(network: nn.Module, data: Any, layer: Layer, *, currents: bool = True) -> Recording:
    steps: list[Tensor] = []
    spikes, inputs = _Mean(), _Mean()

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if currents:
            steps.append(_some_neurons(_over_time(arguments[0], layer)))

    def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        spikes.add(output[0] if isinstance(output, tuple) else output)
        if layer.whole_time:
            raise _Enough

    def feeds(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.add(arguments[0] != 0)

    with (
        _hooks(
            layer.module.register_forward_pre_hook(before),
            layer.module.register_forward_hook(after),
            *(module.register_forward_pre_hook(feeds) for module in layer.feeding),
        ),
        suppress(_Enough),
    ):
        network(data)
    return Recording(torch.cat(steps) if currents else torch.empty(0), inputs.mean, spikes.mean, spikes.count)


def _over_time(current: Tensor, layer: Layer) -> Tensor:
    """(T, samples, ...), with T = 1 where a call is one step."""
    if layer.whole_time and current.dim() < 3:
        raise ValueError(
            f"{layer.name or 'the neurons'} must be given all of time at once, (T, samples, ...), or be called once "
            f"for each step, (samples, ...), got one call with {tuple(current.shape)}"
        )
    return current if layer.whole_time else current.unsqueeze(0)


def _some_neurons(current: Tensor) -> Tensor:
    flat = current.detach().flatten(2)
    if flat.shape[2] > _MOST_NEURONS:
        flat = flat[..., torch.linspace(0, flat.shape[2] - 1, _MOST_NEURONS, device=flat.device).long()]
    return flat.double().cpu()


class _Mean:
    def __init__(self) -> None:
        self._sum, self.count = 0.0, 0

    def add(self, values: Tensor) -> None:
        self._sum += values.detach().double().sum().item()
        self.count += values.numel()

    @property
    def mean(self) -> float:
        return self._sum / max(self.count, 1)


@contextmanager
def _hooks(*handles: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
