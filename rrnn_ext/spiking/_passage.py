"""How long the free membrane potential (an Ornstein-Uhlenbeck process) takes from the reset to the threshold."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rrnn_ext.spiking._quadrature import erfcx, falling_below, gauss_legendre

_NODES = 40
_AT_ONCE = 1 << 15
_SQRT_PI = math.sqrt(math.pi)


def scaled_passage_time(reset: Tensor, threshold: Tensor) -> Tensor:
    """Mean passage time in units of tau, times exp(-max(threshold, 0)² / 2), which keeps it finite.

    `reset` and `threshold` are in standard deviations from the mean of the free potential. It is Siegert's formula
    (Phys. Rev. 1951): sqrt(pi) times the integral of exp(u²) (1 + erf u) from reset / sqrt 2 to threshold / sqrt 2.
    """
    lower, upper = torch.broadcast_tensors(reset / math.sqrt(2), threshold / math.sqrt(2))
    return _SQRT_PI * _ScaledIntegral.apply(lower, upper)


class _ScaledIntegral(torch.autograd.Function):
    """exp(-max(upper, 0)²) times the integral of erfcx(-u) from lower to upper; both limits have known derivatives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(lower: Tensor, upper: Tensor) -> Tensor:
        # Every limit takes 40 nodes: many of them would fill the memory.
        parts = zip(*(limit.reshape(-1).split(_AT_ONCE) for limit in (lower, upper)), strict=True)
        return torch.cat([_integral(*part) for part in parts]).reshape(lower.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        by_lower, by_upper = _derivatives(*ctx.saved_tensors)
        return grad * by_lower, grad * by_upper

    @staticmethod
    def jvp(ctx: Any, lower_tangent: Tensor, upper_tangent: Tensor) -> Tensor:
        by_lower, by_upper = _derivatives(*ctx.saved_tensors)
        return by_lower * lower_tangent + by_upper * upper_tangent


def _integral(lower: Tensor, upper: Tensor) -> Tensor:
    below = _integral_below_zero(lower, upper) * torch.exp(-upper.clamp_min(0).square())
    return _integral_above_zero(lower, upper) + below


def _derivatives(lower: Tensor, upper: Tensor, integral: Tensor) -> tuple[Tensor, Tensor]:
    top, bottom = upper.clamp_min(0), lower.clamp_min(0)
    at_lower = torch.where(lower > 0, torch.erfc(-bottom), erfcx(-lower))
    at_upper = torch.where(upper > 0, torch.erfc(-top), erfcx(-upper))
    return -torch.exp((bottom - top) * (bottom + top)) * at_lower, at_upper - 2 * top * integral


def _integral_below_zero(lower: Tensor, upper: Tensor) -> Tensor:
    """The part where u < 0, unscaled: erfcx falls like 1 / |u|, so the nodes are even in a logarithm."""
    nodes, weights = gauss_legendre(_NODES, lower)
    near, far = (-upper).clamp_min(0), (-lower).clamp_min(0)
    span = torch.log1p((far - near) / (1 + near))
    stretch = torch.exp(span[..., None] * nodes) * (1 + near)[..., None]
    return span * (stretch * torch.special.erfcx(stretch - 1) @ weights)


def _integral_above_zero(lower: Tensor, upper: Tensor) -> Tensor:
    """The part where u > 0, scaled."""
    top = upper.clamp_min(0)
    below_top, weights = falling_below(lower.clamp_min(0), top)
    return (weights * torch.erfc(below_top - top[..., None])).sum(-1)
