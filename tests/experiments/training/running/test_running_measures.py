"""What is found of a trained network, of networks whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from experiments.training.running import measures, networks
from experiments.training.running.networks import Setting, Trained

pytestmark = pytest.mark.usefixtures("one_thread")


def network(kind: str, layers: int = 1, scale: float = 1.0) -> tuple[Setting, Trained]:
    setting = Setting(kind, "lagged", networks.UNPENALISED, 0.0, 3, hidden=6, updates=0, layers=layers)
    made = networks.untrained(setting)
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(scale)
    return setting, made


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", networks.KINDS)
def test_jacobians_are_of_each_sequence_by_lag(kind: str, layers: int) -> None:
    made = Trained(kind, 3, 4, 2, layers)
    x = torch.randn(5, 6, 3)
    found = measures.jacobians(made, x)
    for sequence, own in zip(x, found, strict=True):
        whole = torch.autograd.functional.jacobian(lambda z: made(z[None])[0], sequence)  # (o, steps, i)
        torch.testing.assert_close(own, whole.movedim(1, 0).flip(0))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", networks.KINDS)
def test_nearly_linear_networks_are_read_without_error(kind: str, layers: int) -> None:
    record = measures.of_network(*network(kind, layers, scale=0.05))
    assert record.correlation > 1 - 1e-5
    assert record.of_few > 0.999
    assert record.relative_error < 1e-3
    assert record.scale == pytest.approx(1, abs=1e-3)
    assert record.spread < 0.05
    assert record.spread_of_gains < 0.05
    assert record.saturated == 0


@pytest.mark.parametrize("kind", networks.KINDS)
def test_strongly_driven_ones_are_not(kind: str) -> None:
    weak, strong = (measures.of_network(*network(kind, scale=scale)) for scale in (1.0, 8.0))
    assert strong.relative_error > 5 * weak.relative_error
    assert strong.spread > 2 * weak.spread
    assert strong.spread_of_gains > 2 * weak.spread_of_gains
    assert strong.strength_of_each > 1.05 * strong.strength > 1.05 * strong.strength_in_total
    assert strong.weights == pytest.approx(8 * weak.weights, rel=1e-5)
    assert strong.saturated > weak.saturated


def test_gains_are_those_of_every_layer() -> None:
    _, made = network("RNN", layers=2, scale=2.0)
    x = torch.randn(3, 5, 16)
    outputs, _ = made.rnn(x)
    below = nn.RNN(16, 6, batch_first=True)
    below.load_state_dict({name: weight for name, weight in made.rnn.state_dict().items() if name.endswith("l0")})
    lower, upper = (1 - states.square() for states in (below(x)[0], outputs))
    for found, expected in zip(measures.gains(made, x, outputs), (lower, lower, upper, upper), strict=True):
        torch.testing.assert_close(found.flatten(2), expected)


def test_measures_against_what_they_are() -> None:
    setting, made = network("RNN", scale=2.0)
    record = measures.of_network(setting, made)
    task = networks.TASKS[setting.task]()
    sequences, targets = task.test_set()
    x = sequences[: measures.READ_ON]
    each = measures.jacobians(made, x)
    mean = each.mean(0)
    assert record.error == pytest.approx((made(sequences) - targets).square().mean().item(), rel=1e-5)
    distances = torch.stack([(one - mean).norm() for one in each])
    assert record.spread == pytest.approx((distances.square().mean().sqrt() / mean.norm()).item(), rel=1e-4)
    few = each[:: measures.READ_ON // measures.FEW].mean(0)
    assert record.error_of_few == pytest.approx(((few - mean).norm() / mean.norm()).item(), rel=1e-3)
    assert record.of_few == pytest.approx(_correlation(few, mean), abs=1e-5)
    slopes = 1 - made.rnn(x)[0].square()
    deviations = (slopes - slopes.mean(0)).square().mean(0).sum().sqrt()
    assert record.spread_of_gains == pytest.approx((deviations / slopes.mean(0).norm()).item(), rel=1e-4)
    walks = _walks(made.rnn, made.readout, slopes.mean(0))
    assert record.correlation == pytest.approx(_correlation(walks, mean), abs=1e-5)
    assert record.relative_error == pytest.approx(((walks - mean).norm() / mean.norm()).item(), rel=1e-3)
    assert record.scale == pytest.approx(((walks * mean).sum() / (mean * mean).sum()).item(), rel=1e-4)
    assert record.strength == pytest.approx(mean.abs().sum().item(), rel=1e-4)
    assert record.strength_in_total == pytest.approx(mean.sum(0).abs().sum().item(), rel=1e-4)
    unneeded = mean[task.optimal_walks == 0].abs().sum() / mean.abs().sum()
    assert record.off_optimum == pytest.approx(unneeded.item(), rel=1e-4)
    plain = _walks(made.rnn, made.readout, torch.ones_like(slopes[0]))
    assert record.by_weights == pytest.approx(_correlation(plain, mean), abs=1e-5)
    assert record.strength_of_weights == pytest.approx(plain.abs().sum().item(), rel=1e-4)
    assert math.isclose(
        record.weights, sum(w.abs().sum().item() for w in made.parameters() if w.dim() == 2), rel_tol=1e-5
    )


def _walks(rnn: nn.Module, readout: nn.Linear, gains: Tensor) -> Tensor:
    """V D_T W D_{T-1} W ... D_{T-m} U of gains (steps, n), by lag."""
    weight_in, weight_hh = rnn.get_parameter("weight_ih_l0"), rnn.get_parameter("weight_hh_l0")
    chain, walks = readout.weight, []
    for gain in gains.flip(0):
        chain = chain * gain
        walks.append(chain @ weight_in)
        chain = chain @ weight_hh
    return torch.stack(walks).detach()


def _correlation(one: Tensor, other: Tensor) -> float:
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()
