"""Leaky integrate-and-fire neurons against known answers, and as PyTorch expects functions and modules to be."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rrnn_ext.spiking import LIF, LIFState, firing_rate, lif, reference

DT, TAU = 1e-3, 20e-3
LEAK = math.exp(-DT / TAU)


def intervals(spikes: Tensor) -> list[int]:
    """Steps from the start, and from each spike to the next."""
    times = [-1, *spikes.flatten().nonzero().flatten().tolist()]
    return [after - before for before, after in itertools.pairwise(times)]


def constant(value: float, steps: int = 400) -> Tensor:
    return torch.full((steps, 1), value, dtype=torch.float64)


class TestKnownAnswers:
    @pytest.mark.parametrize("value", [0.06, 0.1, 0.3, 1.5])
    def test_interval_under_a_constant_current(self, value: float) -> None:
        """The potential is I (1 - leak^k) / (1 - leak) after k steps from 0."""
        steps = math.ceil(math.log(1 - (1 - LEAK) / value) / math.log(LEAK)) if value < 1 else 1
        assert set(intervals(lif(constant(value), tau=TAU, dt=DT)[0])) == {steps}

    def test_a_reset_for_each_neuron(self) -> None:
        """Of one threshold, as the neurons are that have one reset each."""
        resets = torch.tensor([-0.5, 0.0, 0.4])
        current = constant(0.1).unsqueeze(1).expand(-1, 1, 3)
        together, _ = lif(current, tau=TAU, dt=DT, reset=resets)
        for at, reset in enumerate(resets.tolist()):
            assert torch.equal(together[..., at : at + 1], lif(current[..., :1], tau=TAU, dt=DT, reset=reset)[0])
        layer = LIF(tau=TAU, dt=DT, reset=resets)
        assert torch.equal(layer(current), together)
        with pytest.raises(ValueError, match=r"threshold must be above reset = \[.*\], got 0.3"):
            lif(current, tau=TAU, dt=DT, reset=resets, threshold=0.3)

    def test_reset_elsewhere(self) -> None:
        """From -0.5 the potential is m + (-0.5 - m) leak^k, with m = I / (1 - leak)."""
        mean = 0.1 / (1 - LEAK)
        steps = math.ceil(math.log((mean - 1) / (mean + 0.5)) / math.log(LEAK))
        assert set(intervals(lif(constant(0.1), tau=TAU, dt=DT, reset=-0.5)[0])[1:]) == {steps}

    def test_no_current_too_small_spikes(self) -> None:
        """I / (1 - leak) is where the potential goes."""
        assert lif(constant(0.999 * (1 - LEAK), 2000), tau=TAU, dt=DT)[0].sum() == 0
        assert lif(constant(1.001 * (1 - LEAK), 2000), tau=TAU, dt=DT)[0].sum() > 0

    def test_refractory_steps_come_on_top(self) -> None:
        free = intervals(lif(constant(0.1), tau=TAU, dt=DT)[0])
        held = intervals(lif(constant(0.1), tau=TAU, dt=DT, refractory=4 * DT)[0])
        assert held[0] == free[0]
        assert set(held[1:]) == {free[1] + 4}

    def test_subtraction_loses_nothing(self) -> None:
        """Without a leak, spikes count the whole thresholds that came in: here 400 times 0.3."""
        spikes, state = lif(constant(0.375), tau=math.inf, dt=DT, reset="subtract")
        assert spikes.sum() == 150
        assert state.potential.item() == 0

    def test_synaptic_current(self) -> None:
        """One input decays as a difference of exponentials does, at steps of dt."""
        current = constant(0.0, 50)
        current[0] = 1.0
        _, state = lif(current, tau=TAU, dt=DT, tau_syn=5e-3, threshold=math.inf)
        a, b = LEAK, math.exp(-DT / 5e-3)
        assert state.potential.item() == pytest.approx((a**50 - b**50) / (a - b))
        assert state.synaptic is not None
        assert state.synaptic.item() == pytest.approx(b**49)

    def test_recurrent_weights_carry_a_spike_in_one_step(self) -> None:
        """Around a ring of four: row = target, column = source."""
        ring = torch.roll(torch.eye(4), 1, 0)
        current = torch.zeros(9, 4)
        current[0, 0] = 1.0
        spikes, _ = lif(current, ring, tau=TAU, dt=DT)
        assert spikes.argmax(-1).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
        assert spikes.sum() == 9

    @pytest.mark.parametrize("bridge", [True, 0.645])
    def test_spikes_between_looks_restore_the_rate(self, bridge: Any) -> None:
        """White noise that makes a neuron in continuous time fire at 20 Hz, at a step of 1 ms."""
        tau, std = 10e-3, 0.645
        wanted = firing_rate(0.0, std, tau=tau).item()
        step_std = std * math.sqrt(1 - math.exp(-2 * DT / tau))
        current = step_std * torch.randn(4000, 500, 1, generator=torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(2)
        bridged, _ = lif(current, tau=tau, dt=DT, bridge=bridge, generator=generator)
        plain, _ = lif(current, tau=tau, dt=DT)
        assert bridged.mean().item() / DT == pytest.approx(wanted, rel=0.03)
        assert plain.mean().item() / DT < 0.75 * wanted


class TestGradients:
    @pytest.mark.parametrize("reset", [0.0, "subtract"])
    def test_gradcheck_where_it_is_smooth(self, reset: Any) -> None:
        """The last potential is smooth while no spike moves: with a surrogate that is zero so far from the threshold
        as all potentials are, the gradient is the derivative, through resets, synapses and recurrent weights."""
        torch.manual_seed(3)
        n = 4
        options: dict[str, Any] = {"dt": DT, "reset": reset, "surrogate": "triangle", "refractory": 2 * DT}

        def potentials(function: Any, *given: Tensor, slope: float = 1e4) -> tuple[Tensor, Tensor]:
            current, weight, tau, tau_syn, threshold = given
            spikes, state = function(
                current, weight, tau=tau, tau_syn=tau_syn, threshold=threshold, slope=slope, **options
            )
            return spikes, state.potential

        given = [
            0.3 * torch.randn(12, 2, n),
            torch.randn(n, n) / 2,
            TAU * (1 + torch.rand(n)),
            5e-3 * torch.ones(n),
            1 + 0.1 * torch.rand(n),
        ]
        given = [each.double().requires_grad_() for each in given]
        assert potentials(lif, *given)[0].sum() > 8
        # A surrogate as wide as this sees no potential: its part of the gradient is zero.
        wide = torch.autograd.grad(potentials(lif, *given)[0].sum(), given[0])[0]
        assert not wide.any()
        assert torch.autograd.gradcheck(lambda *each: potentials(lif, *each)[1], given, eps=1e-7, atol=1e-5)

    def test_no_other_derivatives(self) -> None:
        current = torch.rand(5, 2, 3).requires_grad_()
        spikes, _ = lif(current, tau=TAU, dt=DT)
        with pytest.raises(NotImplementedError, match="no second derivatives"):
            torch.autograd.grad(torch.autograd.grad(spikes.sum(), current, create_graph=True)[0].sum(), current)
        with pytest.raises(NotImplementedError, match="no forward-mode derivatives"):
            torch.func.jvp(lambda x: lif(x, tau=TAU, dt=DT)[0], (current.detach(),), (current.detach(),))

    def test_truncated_backpropagation(self) -> None:
        """No gradient comes through a state that was detached."""
        current = torch.rand(20, 2, 3).requires_grad_()
        _, state = lif(current[:10], tau=TAU, dt=DT)
        spikes, _ = lif(current[10:], tau=TAU, dt=DT, state=state.detach())
        gradient = torch.autograd.grad(spikes.sum(), current)[0]
        assert not gradient[:10].any()
        assert gradient[10:].any()

    def test_nothing_is_kept_without_a_gradient(self) -> None:
        weight = torch.rand(3, 3).requires_grad_()
        assert lif(torch.rand(5, 2, 3), tau=TAU, dt=DT)[0].grad_fn is None
        with torch.no_grad():
            assert not lif(torch.rand(5, 2, 3), weight, tau=TAU, dt=DT)[0].requires_grad


class TestTransforms:
    @pytest.mark.parametrize("recurrent", [False, True])
    def test_compile(self, recurrent: bool) -> None:
        """In one graph, forwards and back, and for other lengths without another one."""
        weight = (torch.rand(4, 4) / 4).requires_grad_() if recurrent else None

        def run(current: Tensor, tau: Tensor) -> Tensor:
            spikes, state = lif(current, weight, tau=tau, dt=DT, tau_syn=5e-3, refractory=2e-3)
            return spikes.sum() + state.potential.sum()

        compiled = torch.compile(run, fullgraph=True, dynamic=True)
        for steps in (7, 12, 30):
            current = torch.rand(steps, 2, 4).requires_grad_()
            tau = torch.full((4,), TAU).requires_grad_()
            results = []
            for function in (run, compiled):
                value = function(current, tau)
                results.append((value, *torch.autograd.grad(value, (current, tau))))
            for eager, other in zip(*results, strict=True):
                torch.testing.assert_close(eager, other)

    def test_vmap_over_samples(self) -> None:
        current = torch.rand(6, 20, 3, 4)
        together = torch.func.vmap(lambda x: lif(x, tau=TAU, dt=DT)[0])(current)
        for one, many in zip(current, together, strict=True):
            assert torch.equal(lif(one, tau=TAU, dt=DT)[0], many)

    def test_vmap_and_grad_over_networks(self) -> None:
        """An ensemble: each with its own weights and time constants."""
        torch.manual_seed(5)
        current, weights, taus = torch.rand(20, 3, 4) / 3, torch.randn(5, 4, 4) / 3, TAU * (1 + torch.rand(5, 4))

        def loss(weight: Tensor, tau: Tensor) -> Tensor:
            return lif(current, weight, tau=tau, dt=DT, slope=5.0)[0].square().mean()

        gradients = torch.func.vmap(torch.func.grad(loss, argnums=(0, 1)))(weights, taus)
        for index in range(5):
            weight, tau = weights[index].clone().requires_grad_(), taus[index].clone().requires_grad_()
            own = torch.autograd.grad(loss(weight, tau), (weight, tau))
            for together, alone in zip(gradients, own, strict=True):
                torch.testing.assert_close(together[index], alone)

    def test_jacobian(self) -> None:
        current = torch.rand(8, 1, 2, dtype=torch.float64) / 2

        def rates(function: Any, x: Tensor) -> Tensor:
            return function(x, tau=TAU, dt=DT, slope=5.0)[0].mean((0, 1))

        jacobian = torch.func.jacrev(lambda x: rates(lif, x))(current)
        leaf = current.clone().requires_grad_()
        for index in range(2):
            own = torch.autograd.grad(rates(reference.lif, leaf)[index], leaf)[0]
            torch.testing.assert_close(jacobian[index], own)

    def test_meta_tensors_have_shapes(self) -> None:
        spikes, state = lif(torch.rand(5, 2, 3, device="meta"), tau=TAU, dt=DT)
        assert spikes.shape == (5, 2, 3)
        assert state.potential.shape == (2, 3)


class TestShapesAndDtypes:
    @pytest.mark.parametrize("shape", [(7, 3), (7, 2, 3), (7, 2, 5, 4, 3)])
    def test_any_batch(self, shape: tuple[int, ...]) -> None:
        current = torch.rand(shape)
        spikes, state = lif(current, tau=TAU, dt=DT)
        assert spikes.shape == shape
        assert state.potential.shape == state.spikes.shape == state.waiting.shape == shape[1:]
        assert torch.equal(spikes.reshape(7, -1), lif(current.reshape(7, -1), tau=TAU, dt=DT)[0])

    def test_any_layout(self) -> None:
        current = torch.rand(3, 2, 7).permute(2, 1, 0)
        assert torch.equal(lif(current, tau=TAU, dt=DT)[0], lif(current.contiguous(), tau=TAU, dt=DT)[0])

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, dtype: torch.dtype) -> None:
        current, weight = torch.rand(9, 2, 3).to(dtype), torch.rand(3, 3).to(dtype)
        spikes, state = lif(current, weight, tau=TAU, dt=DT)
        assert spikes.dtype == dtype
        assert state.potential.dtype == torch.float32
        assert torch.equal(spikes.float(), lif(current.float(), weight.float(), tau=TAU, dt=DT)[0])

    def test_autocast(self) -> None:
        network = nn.Sequential(nn.Linear(3, 4), LIF(tau=TAU, dt=DT, recurrent=4))
        with torch.autocast("cpu", torch.bfloat16):
            spikes = network(torch.rand(9, 2, 3))
        assert spikes.dtype == torch.bfloat16
        spikes.sum().backward()


class TestModule:
    def test_learns_what_is_a_parameter(self) -> None:
        layer = LIF(tau=nn.Parameter(torch.full((3,), TAU)), dt=DT, threshold=torch.ones(3), recurrent=3)
        assert set(layer.state_dict()) == {"tau", "threshold", "weight_rec"}
        assert {name for name, _ in layer.named_parameters()} == {"tau", "weight_rec"}
        layer(torch.rand(9, 2, 3)).sum().backward()
        assert all(parameter.grad is not None for parameter in layer.parameters())

    def test_stands_in_a_sequence(self) -> None:
        torch.manual_seed(0)
        first, second = nn.Linear(3, 8), nn.Linear(8, 2)
        network = nn.Sequential(first, LIF(tau=TAU, dt=DT), second, LIF(tau=TAU, dt=DT, reset="subtract"))
        current = 5 * torch.rand(30, 4, 3)
        inner = lif(first(current), tau=TAU, dt=DT)[0]
        assert torch.equal(network(current), lif(second(inner), tau=TAU, dt=DT, reset="subtract")[0])

    def test_run_goes_on_where_it_stood(self) -> None:
        layer = LIF(tau=TAU, dt=DT, tau_syn=5e-3, refractory=2e-3, recurrent=3)
        current = torch.rand(30, 2, 3)
        first, state = layer.run(current[:13])
        second, _ = layer.run(current[13:], state)
        assert torch.equal(torch.cat([first, second]), layer(current))

    def test_copies_and_moves(self) -> None:
        layer = LIF(tau=torch.full((3,), TAU), dt=DT, recurrent=3)
        other = copy.deepcopy(layer).double()
        assert {tensor.dtype for tensor in other.state_dict().values()} == {torch.float64}
        assert other(torch.rand(9, 2, 3, dtype=torch.float64)).dtype == torch.float64
        assert "recurrent=3" in repr(layer)

    def test_learns_a_rate(self) -> None:
        """Gradient descent through the surrogate brings silent neurons to fire at 50 Hz."""
        torch.manual_seed(0)
        linear = nn.Linear(20, 10, bias=False)
        with torch.no_grad():
            linear.weight.mul_(0.3)
        network = nn.Sequential(linear, LIF(tau=TAU, dt=DT, slope=5.0))
        inputs = (torch.rand(200, 16, 20) < 0.02).float()
        optimiser = torch.optim.Adam(network.parameters(), 0.01)

        def rates() -> Tensor:
            return network(inputs).mean((0, 1)) / DT

        assert rates().max() < 10
        for _ in range(100):
            optimiser.zero_grad()
            (rates() / 50 - 1).square().sum().backward()
            optimiser.step()
        assert ((rates() - 50).abs() < 5).all()


class TestErrors:
    CURRENT = torch.zeros(5, 2, 3)

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"dt": 0.0}, ValueError, r"dt must be positive and finite, got 0.0"),
            ({"tau": 1e-4}, ValueError, r"tau must be at least dt = 0.001, got 0.0001"),
            ({"tau": torch.tensor([0.1, 1e-4, 0.1])}, ValueError, r"tau must be at least dt = 0.001, got \[0.1"),
            ({"tau": torch.ones(2)}, ValueError, r"tau must be a number or \(3,\), .* got \(2,\)"),
            ({"tau_syn": 0.0}, ValueError, r"tau_syn must be positive, or None, got 0.0"),
            ({"threshold": 0.0}, ValueError, r"threshold must be above reset = 0.0, got 0.0"),
            ({"threshold": -1.0, "reset": "subtract"}, ValueError, r"threshold must be positive where .*, got -1.0"),
            ({"reset": "zero"}, ValueError, r"reset must be a potential or 'subtract', got 'zero'"),
            ({"refractory": -1.0}, ValueError, r"refractory must be 0 or more and finite, got -1.0"),
            ({"surrogate": "step"}, ValueError, r"surrogate must be one of 'fast_sigmoid', .*, got 'step'"),
            ({"slope": 0.0}, ValueError, r"slope must be positive and finite, got 0.0"),
            ({"bridge": -0.5}, ValueError, r"bridge must be True, False or .*, got -0.5"),
            ({"bridge": True, "tau_syn": 5e-3}, ValueError, r"bridge must be False with tau_syn"),
            ({"bridge": True, "weight_rec": torch.zeros(3, 3)}, ValueError, r"bridge must be the std .* weight_rec"),
            ({"weight_rec": torch.zeros(3, 2)}, ValueError, r"weight_rec must be \(3, 3\) to match .*, got \(3, 2\)"),
            ({"weight_rec": torch.zeros(3, 3).double()}, TypeError, r"weight_rec must have the dtype of current"),
            ({"state": (0, 0)}, TypeError, r"state must be an LIFState or None, got tuple"),
        ],
    )
    def test_names_the_argument(self, options: dict[str, Any], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            lif(self.CURRENT, **{"tau": TAU, "dt": DT, **options})

    def test_of_the_current(self) -> None:
        with pytest.raises(ValueError, match=r"current must be \(T, ..., n\), time first, got \(5,\)"):
            lif(torch.zeros(5), tau=TAU, dt=DT)
        with pytest.raises(TypeError, match=r"current must be float16, .* got torch.int64"):
            lif(torch.zeros(5, 2, dtype=torch.int64), tau=TAU, dt=DT)

    def test_of_the_state(self) -> None:
        zeros = torch.zeros(2, 3)
        with pytest.raises(ValueError, match=r"state.potential must be \(2, 3\) to match .* got \(3,\)"):
            lif(self.CURRENT, tau=TAU, dt=DT, state=LIFState(zeros[0], None, zeros, zeros))
        with pytest.raises(ValueError, match=r"state.synaptic must be a tensor with tau_syn, got None"):
            lif(self.CURRENT, tau=TAU, tau_syn=5e-3, dt=DT, state=LIFState(zeros, None, zeros, zeros))
        with pytest.raises(TypeError, match=r"state.spikes must be torch.float32 to match current, got torch.float64"):
            lif(self.CURRENT, tau=TAU, dt=DT, state=LIFState(zeros, None, zeros.double(), zeros))

    def test_of_the_module(self) -> None:
        with pytest.raises(ValueError, match="tau must be at least dt"):
            LIF(tau=1e-4, dt=DT)
