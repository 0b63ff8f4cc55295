"""Training of a stack of networks, each under its own strength of one penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from experiments.training import stacked
from experiments.training.regularisers import Regulariser
from experiments.training.stacked import Networks

EVALUATED_AT_ONCE = 512  # sequences: all states of a stack at once would be many times the size of its caches


class Examples(NamedTuple):
    """What a network is trained on, or tested with.

    Attributes:
        sequences: (count, steps, inputs), float32.
        targets: (count, outputs) floating, a regression; or (count,) int64, the classes.
    """

    sequences: Tensor
    targets: Tensor


def train(
    networks: Networks,
    training_sets: Mapping[int, Examples],
    *,
    seeds: Sequence[int],
    regulariser: Regulariser,
    strengths: Sequence[float],
    updates: int,
    batch: int,
    learning_rate: float,
    on_update: Callable[[], None] = lambda: None,
) -> Networks:
    """Minimise loss + strength * penalty by Adam, for each network of the stack by itself; returns the trained ones.

    The loss is the mean squared error of a regression, the cross-entropy of classes. The learning rate falls to zero
    along a cosine: at a constant rate the subgradient of an absolute value keeps small weights jumping across zero by
    a step's length, which would be held against the penalty.

    Args:
        networks: b of them, as they start.
        training_sets: for each seed; all of one size.
        seeds: (b,), of the networks: which training set, and the order in which it is gone through.
        regulariser: of :mod:`experiments.training.regularisers`.
        strengths: (b,), the penalty's factors.
        updates: of the weights.
        batch: sequences at an update; the last ones of a pass are fewer where the size does not divide.
        learning_rate: at the start.
        on_update: called after every update.
    """
    trained = Networks(*(weight.detach().clone().requires_grad_() for weight in networks))
    factors = trained.bias.new_tensor(strengths)
    optimiser = torch.optim.Adam(trained, lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=updates)
    batches = _batches(training_sets, seeds, batch)
    for _ in range(updates):
        examples = next(batches)
        losses = loss(stacked.outputs(trained, examples.sequences), examples.targets)
        penalties = regulariser(trained, examples.sequences.shape[-2])
        optimiser.zero_grad()
        (losses + factors * penalties).sum().backward()
        optimiser.step()
        schedule.step()
        on_update()
    return Networks(*(weight.detach() for weight in trained))


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of each network, (b,): mean squared error, or for integer targets cross-entropy, of outputs (b, count, o).

    targets: with or without the leading dimension b.
    """
    if targets.is_floating_point():
        return (outputs - targets).square().mean((-2, -1))
    classes = targets.expand(outputs.shape[:-1])
    return functional.cross_entropy(outputs.movedim(-1, 1), classes, reduction="none").mean(-1)


@torch.no_grad()
def test_error(networks: Networks, examples: Examples) -> Tensor:
    """Of each network, (b,): mean squared error, or for classes the share of wrong answers."""
    total = torch.zeros(len(networks.bias), dtype=torch.float64)
    for sequences, targets in zip(*(part.split(EVALUATED_AT_ONCE) for part in examples), strict=True):
        answers = stacked.outputs(networks, sequences)
        regression = targets.is_floating_point()
        errors = (answers - targets).square().mean(-1) if regression else answers.argmax(-1) != targets
        total += errors.sum(-1, dtype=torch.float64)
    return total / len(examples.targets)


def _batches(training_sets: Mapping[int, Examples], seeds: Sequence[int], batch: int) -> Iterator[Examples]:
    """(b, batch, ...) without end: each network goes through its own training set in an order of its own seed."""
    sizes = {len(examples.targets) for examples in training_sets.values()}
    if len(sizes) != 1:
        raise ValueError(f"training_sets must all have the same number of sequences, got {sorted(sizes)}")
    (size,) = sizes
    orders = {seed: torch.Generator().manual_seed(seed) for seed in training_sets}
    while True:
        passes = {seed: torch.randperm(size, generator=order).split(batch) for seed, order in orders.items()}
        for chosen in range(-(-size // batch)):
            parts = {
                seed: [part[passes[seed][chosen]] for part in examples] for seed, examples in training_sets.items()
            }
            yield Examples(*(torch.stack([parts[seed][field] for seed in seeds]) for field in range(2)))
