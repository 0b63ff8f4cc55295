"""Whole training loops with the penalty in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rrnn_ext

STEPS, HOPS = 60, 8


@dataclass(frozen=True)
class Outcome:
    first_loss: float
    task_loss: float
    penalty: float
    state: list[Tensor]


def penalty_of(rnn: nn.RNN, readout: nn.Linear, options: dict[str, Any]) -> Tensor:
    w, u = rnn.get_parameter("weight_hh_l0"), rnn.get_parameter("weight_ih_l0")
    return rrnn_ext.resolvent_penalty(w, u, readout.weight, **options)


def train(strength: float, options: dict[str, Any]) -> Outcome:
    """Recall the first of eight inputs, by Adam, with ``strength`` times the penalty in the loss."""
    torch.manual_seed(0)
    rnn, readout = nn.RNN(2, 24, batch_first=True), nn.Linear(24, 2)
    with torch.no_grad():
        # Room for the infinite sums, which need a spectral radius below one, of |W| where it is rectified.
        rnn.get_parameter("weight_hh_l0").mul_(0.25)
    x = torch.randn(64, HOPS, 2)
    parameters = [*rnn.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    first_loss = 0.0
    for step in range(STEPS):
        optimizer.zero_grad()
        task_loss = nn.functional.mse_loss(readout(rnn(x)[0][:, -1]), x[:, 0])
        if step == 0:
            first_loss = task_loss.item()
        # Without the penalty nothing holds the spectral radius below one, so no infinite sum is asked for.
        total = task_loss + strength * penalty_of(rnn, readout, options) if strength else task_loss
        total.backward()
        optimizer.step()
    return Outcome(
        first_loss,
        task_loss.item(),
        penalty_of(rnn, readout, {**options, "hops": HOPS}).item(),
        [parameter.detach() for parameter in parameters],
    )


@pytest.mark.usefixtures("deterministic_algorithms")
@pytest.mark.parametrize(
    ("strength", "options"),
    [
        (0.01, {"hops": HOPS}),
        (0.01, {"hops": HOPS, "rectify": True}),
        (0.01, {"hops": HOPS, "per_hop": True, "alpha": 0.9}),
        (0.01, {"hops": HOPS, "norm": "l2"}),
        (1.0, {"hops": None, "alpha": 0.25}),
        (0.5, {"hops": None, "alpha": 0.25, "rectify": True}),
    ],
    ids=str,
)
def test_training_lowers_the_penalty(strength: float, options: dict[str, Any]) -> None:
    free, held = train(0.0, options), train(strength, options)
    assert held.penalty < 0.5 * free.penalty
    assert held.task_loss < held.first_loss
    again = train(strength, options)
    for a, b in zip(held.state, again.state, strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("deterministic_algorithms")
def test_the_penalty_alone_takes_a_network_apart() -> None:
    """Gradient descent on the penalty by itself goes to zero, signed cancellation or not."""
    torch.manual_seed(0)
    w, u, v = (nn.Parameter(0.1 * torch.randn(shape)) for shape in ((16, 16), (16, 3), (2, 16)))
    optimizer = torch.optim.SGD([w, u, v], lr=1e-2)
    before = rrnn_ext.resolvent_penalty(w, u, v, hops=6, norm="l2").item()
    for _ in range(200):
        optimizer.zero_grad()
        rrnn_ext.resolvent_penalty(w, u, v, hops=6, norm="l2").backward()
        optimizer.step()
    assert rrnn_ext.resolvent_penalty(w, u, v, hops=6, norm="l2").item() < 0.5 * before


def test_learned_alpha() -> None:
    """alpha may be a parameter: the penalty pulls it down."""
    torch.manual_seed(0)
    w, u = 0.1 * torch.randn(8, 8), torch.randn(8, 2)
    raw = nn.Parameter(torch.tensor(0.0))
    optimizer = torch.optim.SGD([raw], lr=0.1)
    values = []
    for _ in range(5):
        optimizer.zero_grad()
        value = rrnn_ext.resolvent_penalty(w, u, alpha=raw.exp(), hops=5)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.9 * values[0]
