"""Gauss-Legendre quadrature and the scaled error function, as the rate formulas need them."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

_SQRT_PI = math.sqrt(math.pi)
_NODES = 40
_NEGLIGIBLE = 40.0  # exp(-40) is below the rounding of float64
_FAR = 50.0  # from here on five terms of the asymptotic series are exact in float64


def gauss_legendre(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and weights (count,) of the rule on [0, 1], float64 and on the device of a tensor."""
    nodes, weights = _rule(count)
    return (
        torch.tensor(nodes, dtype=torch.float64, device=like.device),
        torch.tensor(weights, dtype=torch.float64, device=like.device),
    )


@functools.lru_cache(maxsize=32)
def _rule(count: int) -> tuple[list[float], list[float]]:
    """Newton's iteration. Numbers, not tensors: those would belong to the first caller's mode."""
    nodes, weights = [], []
    for k in range(count):
        x = -math.cos(math.pi * (k + 0.75) / (count + 0.5))
        for _ in range(100):
            before, value = 1.0, x
            for degree in range(2, count + 1):
                before, value = value, ((2 * degree - 1) * x * value - (degree - 1) * before) / degree
            slope = count * (x * value - before) / (x * x - 1)
            step = value / slope
            x -= step
            if abs(step) < 1e-15:
                break
        nodes.append((1 + x) / 2)
        weights.append(1 / ((1 - x * x) * slope * slope))
    return nodes, weights


def erfcx(x: Tensor) -> Tensor:
    """exp(x²) erfc(x) for x >= 0 (as at 0 below it), with derivatives that keep their digits for large x."""
    near = torch.special.erfcx(x.clamp(0.0, _FAR))
    inverse = 1 / x.clamp_min(_FAR)
    t = inverse.square() / 2
    series = 1 - t * (1 - 3 * t * (1 - 5 * t * (1 - 7 * t * (1 - 9 * t))))
    return torch.where(x < _FAR, near, series * inverse / _SQRT_PI)


def falling_below(bottom: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """For integrals of exp(u² - top²) g(u) over u from bottom to top, 0 <= bottom <= top.

    Nodes (..., n) where the factor is not negligible, as their distance below the top, and weights that include it.
    """
    nodes, weights = gauss_legendre(_NODES, top)
    root = (top.square() - _NEGLIGIBLE).clamp_min(0).sqrt()
    reach = torch.where(root > 0, _NEGLIGIBLE / (top + root).clamp_min(1), top)
    depth = torch.minimum(top - bottom, reach)[..., None]
    below_top = depth * nodes
    return below_top, depth * weights * torch.exp(-below_top * (2 * top[..., None] - below_top))


def integral_of_exp_square(bottom: Tensor, top: Tensor) -> Tensor:
    """The integral of exp(u² - top²) over u from bottom to top, 0 <= bottom <= top."""
    return falling_below(bottom, top)[1].sum(-1)


def tanh_sinh(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes t on [0, 1], log(1 - t), and weights divided by 1 - t (Takahasi & Mori, Publ. RIMS 1974).

    For integrands that are singular at 1 such as (1 - t)^(k - 1), k > 1e-4.
    """
    z = torch.arange(-4.0, 12.0, 1 / 16, dtype=torch.float64, device=like.device)
    exponent = math.pi * torch.sinh(z)
    nodes = torch.sigmoid(exponent)
    return nodes, torch.nn.functional.logsigmoid(-exponent), math.pi / 16 * torch.cosh(z) * nodes
