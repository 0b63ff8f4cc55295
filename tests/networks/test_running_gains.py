"""Gains of one's own, in from_weights: those of ones are no gains, and torch.func has them of any step function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp

import rrnn_ext
from rrnn_ext import reference
from rrnn_ext.networks import Layer, LayerRun, Reader, Vectors, readers, reads

UNITS, INPUTS, OUTPUTS, STEPS = 6, 3, 2, 5
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


def weights(inputs: int = INPUTS, outputs: int = OUTPUTS) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shapes = (UNITS, UNITS), (UNITS, inputs), (outputs, UNITS)
    w, u, v = (torch.randn(shape, dtype=torch.float64) / 2 for shape in shapes)
    return w, u, v


# Where both are, the carry is an edge of its own, of which the absolute value is taken.
@pytest.mark.parametrize(("rectify", "leak"), [(False, None), (True, None), (False, 0.4)])
@pytest.mark.parametrize("per_hop", [False, True])
def test_gains_of_one_are_none(per_hop: bool, rectify: bool, leak: float | None) -> None:
    gains = torch.ones(STEPS, UNITS, dtype=torch.float64)
    for norm in ("l1", "l2"):
        options = {"hops": STEPS, "per_hop": per_hop, "rectify": rectify, "leak": leak, "norm": norm, "alpha": 0.8}
        found = rrnn_ext.ResolventPenalty.from_weights(*weights(), gains=gains, **options)  # type: ignore[arg-type]
        expected = rrnn_ext.ResolventPenalty.from_weights(*weights(), **options)  # type: ignore[arg-type]
        torch.testing.assert_close(found(), expected(), **CLOSE)
        torch.testing.assert_close(found.hop_decomposition(), expected.hop_decomposition(), **CLOSE)


def test_gains_scale_the_rows_of_each_step() -> None:
    w, u, v = weights()
    gains = torch.rand(4, STEPS, UNITS, dtype=torch.float64)
    expected = reference.driven_hop_decomposition(gains.unsqueeze(-1) * w, gains.unsqueeze(-1) * u, v)
    penalty = rrnn_ext.ResolventPenalty.from_weights(w, u, v, hops=STEPS, per_hop=True, gains=gains)
    torch.testing.assert_close(penalty(), expected.abs().sum((1, 2, 3)).mean(), **CLOSE)
    torch.testing.assert_close(penalty.hop_decomposition(), expected.mean(0), **CLOSE)
    without = rrnn_ext.ResolventPenalty.from_weights(w, hops=STEPS, gains=lambda: gains[0])
    eye = torch.eye(UNITS, dtype=torch.float64)
    expected = reference.driven_hop_decomposition(gains[0].unsqueeze(-1) * w, gains[0].unsqueeze(-1) * eye, eye)
    torch.testing.assert_close(without.hop_decomposition(), expected, **CLOSE)


class Softplus(nn.Module):
    """A cell of one's own, which keeps the slopes of its last run."""

    def __init__(self) -> None:
        super().__init__()
        w, u, v = weights()
        self.w, self.u, self.v = nn.Parameter(w), nn.Parameter(u), nn.Parameter(v)
        self.slopes = torch.ones(1, UNITS).double()

    def forward(self, x: Tensor) -> Tensor:
        h, slopes = torch.zeros(len(x), UNITS, dtype=x.dtype), []
        for step in range(x.shape[1]):
            sums = h @ self.w.T + x[:, step] @ self.u.T
            h, slope = jvp(nn.functional.softplus, (sums,), (torch.ones_like(sums),))[:2]
            slopes.append(slope)
        self.slopes = torch.stack(slopes, 1)
        return h @ self.v.T


def test_gains_by_torch_func() -> None:
    model, x = Softplus(), torch.randn(3, STEPS, INPUTS, dtype=torch.float64)
    penalty = rrnn_ext.ResolventPenalty.from_weights(
        model, "w", "u", "v", hops=STEPS, per_hop=True, gains="slopes", detach_gains=False
    )
    model(x)
    own = [torch.autograd.functional.jacobian(lambda z: model(z)[0], each[None]) for each in x]
    expected = torch.stack(own).abs().flatten(1).sum(1).mean()
    model(x)
    value = penalty()
    torch.testing.assert_close(value, expected, **CLOSE)
    through = torch.autograd.grad(value, model.w)[0]
    model(x)
    penalty.detach_gains = True
    torch.testing.assert_close(penalty(), expected, **CLOSE)
    assert not torch.allclose(torch.autograd.grad(penalty(), model.w)[0], through)


class MinimalGatedCell(nn.Module):
    """h' = (1 - f) h + f tanh(W_n h + U_n x) with f = sigmoid(W_f h + U_f x)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.weight_hh = nn.Parameter(torch.randn(2 * UNITS, UNITS, dtype=torch.float64) / 2)
        self.weight_ih = nn.Parameter(torch.randn(2 * UNITS, INPUTS, dtype=torch.float64))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        w_f, w_n = self.weight_hh.chunk(2)
        u_f, u_n = self.weight_ih.chunk(2)
        f = torch.sigmoid(h @ w_f.T + x @ u_f.T)
        return (1 - f) * h + f * torch.tanh(h @ w_n.T + x @ u_n.T)


class MinimalGatedReader(Reader):
    gates = ("forget gate", "candidate")

    @property
    def size(self) -> int:
        return UNITS

    def layer(self, at: int, direction: int) -> Layer:
        return Layer(self.read("weight_hh").unflatten(0, (2, -1)), self.read("weight_ih").unflatten(0, (2, -1)))

    def steps(self, run: LayerRun, states: Tensor) -> Vectors:
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
        recurrent, incoming = (each.flatten(0, 1) for each in run.layer[:2])
        of_f, of_n = (before @ recurrent.T + run.inputs @ incoming.T).chunk(2, -1)
        f, n = torch.sigmoid(of_f), torch.tanh(of_n)
        gains = torch.cat([(n - before) * f * (1 - f), f * (1 - n.square())], -1).unsqueeze(-2)
        return Vectors(gains, gains, (1 - f).unsqueeze(-2).unsqueeze(-2))


def test_a_cell_of_ones_own_that_says_what_its_steps_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_READERS", dict(readers._READERS))
    reads(MinimalGatedCell)(MinimalGatedReader)
    cell, readout = MinimalGatedCell(), nn.Linear(UNITS, OUTPUTS, dtype=torch.float64)

    def run(x: Tensor) -> Tensor:
        states = [torch.zeros(x.shape[1], UNITS, dtype=x.dtype)]
        for own in x:
            states.append(cell(own, states[-1]))
        return torch.stack(states[1:])

    x = torch.randn(STEPS, 1, INPUTS, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(lambda z: readout(run(z)[-1])[0], x)[:, :, 0].movedim(1, 0).flip(0)
    penalty = rrnn_ext.ResolventPenalty(cell, readout, hops=STEPS)
    out = run(x)
    torch.testing.assert_close(penalty.hop_decomposition(x, out, batch_first=False), expected, **CLOSE)
    torch.testing.assert_close(penalty.hop_decomposition(x[:, 0], out[:, 0]), expected, **CLOSE)
    with pytest.raises(ValueError, match=r"batch_first must be True.*as MinimalGatedCell has no attribute batch_first"):
        penalty(x, out)
    monkeypatch.delattr(MinimalGatedReader, "steps")
    with pytest.raises(
        NotImplementedError, match="MinimalGatedReader does not say what the steps of a MinimalGatedCell"
    ):
        penalty(x, out, batch_first=False)


def test_gains_that_do_not_fit() -> None:
    w, u, v = weights()
    penalty = rrnn_ext.ResolventPenalty.from_weights(w, u, v, hops=STEPS, gains=torch.ones(STEPS, UNITS + 1).double())
    with pytest.raises(ValueError, match=r"gains must be \(steps, 6\) or \(sequences, steps, 6\) to match weight_hh"):
        penalty()
    with pytest.raises(TypeError, match="x and out must be left out with from_weights"):
        penalty(u, u)
    with pytest.raises(TypeError, match="gains must be a tensor"):
        rrnn_ext.ResolventPenalty.from_weights(w, u, v, hops=STEPS, gains=4)
