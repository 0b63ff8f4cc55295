"""Stacks of networks side by side, against nn.RNN."""

from __future__ import annotations

import pytest
import torch
from support.stacked_networks import NAMES, Module, double, normal
from torch import Tensor, nn

from experiments.training import stacked
from experiments.training.stacked import Networks

pytestmark = pytest.mark.usefixtures("one_thread")


class TestStacked:
    networks = double(stacked.new_networks([5, 0, 7], inputs=2, hidden=6, outputs=3))

    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_outputs_and_gradients_of_nn_rnn(self, steps: int) -> None:
        sequences = normal(3, 4, steps, 2).requires_grad_()
        weights = [weight.clone().requires_grad_() for weight in self.networks]
        found = stacked.outputs(Networks(*weights), sequences)
        modules = [Module(self.networks, index) for index in range(3)]
        expected = torch.stack([module(own) for module, own in zip(modules, sequences, strict=True)])
        torch.testing.assert_close(found, expected)

        factors = normal(3, 4, 3, seed=1)
        grads = torch.autograd.grad(found, [sequences, *weights], factors)
        (grad_sequences,) = torch.autograd.grad(expected, sequences, factors, retain_graph=True)
        expected.backward(factors)
        torch.testing.assert_close(grads[0], grad_sequences)
        for grad, name in zip(grads[1:], NAMES, strict=True):
            own = [module.get_parameter(name).grad for module in modules]
            torch.testing.assert_close(grad, torch.stack([part for part in own if part is not None]))

    def test_gradcheck(self) -> None:
        weights = [weight.clone().requires_grad_() for weight in self.networks]
        sequences = normal(3, 2, 3, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, *w: stacked.outputs(Networks(*w), x), (sequences, *weights))

    def test_second_derivatives_are_refused(self) -> None:
        weights = [weight.clone().requires_grad_() for weight in self.networks]
        value = stacked.outputs(Networks(*weights), normal(3, 2, 3, 2)).sum()
        (grad,) = torch.autograd.grad(value, weights[0], create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            grad.sum().backward()

    def test_shared_sequences(self) -> None:
        sequences = normal(4, 5, 2)
        found = stacked.outputs(self.networks, sequences)
        torch.testing.assert_close(found, stacked.outputs(self.networks, torch.stack(3 * [sequences])))

    def test_a_network_depends_on_its_seed_alone(self) -> None:
        state = torch.get_rng_state()
        alone = double(stacked.new_networks([0], inputs=2, hidden=6, outputs=3))
        assert torch.equal(torch.get_rng_state(), state)
        for found, expected in zip(alone, self.networks.select(slice(1, 2)), strict=True):
            assert torch.equal(found, expected)
        assert not torch.equal(self.networks.weight_hh[0], self.networks.weight_hh[1])

    def test_drawn_by_the_law_of_nn_rnn(self) -> None:
        ours = stacked.new_networks(range(40), inputs=8, hidden=16, outputs=8)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            theirs = [(nn.RNN(8, 16), nn.Linear(16, 8)) for _ in range(40)]
        pairs: dict[str, list[Tensor]] = {
            "weight_hh": [rnn.get_parameter("weight_hh_l0") for rnn, _ in theirs],
            "weight_in": [rnn.get_parameter("weight_ih_l0") for rnn, _ in theirs],
            "bias": [rnn.get_parameter("bias_ih_l0") + rnn.get_parameter("bias_hh_l0") for rnn, _ in theirs],
            "weight_out": [readout.weight for _, readout in theirs],
            "bias_out": [readout.bias for _, readout in theirs],
        }
        for name, drawn in pairs.items():
            sample, expected = getattr(ours, name), torch.stack(drawn).detach()
            assert sample.shape == expected.shape
            assert sample.mean().abs() < 0.03
            assert sample.std().item() == pytest.approx(expected.std().item(), rel=0.1)
            assert sample.abs().max().item() == pytest.approx(expected.abs().max().item(), rel=0.1)

    def test_state_dicts_make_the_stack_again(self) -> None:
        states = [self.networks.select(index).state_dict() for index in range(3)]
        for found, expected in zip(stacked.from_state_dicts(states), self.networks, strict=True):
            assert torch.equal(found, expected)
