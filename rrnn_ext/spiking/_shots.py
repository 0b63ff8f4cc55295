"""Poisson input in single jumps: its description, checked, and the rate where sizes are exponentially distributed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext.spiking._neuron import Number, check_all, to_float64, without_nan
from rrnn_ext.spiking._quadrature import tanh_sinh

_NEGLIGIBLE = 45.0  # exp(-45) is far below the rounding of float64


class ShotNoise(NamedTuple):
    """Float64 tensors of one shape; potentials are measured from the rest."""

    dtype: torch.dtype  # of the result
    rate_exc: Tensor
    size_exc: Tensor
    rate_inh: Tensor
    size_inh: Tensor
    tau: Tensor
    threshold: Tensor
    reset: Tensor
    refractory: Tensor
    is_unknown: Tensor  # where one of them was NaN
    size_std: Tensor | None = None  # of normally distributed sizes; None where sizes are exponentially distributed

    @property
    def mean(self) -> Tensor:
        """Of the free potential."""
        return self.tau * (self.rate_exc * self.size_exc - self.rate_inh * self.size_inh)

    @property
    def variance(self) -> Tensor:
        squares = self.rate_exc * self.size_exc.square() + self.rate_inh * self.size_inh.square()
        if self.size_std is None:
            return self.tau * squares
        return self.tau / 2 * (squares + (self.rate_exc + self.rate_inh) * self.size_std.square())

    def unsqueezed(self) -> ShotNoise:
        """With a dimension more, for the nodes or cells of each neuron."""
        size_std = None if self.size_std is None else self.size_std[..., None]
        tensors = [x[..., None] for x in self[1:10]]
        return ShotNoise(self.dtype, *tensors)._replace(size_std=size_std)


def checked_shot_noise(
    rate_exc: Number,
    size_exc: Number,
    rate_inh: Number,
    size_inh: Number,
    *,
    tau: Number,
    threshold: Number,
    reset: Number,
    refractory: Number,
    rest: Number,
    size_std: Number | None,
) -> ShotNoise:
    """All of it, or an error that names the argument."""
    inputs = {"rate_exc": rate_exc, "size_exc": size_exc, "rate_inh": rate_inh, "size_inh": size_inh}
    neuron = {"tau": tau, "threshold": threshold, "reset": reset, "refractory": refractory, "rest": rest}
    given = {**inputs, **neuron, **({} if size_std is None else {"size_std": size_std})}
    values, dtype = to_float64(**given)
    named = dict(zip(given, values, strict=True))
    for name in ("rate_exc", "rate_inh", "size_inh", "refractory"):
        check_all(named[name] >= 0, f"{name} must be >= 0", named[name])
    check_all(named["tau"] > 0, "tau must be > 0", named["tau"])
    if size_std is None:
        check_all(named["size_exc"] > 0, "size_exc must be > 0", named["size_exc"])
        # Jumps of no size are no jumps, which matters where neurons wait for one.
        named["rate_inh"] = torch.where(named["size_inh"] > 0, named["rate_inh"], 0.0)
    else:
        check_all(named["size_exc"] >= 0, "size_exc must be >= 0", named["size_exc"])
        check_all(named["size_std"] >= 0, "size_std must be >= 0", named["size_std"])
    for name in ("reset", "rest"):
        potential = named[name]
        check_all(~(potential >= named["threshold"]), f"{name} must be below the threshold", potential)
    named, is_unknown = without_nan(named)
    rest_potential = named.pop("rest")
    named["threshold"] = named["threshold"] - rest_potential
    named["reset"] = named["reset"] - rest_potential
    return ShotNoise(dtype, **named, is_unknown=is_unknown)


def exponential_shots_rate(shots: ShotNoise) -> Tensor:
    """Richardson & Swarbrick (Phys. Rev. Lett. 2010), with t = size_exc times their x.

    The passage time is tau times the integral over t in [0, 1] of exp(psi) / (1 - t) / t (1 - (1 - t) exp(-d t)), where
    d is the distance from reset to threshold in units of size_exc. psi is concave: the integral goes as far as it is
    not negligible, and is scaled by the maximum of exp(psi).
    """
    with torch.no_grad():
        peak, last = _peak(shots), torch.ones_like(shots.tau)
        low, least = peak, _psi(shots, peak, torch.log1p(-peak)) - _NEGLIGIBLE
        for _ in range(53):
            centre = (low + last) / 2
            counts = _psi(shots, centre, torch.log1p(-centre)) > least
            low, last = torch.where(counts, centre, low), torch.where(counts, last, centre)
    highest = _psi(shots, peak, torch.log1p(-peak))
    nodes, log_complements, weights = tanh_sinh(peak)
    t = last[..., None] * nodes
    log_rest = torch.logaddexp(torch.log1p(-last)[..., None], torch.log(last)[..., None] + log_complements)
    each = shots.unsqueezed()
    passed = -torch.expm1(log_rest - (each.threshold - each.reset) / each.size_exc * t)
    integrand = torch.exp(_psi(each, t, log_rest) + log_complements - log_rest - highest[..., None]) * passed / t
    rate = torch.exp(-highest) / (shots.tau * last * (integrand @ weights))
    rate = torch.where(shots.rate_exc > 0, rate, 0.0)
    return rate / (1 + shots.refractory * rate)


def _psi(shots: ShotNoise, t: Tensor, log_rest: Tensor) -> Tensor:
    """The logarithm of exp(threshold t / size_exc) / Z0; log_rest is log(1 - t)."""
    excitation = shots.tau * shots.rate_exc * log_rest
    inhibition = shots.tau * shots.rate_inh * torch.log1p(shots.size_inh / shots.size_exc * t)
    return excitation + inhibition + shots.threshold / shots.size_exc * t


def _peak(shots: ShotNoise) -> Tensor:
    """Where psi is greatest: psi' (1 - t) (1 + ratio t) is a parabola that falls through 0 there, if not before 0."""
    arrivals, ratio, height = (
        shots.tau * shots.rate_exc,
        shots.size_inh / shots.size_exc,
        shots.threshold / shots.size_exc,
    )
    inhibition = shots.tau * shots.rate_inh * ratio
    at_zero = inhibition + height - arrivals
    slope = height * (ratio - 1) - inhibition - arrivals * ratio
    root = (slope.square() + 4 * height * ratio * at_zero).clamp_min(0).sqrt()
    return torch.where(at_zero > 0, 2 * at_zero / (root - slope), 0).clamp(0, 1 - 2**-53)
