"""Firing rates against Siegert's integral by mpmath, against known answers, and their derivatives."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import torch
from torch import Tensor

from rrnn_ext.spiking import discrete_threshold, firing_rate

TAU = 0.01


def siegert(mean: float, std: float, tau: float, *, threshold: float = 1.0, reset: float = 0.0) -> float:
    with mpmath.workdps(40):
        scale = mpmath.mpf(std) * mpmath.sqrt(2)
        lower, upper = (reset - mpmath.mpf(mean)) / scale, (threshold - mpmath.mpf(mean)) / scale
        cuts = [-100, -30, -10, -3, 0, 3, 10, 20, upper - 3, upper - 1, upper - 0.3, upper - 0.05]
        points = [lower, *sorted(cut for cut in cuts if lower < cut < upper), upper]
        integral = mpmath.quad(lambda u: mpmath.exp(u * u) * mpmath.erfc(-u), points)
        return float(1 / (tau * mpmath.sqrt(mpmath.pi) * integral))


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class TestContinuousTime:
    @pytest.mark.parametrize(
        ("mean", "std"),
        [
            *[(0.0, 0.645), (0.0, 1.0), (0.0, 0.05), (-3.0, 0.3), (0.5, 0.2)],  # driven by fluctuations
            *[(1.0, 0.5), (1.2, 0.1), (2.0, 0.02), (1.5, 1e-3), (0.99, 0.02), (1.0, 1e-3)],  # and by the mean
            *[(0.0, 50.0), (50.0, 0.9), (51.0, 1.0), (1e3, 1.0)],  # far from where neurons live
        ],
    )
    def test_equals_the_integral(self, mean: float, std: float) -> None:
        rate = firing_rate(mean, double(std), tau=TAU)
        assert rate.item() == pytest.approx(siegert(mean, std, TAU), rel=1e-12)

    def test_threshold_reset_and_refractory_time(self) -> None:
        rate = firing_rate(double(-55.0), 6.0, tau=0.02, threshold=-50.0, reset=-70.0, refractory=0.003)
        assert 1 / rate.item() == pytest.approx(0.003 + 1 / siegert(-55, 6, 0.02, threshold=-50, reset=-70), rel=1e-12)

    def test_without_noise_the_potential_relaxes_exponentially(self) -> None:
        mean = double(2.0, 0.5, 1 + 1e-9)
        rates = firing_rate(mean, 0.0, tau=TAU)
        assert rates.tolist() == pytest.approx([1 / (TAU * math.log(2)), 0.0, 1 / (TAU * math.log(1e9))], rel=1e-7)

    @pytest.mark.parametrize("dt", [None, 1e-3])
    def test_without_noise_a_mean_at_the_threshold_is_not_enough(self, dt: float | None) -> None:
        """The potential comes near it for ever."""
        mean = double(1.0).requires_grad_()
        rate = firing_rate(mean, 0.0, tau=TAU, dt=dt)
        rate.backward()
        assert rate.item() == 0.0
        assert mean.grad is not None
        assert mean.grad.item() == 0.0

    def test_a_rate_too_small_for_the_dtype_is_zero_with_zero_derivatives(self) -> None:
        mean = double(-50.0, -1e3).requires_grad_()
        std = double(1.0, 1e-6).requires_grad_()
        rate = firing_rate(mean, std, tau=TAU)
        assert rate.tolist() == [0.0, 0.0]
        for gradient in torch.autograd.grad(rate.sum(), (mean, std)):
            assert gradient.tolist() == [0.0, 0.0]


def rate_of_seven(*arguments: Tensor) -> Tensor:
    mean, std, tau, threshold, reset, refractory = arguments[:6]
    dt = arguments[6] if len(arguments) > 6 else None
    return firing_rate(mean, std, tau=tau, threshold=threshold, reset=reset, refractory=refractory, dt=dt)


NEURONS = [
    *[double(0.0, 0.5, 2.0, 1.0), double(0.6, 0.7, 0.3, 0.4), double(0.01, 0.02, 0.01, 0.03)],
    *[double(1.0, 1.0, 1.1, 1.0), double(0.0, 0.2, 0.1, 0.0), double(5e-4, 1e-3, 2e-3, 3e-3)],
    double(1e-3, 2e-3, 5e-4, 1e-3),
]


class TestDerivatives:
    @pytest.mark.parametrize("count", [6, 7], ids=["continuous", "discrete"])
    def test_in_every_argument(self, count: int) -> None:
        arguments = [argument.clone().requires_grad_() for argument in NEURONS[:count]]
        assert torch.autograd.gradcheck(rate_of_seven, arguments, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(rate_of_seven, arguments)

    @pytest.mark.parametrize("dt", [None, 1e-3])
    def test_under_transforms(self, dt: float | None) -> None:
        def rate(mean: Tensor) -> Tensor:
            return firing_rate(mean, 0.5, tau=TAU, dt=dt)

        means = double(-0.5, 0.0, 1.0)
        slopes = torch.func.vmap(torch.func.grad(rate))(means)
        steps = (rate(means + 1e-5) - rate(means - 1e-5)) / 2e-5
        torch.testing.assert_close(slopes, steps, rtol=1e-7, atol=0)


def mean_passage_time(mean: float, std: float, dt: float) -> float:
    """From 0 to 1 by the integral equation of the steps: m = 1 + integral of p(next | now) m(next), on a fine grid."""
    decay = math.exp(-dt / TAU)
    step = std * math.sqrt(1 - decay * decay)
    lowest = min(mean - 8 * std, 1 - 12 * step, -20 * step)
    edges = np.linspace(lowest, 1.0, math.ceil((1 - lowest) / step) + 2)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(edges)[:, None] / 2
    x, w = (edges[:-1, None] + half * (nodes + 1)).ravel(), (half * weights).ravel()

    def kernel(start: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return scipy.stats.norm.pdf(x, mean + decay * (start[:, None] - mean), step) * w

    steps = np.linalg.solve(np.eye(len(x)) - kernel(x), np.ones(len(x)))
    return float(dt * (1 + kernel(np.zeros(1)) @ steps)[0])


class TestOnceAStep:
    @pytest.mark.parametrize("dt", [2e-4, 1e-3, 5e-3, 1e-2])
    @pytest.mark.parametrize(
        ("mean", "std"), [(0.0, 0.5), (-1.0, 0.7), (0.5, 1.0), (0.9, 0.1), (1.5, 0.05), (1.5, 0.3), (2.0, 1.0)]
    )
    def test_equals_the_integral_equation(self, mean: float, std: float, dt: float) -> None:
        rate = firing_rate(mean, double(std), tau=TAU, dt=dt)
        assert rate.item() == pytest.approx(1 / mean_passage_time(mean, std, dt), rel=2e-7)

    @pytest.mark.parametrize(("thresholds", "dt", "rate"), [(5, 5e-3, 5.6705632e-5), (7, 1e-2, 1.27981096e-10)])
    def test_rare_spikes(self, thresholds: int, dt: float, rate: float) -> None:
        """Against the integral equation solved by mpmath with 40 digits (80 nodes from -9 std to the threshold)."""
        assert firing_rate(0.0, double(1 / thresholds), tau=TAU, dt=dt).item() == pytest.approx(rate, rel=1e-6)

    def test_is_that_of_continuous_time_for_short_steps(self) -> None:
        std = double(0.4, 0.7, 1.0)
        torch.testing.assert_close(
            firing_rate(0.2, std, tau=TAU, dt=1e-10), firing_rate(0.2, std, tau=TAU), rtol=2e-4, atol=0
        )

    def test_without_noise_whole_steps_pass(self) -> None:
        rate = firing_rate(double(2.0, 0.5, 1.05), 0.0, tau=TAU, dt=1e-3)
        assert rate.tolist() == pytest.approx([1 / 7e-3, 0.0, 1 / 31e-3])  # 6.93 and 30.4 steps

    def test_strong_drive_fires_at_every_step(self) -> None:
        assert firing_rate(double(1e3), 1.0, tau=TAU, dt=1e-3, refractory=2e-3).item() == pytest.approx(1 / 3e-3)

    def test_many_neurons_at_once(self) -> None:
        mean = torch.linspace(-1, 2, 600, dtype=torch.float64).requires_grad_()
        rates = firing_rate(mean, 0.5, tau=TAU, dt=1e-3)
        (slopes,) = torch.autograd.grad(rates.sum(), mean)
        for some in (3, 255, 256, 599):
            one = mean[some].detach().requires_grad_()
            rate = firing_rate(one, 0.5, tau=TAU, dt=1e-3)
            torch.testing.assert_close(rates[some], rate, rtol=1e-7, atol=0)
            torch.testing.assert_close(slopes[some], torch.autograd.grad(rate, one)[0], rtol=1e-5, atol=0)


class TestForm:
    def test_broadcasts_and_keeps_the_dtype(self) -> None:
        rates = firing_rate(torch.zeros(3, 1), torch.linspace(0.2, 1, 4), tau=TAU)
        assert rates.shape == (3, 4)
        assert rates.dtype == torch.float32
        assert firing_rate(0.0, 1.0, tau=TAU).dtype == torch.get_default_dtype()

    def test_nan_gives_nan(self) -> None:
        assert firing_rate(math.nan, 1.0, tau=TAU).isnan()

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            ({"std": -1.0}, ValueError, "std must be >= 0, got -1"),
            ({"tau": 0.0}, ValueError, r"tau must be > 0 \(seconds\), got 0"),
            ({"reset": 1.0}, ValueError, "reset must be below the threshold, got 1"),
            ({"dt": 0.02}, ValueError, "dt must be at most tau, got 0.02"),
            ({"dt": 0.0}, ValueError, "dt must be > 0"),
            ({"refractory": -1.0}, ValueError, "refractory must be >= 0"),
            ({"mean": torch.tensor(1)}, TypeError, "mean must be of a floating-point dtype, got torch.int64"),
            ({"tau": "10 ms"}, TypeError, r"tau must be a number or a tensor, got '10 ms' \(str\)"),
            ({"mean": torch.zeros(3), "std": torch.ones(2)}, ValueError, r"got mean \(3,\), std \(2,\)"),
        ],
    )
    def test_errors_name_the_argument(self, wrong: dict[str, Any], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            firing_rate(**{"mean": 0.0, "std": 1.0, "tau": TAU, **wrong})


def test_the_lowered_threshold_restores_the_rate_of_continuous_time() -> None:
    std = double(0.645)
    lowered = discrete_threshold(1.0, std, tau=TAU, dt=1e-3)
    assert lowered.item() == pytest.approx(1 - 0.5825971579 * 0.645 * math.sqrt(0.2), rel=1e-9)
    rate = firing_rate(0.0, std, tau=TAU, dt=1e-3, threshold=lowered)
    assert rate.item() == pytest.approx(firing_rate(0.0, std, tau=TAU).item(), rel=0.01)
