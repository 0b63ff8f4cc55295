"""What is raised of a sum of walks that is not there, or not to be had."""

from __future__ import annotations

import math

import torch


class ResolventDivergenceError(ValueError):
    """An infinite sum of walks was asked for where it does not converge, or was not proved to.

    Attributes:
        spectral_radius: that of ``alpha * phi(weight_hh)``; of a batch, the largest. By the eigenvalues up to 256
            units; above that mostly an estimate, which :func:`resolvent_info` makes exact.
        max_alpha: the sum is known to converge for every alpha below this. It is ``1 / spectral radius of
            phi(weight_hh)`` where that is exact, and else what a bound of the radius allows. For signed weights whose
            radius is not computed that may be less than ``resolvent_info(weight_hh).max_alpha``: a call that has seen
            that its sum diverges stops looking at powers, and info goes on until the bound is close.
        rectify: whether phi is the absolute value.
        device: None; or the CUDA device on which an earlier sum, whose value is NaN, was not proved to converge. The
            numbers above are NaN then: the weights of that call may be gone by now.
        entry: which graph of a batch it was, counted through all batch dimensions; None where there is one graph.
        where: what a caller that knows more says of the place, such as a gate; empty where nobody did.
    """

    def __init__(
        self,
        spectral_radius: float,
        alpha: float,
        rectify: bool = False,
        device: torch.device | None = None,
        upper_bound: float | None = None,
        entry: int | None = None,
    ) -> None:
        super().__init__(spectral_radius, alpha, rectify, device, upper_bound, entry)
        self.spectral_radius = spectral_radius
        self.rectify = rectify
        self.device = device
        self.entry = entry
        self.where = ""
        self._upper_bound = spectral_radius if upper_bound is None else upper_bound
        self.max_alpha = float("inf") if self._upper_bound <= 0 else alpha / self._upper_bound

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else "" if self.entry is None else f" (of entry {self.entry})"
        if self.device is not None:
            return (
                f"an earlier sum over all walks on {self.device} diverges, or is too ill-conditioned to tell, and its "
                f"value was NaN{where}; see rrnn_ext.resolvent_info, or take a smaller alpha or finite hops"
            )
        phi = "|weight_hh|" if self.rectify else "weight_hh"
        is_known = self._upper_bound <= 1.001 * self.spectral_radius  # else the radius is an estimate
        diverges = "diverges" if is_known and self.spectral_radius > 1 + 1e-5 else "was not proved to converge"
        at_most = "" if is_known else f" and at most {_digits(self._upper_bound)}"
        return (
            f"the sum over all walks {diverges}{where}: the spectral radius of alpha * {phi} is about "
            f"{_digits(self.spectral_radius)}{at_most}, and must be below 1; it converges for alpha < "
            f"{_digits(self.max_alpha)}, or take a finite number of hops"
        )


def _digits(number: float) -> str:
    """Six digits, or as many more as tell the number from 1."""
    distance = abs(number - 1)
    more = 0 if distance == 0 or not math.isfinite(distance) else max(0, math.ceil(-math.log10(distance)) - 4)
    return f"{number:.{min(6 + more, 17)}g}"


class ResolventConditionError(ValueError):
    """A sum of walks is there, but rounding decides its digits: even in float64 it may be off by more than 2^-11.

    Attributes:
        condition: how much larger than a relative rounding of the weights the relative error of the sum may be.
        dtype: in which the last attempt was made.
    """

    def __init__(self, condition: float, dtype: torch.dtype, advice: str) -> None:
        super().__init__(condition, dtype, advice)
        self.condition = condition
        self.dtype = dtype
        self._advice = advice

    def __str__(self) -> str:
        return (
            f"the sum of walks is too ill-conditioned to be computed in {self.dtype}: rounding of the weights counts "
            f"about {self.condition:.2g} times in it; {self._advice}"
        )
