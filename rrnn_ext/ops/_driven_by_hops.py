"""Walks through a network that runs and their derivatives in PyTorch's operations, hop by hop: what may be
differentiated any number of times. rrnn_ext.ops.driven_walks has the formula.

A state is (k, w, parts, n), and what meets the rows of the weights (k, w, g n).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from rrnn_ext.ops._matrices import of_weight


class DrivenWalks(NamedTuple):
    """What the ops of walks take, in the order of their schemas, of k networks that share their weights."""

    weight_hh: Tensor  # (g n, n), the gates' weights one after the other
    weight_ih: Tensor  # (g n, i)
    entering: Tensor  # (w, n), what reads each network at the first hop; or (hops, k, w, n)
    gains: Tensor  # (hops, k, parts, g n), of the rows of weight_hh for each part of the state after the step
    input_gains: Tensor | None  # likewise of weight_ih; None: the gains
    carries: Tensor | None  # (hops, k, parts, parts, n), from a part after the step, first, to one before it
    hop_weights: Tensor | None  # (hops,) of the sum
    alpha: float  # of each hop
    edges: int  # of a walk besides its hops that have a factor alpha each
    per_hop: bool

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """Those that have gradients."""
        return self[:6]

    @property
    def inputs_scaled_by(self) -> Tensor:
        return self.gains if self.input_gains is None else self.input_gains


def walks_by_hops(walks: DrivenWalks) -> Tensor:
    """(terms, k, w, i)."""
    states = _states(walks)
    found = [
        _scaled(gains, state) @ walks.weight_ih
        for gains, state in zip(walks.inputs_scaled_by.unbind(0), states, strict=True)
    ]
    stacked = walks.alpha**walks.edges * torch.stack(found)
    return stacked if walks.per_hop else _weighted(stacked, walks.hop_weights)


def moved_by_hops(walks: DrivenWalks, tangents: Sequence[Tensor | None]) -> Tensor:
    """The derivative of the walks in the direction of tangents, each None where its tensor does not move."""
    d_hh, d_ih, d_entering, d_gains, d_input_gains, d_carries = tangents
    d_input_gains = d_gains if walks.input_gains is None else d_input_gains
    states, input_gains = _states(walks), walks.inputs_scaled_by
    moving = torch.zeros_like(states[0]) if d_entering is None else _entering(walks, d_entering, 0)
    found = []
    for hop, state in enumerate(states):
        moved = _moved_rows(input_gains, d_input_gains, hop, state, moving) @ walks.weight_ih
        found.append(moved if d_ih is None else moved + _scaled(input_gains[hop], state) @ d_ih)
        if hop + 1 == len(states):
            break
        after = _moved_rows(walks.gains, d_gains, hop, state, moving) @ walks.weight_hh
        if d_hh is not None:
            after = after + _scaled(walks.gains[hop], state) @ d_hh
        after = _first_part(after, state.shape[-2])
        if walks.carries is not None:
            after = after + _carried(walks.carries[hop], moving)
        if d_carries is not None:
            after = after + _carried(d_carries[hop], state)
        moving = walks.alpha * after
        if d_entering is not None and d_entering.dim() > 2:
            moving = moving + _entering(walks, d_entering, hop + 1)
    stacked = walks.alpha**walks.edges * torch.stack(found)
    return stacked if walks.per_hop else _weighted(stacked, walks.hop_weights)


def gradients_by_hops(walks: DrivenWalks, grad_walks: Tensor) -> tuple[Tensor | None, ...]:
    """Of each of ``walks.tensors``, from that of the walks."""
    states, alpha, units = _states(walks), walks.alpha, walks.weight_hh.shape[1]
    hops, scale = len(states), alpha**walks.edges
    by_hop = grad_walks if walks.per_hop else grad_walks.expand(hops, -1, -1, -1)
    if walks.hop_weights is not None and not walks.per_hop:
        factors = walks.hop_weights.view(-1, 1, 1, 1)
        by_hop = of_weight(factors * by_hop, factors)
    lifted = scale * (by_hop @ walks.weight_ih.mT)  # what the rows of the input weights have
    here = _gathered(walks.inputs_scaled_by[hops - 1], lifted[hops - 1], units)
    links, brought = [here], [torch.zeros_like(lifted[0])]
    for hop in range(hops - 2, -1, -1):
        of_rows = here[..., 0, :] @ walks.weight_hh.mT
        after = _gathered(walks.gains[hop], of_rows, units)
        if walks.carries is not None:
            after = after + (walks.carries[hop].unsqueeze(1) * here.unsqueeze(-3)).sum(-2)
        here = _gathered(walks.inputs_scaled_by[hop], lifted[hop], units) + alpha * after
        links.append(here)
        brought.append(of_rows)
    chain, reverse, rows = torch.stack(states), torch.stack(links[::-1]), torch.stack(brought[::-1])
    of_hh = torch.zeros_like(walks.weight_hh)

    def vectors(each: Tensor) -> Tensor:  # of all hops
        return each.reshape(-1, each.shape[-1])

    if hops > 1:
        scaled = torch.stack([_scaled(walks.gains[hop], states[hop]) for hop in range(hops - 1)])
        of_hh = alpha * vectors(scaled).mT @ vectors(reverse[1:, ..., 0, :])
    incoming = torch.stack(
        [_scaled(gains, state) for gains, state in zip(walks.inputs_scaled_by.unbind(0), states, strict=True)]
    )
    of_ih = scale * vectors(incoming).mT @ vectors(by_hop)
    of_entering = reverse[..., 0, :] if walks.entering.dim() > 2 else reverse[0, ..., 0, :].sum(0)

    def of_gains(brought: Tensor) -> Tensor:
        by_gate = _split(brought, units).unsqueeze(-3)
        return _joined((chain.unsqueeze(-2) * by_gate).sum(2))

    gains, input_gains = alpha * of_gains(rows), of_gains(lifted)
    of_carries = None
    if walks.carries is not None:
        after = torch.cat([reverse[1:], torch.zeros_like(reverse[:1])])
        of_carries = alpha * (chain.unsqueeze(-2) * after.unsqueeze(-3)).sum(2)
    if walks.input_gains is None:
        return of_hh, of_ih, of_entering, gains + input_gains, None, of_carries
    return of_hh, of_ih, of_entering, gains, input_gains, of_carries


def _states(walks: DrivenWalks) -> list[Tensor]:
    """X_0, X_1, .. of each hop."""
    states = [_entering(walks, walks.entering, 0)]
    for hop in range(walks.gains.shape[0] - 1):
        after = _first_part(_scaled(walks.gains[hop], states[-1]) @ walks.weight_hh, walks.gains.shape[2])
        if walks.carries is not None:
            after = after + _carried(walks.carries[hop], states[-1])
        after = walks.alpha * after
        states.append(after if walks.entering.dim() == 2 else after + _entering(walks, walks.entering, hop + 1))
    return states


def _entering(walks: DrivenWalks, entering: Tensor, hop: int) -> Tensor:
    _, networks, parts, _ = walks.gains.shape
    return _first_part(entering.expand(networks, -1, -1) if entering.dim() == 2 else entering[hop], parts)


def _first_part(values: Tensor, parts: int) -> Tensor:
    """(k, w, n) as a state whose other parts are zeros."""
    values = values.unsqueeze(-2)
    return values if parts == 1 else pad(values, (0, 0, 0, parts - 1))


def _split(rows: Tensor, units: int) -> Tensor:
    """(..., g n) as (..., g, n)."""
    return rows.reshape(*rows.shape[:-1], rows.shape[-1] // units, units)


def _joined(by_gate: Tensor) -> Tensor:
    """The inverse of _split."""
    return by_gate.reshape(*by_gate.shape[:-2], by_gate.shape[-2] * by_gate.shape[-1])


def _by_gate(gains: Tensor, units: int) -> Tensor:
    """(k, parts, g n) as (k, 1, parts, g, n)."""
    return _split(gains, units).unsqueeze(1)


def _scaled(gains: Tensor, state: Tensor) -> Tensor:
    return _joined((_by_gate(gains, state.shape[-1]) * state.unsqueeze(-2)).sum(-3))


def _gathered(gains: Tensor, rows: Tensor, units: int) -> Tensor:
    """The transpose of _scaled: what rows bring to a state of so many units."""
    return (_by_gate(gains, units) * _split(rows, units).unsqueeze(-3)).sum(-2)


def _moved_rows(gains: Tensor, d_gains: Tensor | None, hop: int, state: Tensor, moving: Tensor) -> Tensor:
    moved = _scaled(gains[hop], moving)
    return moved if d_gains is None else moved + _scaled(d_gains[hop], state)


def _carried(carries: Tensor, state: Tensor) -> Tensor:
    """What a state carries over to the step before, of carries (k, parts, parts, n)."""
    return (carries.unsqueeze(1) * state.unsqueeze(-2)).sum(-3)


def _weighted(stacked: Tensor, hop_weights: Tensor | None) -> Tensor:
    """The sum over hops with their weights; what has none takes no part."""
    if hop_weights is None:
        return stacked.sum(0, keepdim=True)
    factors = hop_weights.view(-1, 1, 1, 1)
    return (factors * of_weight(stacked, factors)).sum(0, keepdim=True)
