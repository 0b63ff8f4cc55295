"""Training of a stack, against torch's own training of one network."""

from __future__ import annotations

import math

import pytest
import torch
from support.stacked_networks import NAMES, Module, double, normal
from torch import nn

from experiments.tasks import problems
from experiments.training import loop, regularisers, stacked
from experiments.training.results import Setting
from experiments.training.stacked import Networks

pytestmark = pytest.mark.usefixtures("one_thread")


def random_examples(seed: int, *, classes: bool) -> loop.Examples:
    targets = normal(10, 3, seed=seed + 50)
    return loop.Examples(normal(10, 4, 2, seed=seed), targets.argmax(-1) if classes else targets)


class TestTraining:
    @pytest.mark.parametrize("classes", [False, True])
    @pytest.mark.parametrize("name", ["none", "L1", "R-RNN per hop"])
    def test_as_torch_trains_one(self, name: str, classes: bool) -> None:
        """nn.RNN under torch's Adam, cosine and losses; 10 sequences by 4, so passes end with a batch of 2."""
        seeds, strengths, updates = [3, 4], [0.02, 0.3], 7
        regulariser = regularisers.named(name)
        first = double(stacked.new_networks(seeds, inputs=2, hidden=6, outputs=3))
        sets = {seed: random_examples(seed, classes=classes) for seed in seeds}
        trained = loop.train(
            first, sets, seeds=seeds, regulariser=regulariser, strengths=strengths, updates=updates, batch=4,
            learning_rate=1e-2,
        )  # fmt: skip
        criterion = nn.CrossEntropyLoss() if classes else nn.MSELoss()
        for index, (seed, strength) in enumerate(zip(seeds, strengths, strict=True)):
            module = Module(first, index)
            # Adam moves each of nn.RNN's two biases as far as the stack's only one.
            module.rnn.get_parameter("bias_hh_l0").requires_grad_(False)
            optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-2)
            order = torch.Generator().manual_seed(seed)
            passes = [torch.randperm(10, generator=order).split(4) for _ in range(3)]
            for update, batch in enumerate([batch for batches in passes for batch in batches][:updates]):
                optimiser.param_groups[0]["lr"] = 1e-2 * (1 + math.cos(math.pi * update / updates)) / 2
                loss = criterion(module(sets[seed].sequences[batch]), sets[seed].targets[batch])
                state = dict(module.named_parameters())
                own = Networks(*(state[key][None] for key in NAMES))
                optimiser.zero_grad()
                (loss + strength * regulariser(own, 4).sum()).backward()
                optimiser.step()
            for key, weight in trained.select(index).state_dict().items():
                torch.testing.assert_close(weight, module.state_dict()[key])

    @pytest.mark.parametrize("classes", [False, True])
    def test_error(self, classes: bool) -> None:
        networks = double(stacked.new_networks([0, 1], inputs=2, hidden=6, outputs=3))
        size = loop.EVALUATED_AT_ONCE + 3  # more than one part
        targets = normal(size, 3, seed=1)
        examples = loop.Examples(normal(size, 4, 2), targets.argmax(-1) if classes else targets)
        for index, error in enumerate(loop.test_error(networks, examples)):
            with torch.no_grad():
                answers = Module(networks, index)(examples.sequences)
            right = (answers.argmax(-1) == examples.targets).double().mean() if classes else torch.tensor(0)
            expected = 1 - right if classes else nn.functional.mse_loss(answers, examples.targets)
            torch.testing.assert_close(error, expected)

    def test_sets_of_unequal_size_are_refused(self) -> None:
        short = loop.Examples(*(part[:6] for part in random_examples(0, classes=False)))
        with pytest.raises(ValueError, match=r"same number of sequences, got \[6, 10\]"):
            loop.train(
                double(stacked.new_networks([0, 1], inputs=2, hidden=6, outputs=3)),
                {0: short, 1: random_examples(1, classes=False)},
                seeds=[0, 1], regulariser=regularisers.none, strengths=[0, 0], updates=1, batch=4, learning_rate=1e-2,
            )  # fmt: skip

    def test_solves_a_task(self) -> None:
        """Averaging nearly as well as can be, in far fewer updates than a sweep gives it; nothing where β is huge."""
        settings = [Setting("averaging", "L1", beta, 0, updates=60) for beta in (0.0, 1.0)]
        problem = problems.named("averaging")
        networks = loop.train(
            stacked.new_networks([0, 0], inputs=problem.inputs, hidden=64, outputs=problem.outputs),
            {0: loop.Examples(*problem.training_set(0))},
            seeds=[0, 0], regulariser=regularisers.l1, strengths=[0.0, 1.0],
            updates=60, batch=settings[0].batch, learning_rate=settings[0].learning_rate,
        )  # fmt: skip
        free, held = loop.test_error(networks, loop.Examples(*problem.test_set())).tolist()
        assert free < 0.25
        assert held > 0.9
