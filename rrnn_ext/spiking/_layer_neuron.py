"""A neuron with its synapses as filters of the spikes that arrive, in steps of time."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._layer_rates import layer_chances, layer_clustering, layer_means
from rrnn_ext.spiking._step_passage import Arrivals, StepNeuron, chances_of_spikes
from rrnn_ext.spiking.neurons import lif
from rrnn_ext.spiking.rates import firing_rate
from rrnn_ext.spiking.state import LIFState

ZETA = 1.4603545088095868  # |zeta(1/2)|

_CHUNK = 16  # neurons at a time: memory


class LayerNeuron(NamedTuple):
    """Numbers, checked by `layer_neuron`; seconds, and potentials in one unit."""

    tau: float
    dt: float
    tau_syn: float
    threshold: float
    reset: float
    refractory: float

    @property
    def leak(self) -> float:
        return math.exp(-self.dt / self.tau)

    @property
    def leak_syn(self) -> float:
        return math.exp(-self.dt / self.tau_syn) if self.tau_syn > 0 else 0.0

    @property
    def mean_gain(self) -> float:
        """Mean of the free potential over that of the input per step."""
        return 1 / ((1 - self.leak) * (1 - self.leak_syn))

    @property
    def variance_gain(self) -> float:
        """Variance of the free potential over that of independent inputs per step: sum of the squared response."""
        a, b = self.leak, self.leak_syn
        return (1 + a * b) / ((1 - a * a) * (1 - b * b) * (1 - a * b))

    @property
    def refractory_steps(self) -> int:
        return round(self.refractory / self.dt)

    @property
    def highest_rate(self) -> float:
        """Of a spike at every look that is allowed one, in Hz."""
        return 1 / (self.dt * (1 + self.refractory_steps))

    @property
    def _in_steps(self) -> StepNeuron:
        return StepNeuron(self.leak, self.threshold, self.reset, self.refractory_steps)

    def chances(self, mean: Tensor, std: Tensor, arrivals: Arrivals) -> Tensor:
        """Of a spike within a step, of neurons whose free potential has these means and standard deviations (m,), and
        which all have the same arrivals."""
        if self.tau_syn > 0:
            return self.diffusion_rate(mean, std) * self.dt
        return layer_chances(mean, std, arrivals, self._in_steps)

    def clustering(self, mean: Tensor, std: Tensor, arrivals: Arrivals) -> Tensor:
        """Of the same neurons: the variance of their spikes as their like filters them, over that of independent ones
        (m,); 1 where there are synapses, for which it is not known."""
        if self.tau_syn > 0:
            return torch.ones_like(mean)
        return layer_clustering(mean, std, arrivals, self._in_steps)

    def mean_near_threshold(
        self, mean: Tensor, std: Tensor, arrivals: Arrivals, distances: Tensor, masses: Tensor
    ) -> Tensor:
        """Of the same neurons: mean over all steps (m,) of a function of the potential that is looked at, of which
        masses (j,) stand at distances (j,) from the threshold."""
        return layer_means(mean, std, arrivals, self._in_steps, distances=distances, masses=masses)

    def own_chances(self, mean: Tensor, std: Tensor, arrivals: Arrivals) -> Tensor:
        """The same of neurons without synapses with arrivals of their own."""
        split = zip(*(values.split(_CHUNK) for values in (mean, std, arrivals.sizes)), strict=True)
        parts = [
            chances_of_spikes(means, stds, arrivals._replace(sizes=sizes), self._in_steps)
            for means, stds, sizes in split
        ]
        return torch.cat(parts)

    def diffusion_rate(self, mean: Tensor, std: Tensor) -> Tensor:
        """In Hz, as if spikes were many and small.

        Exponential synapses raise threshold and reset as in :func:`rrnn_ext.spiking.firing_rate_coloured`, and looks
        once per step raise the threshold; of both together, the squares of the distances are added.
        """
        white = std / (self.variance_gain * (1 - self.leak**2) * (1 - self.leak_syn) ** 2) ** 0.5
        by_synapses = ZETA * white * (self.tau_syn / self.tau) ** 0.5
        by_both = ZETA * white * ((self.tau_syn + self.dt / math.pi) / self.tau) ** 0.5
        return firing_rate(
            mean,
            white,
            tau=self.tau,
            threshold=self.threshold + by_both,
            reset=self.reset + by_synapses,
            refractory=self.refractory_steps * self.dt,
        )

    def run(self, current: Tensor, state: LIFState | None, recurrent: Tensor | None = None) -> tuple[Tensor, LIFState]:
        """The neurons' spikes, (T, ..., m) as the current."""
        return lif(
            current,
            recurrent,
            tau=self.tau,
            dt=self.dt,
            tau_syn=self.tau_syn or None,
            threshold=self.threshold,
            reset=self.reset,
            refractory=self.refractory,
            state=state,
        )


def layer_neuron(
    *, tau: float, dt: float, tau_syn: float, threshold: float, reset: float, refractory: float
) -> LayerNeuron:
    """All of it, or an error that names the argument."""
    given = {
        "tau": tau, "dt": dt, "tau_syn": tau_syn, "threshold": threshold, "reset": reset, "refractory": refractory
    }  # fmt: skip
    for name, value in given.items():
        check_number(name, value)
    if tau <= 0:
        raise ValueError(f"tau must be > 0 (seconds), got {tau:g}")
    if not 0 < dt <= tau:
        raise ValueError(f"dt must be > 0 (seconds) and at most tau ({tau:g}), got {dt:g}")
    if tau_syn < 0:
        raise ValueError(f"tau_syn must be >= 0 (seconds), got {tau_syn:g}")
    if refractory < 0:
        raise ValueError(f"refractory must be >= 0 (seconds), got {refractory:g}")
    if reset >= threshold:
        raise ValueError(f"reset must be below the threshold ({threshold:g}), got {reset:g}")
    return LayerNeuron(**{name: float(value) for name, value in given.items()})


def check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value:g}")


def check_rate(name: str, value: float, highest: float, why: str) -> None:
    if not 0 < value <= highest:
        raise ValueError(f"{name} must be > 0 and at most {highest:g} Hz ({why}), got {value:g}")
