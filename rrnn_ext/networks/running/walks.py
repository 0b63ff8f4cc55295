"""The walks of the network that runs, lag by lag, layer by layer from the read-out down to the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.networks.running.steps import Vectors
from rrnn_ext.ops._matrices import phi
from rrnn_ext.ops.driven_walks import driven_chain


class DrivenLayer(NamedTuple):
    """One layer in one direction: its weights, with absolute values taken and alpha multiplied in as an edge wants it,
    and its vectors by lag, (steps, k, ...), lag 0 first."""

    weight_hh: Tensor  # (g n, n), with the projection
    weight_ih: Tensor  # (g n, i)
    projection: Tensor | None  # (h, n)
    vectors: Vectors


def edge(weight: Tensor, alpha: float | Tensor, rectify: bool) -> Tensor:
    """What a weight gives to a walk that passes it: alpha phi(weight)."""
    weight = phi(weight, rectify)
    return weight if isinstance(alpha, float) and alpha == 1.0 else alpha * weight


def driven_walks(
    layers: Sequence[Sequence[DrivenLayer]],
    readouts: Sequence[Tensor],
    *,
    alpha: float | Tensor,
    readout_lag: int | None,
    having: Tensor | None = None,
) -> list[Tensor]:
    """P (steps, k, o, i) by lag, for each choice of a direction in each layer.

    Args:
        layers: of each layer its directions.
        readouts: (o, h) of each direction of the last layer.
        readout_lag: how many steps before the end the outputs are read; None: at every step, and P is the mean over
            those that have the lag.
        having: (steps, k), how many they are, where sequences differ in length.

    A walk in a layer that runs backwards comes from after the read-out: its lag counts in that direction. A choice of
    both directions has a graph of the walks from before and one of those from after.
    """
    steps = len(layers[0][0].vectors.gains)
    if len(layers[0]) == 1 and readout_lag is not None:  # nothing comes from after the read-out
        since = [
            [layer._replace(vectors=layer.vectors.mapped(lambda each: each[readout_lag:])) for layer in directions]
            for directions in layers
        ]
        count = layers[0][0].vectors.gains.shape[1]
        entering = [readout.expand(1, count, *readout.shape) for readout in readouts]
        return [walks for _, walks in _descend(since, entering, alpha)]
    # At each position the outputs that are read there; for every step, a group of networks for each of them.
    positions = list(range(steps)) if readout_lag is None else [readout_lag]
    at = torch.zeros(steps, len(positions), device=readouts[0].device, dtype=readouts[0].dtype)
    at[positions, list(range(len(positions)))] = 1
    count = layers[0][0].vectors.gains.shape[1]
    spread = [
        [
            layer._replace(vectors=layer.vectors.mapped(lambda each: each.repeat_interleave(len(positions), 1)))
            for layer in directions
        ]
        for directions in layers
    ]
    entering = [
        (at[:, None, :, None, None] * readout).expand(-1, count, -1, -1, -1).flatten(1, 2) for readout in readouts
    ]
    found = []
    for choice, walks in _descend(spread, entering, alpha):
        by_position = walks.unflatten(1, (count, len(positions)))  # (steps, k, positions, o, i)
        past = by_position.new_zeros(steps, count, *walks.shape[-2:])
        future = torch.zeros_like(past)
        for column, position in enumerate(positions):
            own = by_position[:, :, column]
            past = past + _from_lag(own[position:], 0, steps)
            future = future + _from_lag(own[:position].flip(0), 1, steps)
        if readout_lag is None:
            by_lag = torch.arange(steps, 0, -1, device=past.device).unsqueeze(1) if having is None else having
            by_lag = by_lag.clamp(min=1).to(past.dtype).unsqueeze(-1).unsqueeze(-1)
            past, future = past / by_lag, future / by_lag
        if not any(choice):
            found.append(past)
        elif all(choice):
            found.append(past + future)  # of the first, the read-out's own step alone
        else:
            found += [past, future]
    return found


def _from_lag(walks: Tensor, first: int, steps: int) -> Tensor:
    return torch.nn.functional.pad(walks, (0, 0) * (walks.dim() - 1) + (first, steps - first - len(walks)))


def _descend(
    layers: Sequence[Sequence[DrivenLayer]], entering: Sequence[Tensor], alpha: float | Tensor
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The choices of directions and their (steps, k, w, i), from what reads the last layer's directions,
    (1 or steps, k, w, h)."""
    *below, last = layers
    for direction, (layer, reading) in enumerate(zip(last, entering, strict=True)):
        read = reading if layer.projection is None else reading @ layer.projection
        backwards = direction == 1
        gains, input_gains, carries = layer.vectors.mapped(lambda each: each.flip(0)) if backwards else layer.vectors
        chain = driven_chain(
            layer.weight_hh,
            gains[:-1],
            None if carries is None else carries[:-1],
            read.flip(0) if backwards else read,
            alpha,
        )
        read_inputs = input_gains.unflatten(-1, (-1, chain.shape[-1])).unsqueeze(2) * chain.unsqueeze(-2)
        read_inputs = read_inputs.squeeze(-3) if chain.shape[-2] == 1 else read_inputs.sum(-3)
        down = read_inputs.flatten(-2) @ layer.weight_ih
        down = down.flip(0) if backwards else down
        if not below:
            yield (direction,), down
            continue
        width = down.shape[-1] // len(below[-1])
        for choice, walks in _descend(below, down.split(width, -1), alpha):
            yield (*choice, direction), walks
