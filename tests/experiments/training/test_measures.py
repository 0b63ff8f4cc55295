"""What is recorded of a network, on networks whose walks are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from experiments.tasks import problems
from experiments.training import measures, stacked
from experiments.training.stacked import Networks

pytestmark = pytest.mark.usefixtures("one_thread")


class TestMeasures:
    @pytest.mark.parametrize("name", ["averaging", "subtraction", "multiplication", "lagged", "on-off-sparse"])
    def test_of_the_optimum(self, name: str) -> None:
        """A network that is the optimal linear read-out, as a delay line of small signals in tanh's linear part."""
        task = problems.named(name)
        ((found),) = measures.of_networks(delay_line(task.optimal_walks), task)  # type: ignore[attr-defined]
        expected_at_one = (
            "correlation", "correlation_per_hop", "correlation_jacobian", "correlation_impulses", "alignment",
            "alignment_per_hop", "signal_share",
        )  # fmt: skip
        for measure in expected_at_one:
            assert found[measure] == pytest.approx(1, abs=1e-3), measure
        for measure in ("communication_sparsity", "communication_sparsity_per_hop"):
            assert found[measure] == pytest.approx(0, abs=1e-3), measure
        by_lag = task.optimal_walks.abs().sum((-2, -1))  # type: ignore[attr-defined]
        assert found["walks_l1"] == pytest.approx(by_lag.sum().item(), rel=1e-3)
        assert found["resolvent_l1"] == pytest.approx(task.optimum.abs().sum().item(), rel=1e-3)  # type: ignore[attr-defined]
        assert found["hop_profile"] == pytest.approx((by_lag / by_lag.sum()).tolist(), abs=1e-4)

    def test_without_an_optimum(self) -> None:
        problem = problems.named("digits")
        networks = stacked.new_networks([0, 1], inputs=problem.inputs, hidden=6, outputs=problem.outputs)
        first, second = measures.of_networks(networks, problem)
        assert first.keys() == second.keys()
        assert "correlation" not in first
        assert first["walks_l1"] != second["walks_l1"]
        assert len(first["hop_profile"]) == problem.steps  # type: ignore[arg-type]
        (alone,) = measures.of_networks(networks.select(slice(1, 2)), problem)
        for name, value in alone.items():
            assert value == pytest.approx(second[name], rel=1e-4), name


def delay_line(walks: Tensor) -> Networks:
    """One network with the given walks (L, o, i): inputs are shifted on at every step, and all of them read out."""
    steps, outputs, inputs = walks.shape
    small = 1e-3
    weight_in = torch.zeros(steps * inputs, inputs)
    weight_in[:inputs] = small * torch.eye(inputs)
    weight_hh = torch.diag(torch.ones((steps - 1) * inputs), -inputs)
    weight_out = walks.movedim(0, 1).reshape(outputs, steps * inputs) / small
    biases = torch.zeros(1, steps * inputs), torch.zeros(1, outputs)
    return Networks(weight_hh[None], weight_in[None], biases[0], weight_out[None], biases[1])
