"""What is found of a trained network: its own mean Jacobians, and what walks say of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

import rrnn_ext
from experiments.training.running.networks import TASKS, Setting, Trained
from rrnn_ext.networks.readers import LayerRun, find_reader
from rrnn_ext.reading import communication_sparsity, correlation

READ_ON = 1024  # test sequences
FEW = 4  # of them, evenly spaced: as many as a penalty of the network takes of a batch


@dataclass(frozen=True)
class Record:
    """What was found of a trained network. J are the mean Jacobians dy_T / dx_{T-m} over READ_ON test sequences, J_s
    those of one of them.

    Attributes:
        setting: which one.
        error: mean squared error of the test sequences, whose targets have variance 1.
        correlation, relative_error: of the walks of the mean step Jacobians with J, over all outputs, inputs and lags;
            the error is that of the Frobenius norm.
        scale: <P, J> / <J, J>, P those walks: off 1 by what is wrong with their size alone.
        of_few, error_of_few: the same of the mean over the walks of FEW sequences.
        by_weights: the correlation of the weights' walks, of a gated network summed over the gates, with J.
        spread: the root mean square of ||J_s - J|| over s, in units of ||J||: how far the response depends on the
            sequence; 0 of a linear network.
        spread_of_gains: that of the gains and carries of every step, over their mean's size: how far the gates do.
        strength, strength_in_total: sum |J_m| over all lags, and |sum_m J_m|.
        strength_of_each: the mean over s of sum |J_s|, which sequences that cancel leave large.
        strength_of_weights: sum |P_m| of the weights' walks.
        off_optimum: the share of sum |J_m| on pathways that the optimum does not have.
        saturated: the share of hidden states beyond 0.9 in size.
        weights: sum of all |weights|.
    """

    setting: Setting
    error: float
    correlation: float
    relative_error: float
    scale: float
    of_few: float
    error_of_few: float
    by_weights: float
    spread: float
    spread_of_gains: float
    strength: float
    strength_in_total: float
    strength_of_each: float
    strength_of_weights: float
    off_optimum: float
    saturated: float
    weights: float


def of_network(setting: Setting, network: Trained) -> Record:
    """What is found of the trained network of a setting."""
    task = TASKS[setting.task]()
    sequences, targets = _test_set(setting.task)
    x = sequences[:READ_ON]
    each = jacobians(network, x)
    jacobian = each.mean(0)
    reading = rrnn_ext.ResolventPenalty(network.rnn, network.readout, hops=task.steps)
    with torch.no_grad():
        out, _ = network.rnn(x)
        walks = reading.hop_decomposition(x, out)
        few = torch.stack([reading.hop_decomposition(x[s : s + 1], out[s : s + 1]) for s in _FEW]).mean(0)
        of_weights = reading.hop_decomposition().reshape(-1, *walks.shape).sum(0)
        return Record(
            setting,
            error=(network(sequences) - targets).square().mean().item(),
            correlation=correlation(walks, jacobian, dims=3).item(),
            relative_error=_distance(walks, jacobian),
            scale=((walks * jacobian).sum() / jacobian.square().sum()).item(),
            of_few=correlation(few, jacobian, dims=3).item(),
            error_of_few=_distance(few, jacobian),
            by_weights=correlation(of_weights, jacobian, dims=3).item(),
            spread=_spread([each]),
            spread_of_gains=_spread(gains(network, x, out)),
            strength=jacobian.abs().sum().item(),
            strength_in_total=jacobian.sum(0).abs().sum().item(),
            strength_of_each=each.abs().sum((1, 2, 3)).mean().item(),
            strength_of_weights=of_weights.abs().sum().item(),
            off_optimum=communication_sparsity(jacobian, task.optimal_walks, dims=3).item(),
            saturated=(out.abs() > 0.9).float().mean().item(),
            weights=sum(weight.abs().sum().item() for weight in network.parameters() if weight.dim() > 1),
        )


def jacobians(network: nn.Module, sequences: Tensor) -> Tensor:
    """(count, steps, o, i) by lag: dy_T / dx_{T-m} of each of the sequences."""
    x = sequences.clone().requires_grad_()
    totals = network(x).sum(0)  # a sequence's outputs depend on that sequence alone
    by_output = [torch.autograd.grad(total, x, retain_graph=True)[0] for total in totals]
    return torch.stack(by_output, 2).flip(1)


def gains(network: Trained, inputs: Tensor, outputs: Tensor) -> list[Tensor]:
    """(count, steps, ...) of every layer: what scales the weights in the step Jacobians of each of the sequences, and
    what its state carries on."""
    reader, found = find_reader(network.rnn, None), list[Tensor]()
    for at in range(reader.layers):
        run = LayerRun(at, 0, reader.layer(at, 0), inputs, None, None)
        states = outputs if at == reader.layers - 1 else reader.states(run)
        vectors = reader.steps(run, states)
        found += [vectors.gains, vectors.gains if vectors.input_gains is None else vectors.input_gains]
        found += [] if vectors.carries is None else [vectors.carries]
        inputs = states
    return found


_FEW = range(0, READ_ON, READ_ON // FEW)


def _spread(values: Sequence[Tensor]) -> float:
    """The root mean square distance from the mean over the sequences, in units of the mean's size."""
    means = [each.mean(0) for each in values]
    squares = sum((each - mean).square().mean(0).sum().item() for each, mean in zip(values, means, strict=True))
    return math.sqrt(squares / sum(mean.square().sum().item() for mean in means))


def _distance(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@cache
def _test_set(task: str) -> tuple[Tensor, Tensor]:
    return TASKS[task]().test_set()
