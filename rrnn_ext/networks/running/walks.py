"""The walks of the network that runs, lag by lag, layer by layer from the read-out down to the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from rrnn_ext.networks.running.steps import Vectors
from rrnn_ext.ops._driven_by_hops import DrivenWalks
from rrnn_ext.ops._matrices import phi
from rrnn_ext.ops.driven_walks import walk_sums

#: The walks of one graph by lag, (steps, k, o, i): made, or what an op makes them from.
Walks: TypeAlias = Tensor | DrivenWalks


class DrivenLayer(NamedTuple):
    """One layer in one direction: its weights, with absolute values taken where they are wanted, and its vectors by
    lag, (steps, k, ...), lag 0 first."""

    weight_hh: Tensor  # (g n, n), with the projection
    weight_ih: Tensor  # (g n, i)
    projection: Tensor | None  # (h, n)
    vectors: Vectors


class Edges(NamedTuple):
    """The factor alpha of each edge: of a number the ops are told; a tensor is multiplied into the weights."""

    alpha: float | Tensor
    rectify: bool

    def of(self, weight: Tensor) -> Tensor:
        """phi(weight), for an op that multiplies by a number alpha by itself."""
        weight = phi(weight, self.rectify)
        return self.alpha * weight if isinstance(self.alpha, Tensor) else weight

    def whole(self, weight: Tensor) -> Tensor:
        """alpha phi(weight), for what no op of walks sees as an edge."""
        weight = phi(weight, self.rectify)
        return weight if isinstance(self.alpha, float) and self.alpha == 1.0 else self.alpha * weight


def made(walks: Walks) -> Tensor:
    return walk_sums(walks) if isinstance(walks, DrivenWalks) else walks


def driven_walks(
    layers: Sequence[Sequence[DrivenLayer]],
    readouts: Sequence[Tensor],
    *,
    edges: Edges,
    ends: int,
    readout_lag: int | None,
    having: Tensor | None = None,
) -> list[Walks]:
    """P (steps, k, o, i) by lag, for each choice of a direction in each layer.

    Args:
        layers: of each layer its directions.
        readouts: (o, h) of each direction of the last layer.
        edges: what each gives to a walk.
        ends: how many edges a walk has in the last layer besides its hops: the read-out, unless there is none, and the
            one that comes in.
        readout_lag: how many steps before the end the outputs are read; None: at every step, and P is the mean over
            those that have the lag.
        having: (steps, k), how many they are, where sequences differ in length.

    A walk in a layer that runs backwards comes from after the read-out: its lag counts in that direction. A choice of
    both directions has a graph of the walks from before and one of those from after.
    """
    if len(layers[0]) == 1 and readout_lag is not None:  # nothing comes from after the read-out
        since = layers
        if readout_lag > 0:
            since = [
                [layer._replace(vectors=layer.vectors.mapped(lambda each: each[readout_lag:])) for layer in directions]
                for directions in layers
            ]
        return [walks for _, walks in _descend(since, readouts, edges, ends)]
    # At each position the outputs that are read there; for every step, a group of networks for each of them.
    steps, count = layers[0][0].vectors.gains.shape[:2]
    positions = list(range(steps)) if readout_lag is None else [readout_lag]
    at = torch.zeros(steps, len(positions), device=readouts[0].device, dtype=readouts[0].dtype)
    at[positions, list(range(len(positions)))] = 1
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
    found: list[Walks] = []
    for choice, own_walks in _descend(spread, entering, edges, ends):
        walks = made(own_walks)
        walks = walks.flip(0) if choice[0] == 1 else walks
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
    layers: Sequence[Sequence[DrivenLayer]], entering: Sequence[Tensor], edges: Edges, ends: int
) -> Iterator[tuple[tuple[int, ...], DrivenWalks]]:
    """The choices of directions and what makes their walks, from what reads the last layer's directions: (w, h) at the
    first hop, or (steps, k, w, h). Where the first layer runs backwards, its first step is the first hop."""
    *below, last = layers
    for direction, (layer, reading) in enumerate(zip(last, entering, strict=True)):
        read = reading if layer.projection is None else reading @ layer.projection
        backwards = direction == 1
        vectors = layer.vectors.mapped(lambda each: each.flip(0)) if backwards else layer.vectors
        alpha, (gains, input_gains, carries) = edges.alpha, vectors
        if isinstance(alpha, Tensor):  # autograd, vmap and the rest see it scale each hop
            input_gains = gains if input_gains is None else input_gains
            gains, carries, alpha = alpha * gains, None if carries is None else alpha * carries, 1.0
        walks = DrivenWalks(
            weight_hh=layer.weight_hh,
            weight_ih=layer.weight_ih,
            entering=read.flip(0) if backwards else read,
            gains=gains,
            input_gains=input_gains,
            carries=carries,
            hop_weights=None,
            alpha=alpha,
            edges=ends,
            per_hop=True,
        )
        if not below:
            yield (direction,), walks
            continue
        down = walk_sums(walks)
        down = down.flip(0) if backwards else down
        width = down.shape[-1] // len(below[-1])
        for choice, found in _descend(below, down.split(width, -1), edges, 1):
            yield (*choice, direction), found
