"""The penalties that are compared: each takes a stack of networks and the sequences' length, and returns (b,)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

import rrnn_ext
from experiments.training.stacked import Networks

Regulariser = Callable[[Networks, int], Tensor]

UNPENALISED = "none"

# The series of exp(A) ends with A^10 / 10!. A has spectral radius 1, and 1/11! is 3e-8, float32's rounding.
COMMUNICABILITY_HOPS = 10


def none(networks: Networks, steps: int) -> Tensor:
    """Zero."""
    del steps
    return networks.weight_hh.new_zeros(len(networks.weight_hh))


def l1(networks: Networks, steps: int) -> Tensor:
    """Σ|w| over the matrices that the walks run through: recurrent, input and read-out weights, not the biases."""
    del steps
    return torch.stack([weights.abs().sum((-2, -1)) for weights in _walked(networks)]).sum(0)


def l2(networks: Networks, steps: int) -> Tensor:
    """Σ w² over the same matrices as :func:`l1`."""
    del steps
    return torch.stack([weights.square().sum((-2, -1)) for weights in _walked(networks)]).sum(0)


def resolvent(networks: Networks, steps: int) -> Tensor:
    """‖Σ_m P_m‖₁, P_m = V W^m U the signed walks from inputs to outputs at lag m < steps: the R-RNN of the paper."""
    return rrnn_ext.resolvent_penalty(*_walked(networks), hops=steps, reduction="none")


def resolvent_per_hop(networks: Networks, steps: int) -> Tensor:
    """Σ_m ‖P_m‖₁: the lags cannot cancel one another."""
    return rrnn_ext.resolvent_penalty(*_walked(networks), hops=steps, per_hop=True, reduction="none")


def resolvent_rectified(networks: Networks, steps: int) -> Tensor:
    """‖Σ_m |V| |W|^m |U|‖₁: no two walks can cancel one another."""
    return rrnn_ext.resolvent_penalty(*_walked(networks), hops=steps, rectify=True, reduction="none")


def se_rnn(networks: Networks, steps: int) -> Tensor:
    """Σ |W| ∘ C off the diagonal, C the :func:`communicability` of W: the recurrent weights alone, at no lag.

    The regulariser of spatially embedded RNNs with every distance 1, since these networks lie in no space: Achterberg
    et al., Nature Machine Intelligence 5, 1369 (2023), doi 10.1038/s42256-023-00748-9.
    """
    del steps
    dear = networks.weight_hh.abs() * communicability(networks.weight_hh)
    return dear.sum((-2, -1)) - dear.diagonal(dim1=-2, dim2=-1).sum(-1)


def communicability(weight_hh: Tensor) -> Tensor:
    """exp(S^-½ |W| S^-½) - I for (..., n, n), S_j = Σ_i |W_ij| the strength of what leaves unit j.

    A resolvent with the hops weighted by 1/m!. Left out is the identity, the walk without an edge: a diagonal. For a
    unit that nothing leaves, S^-½ is taken as zero.
    """
    strength = weight_hh.abs().sum(-2)
    scale = torch.where(strength > 0, strength, 1).rsqrt() * (strength > 0)
    factors = [1 / math.factorial(edges) for edges in range(1, COMMUNICABILITY_HOPS + 1)]
    return rrnn_ext.resolvent(
        scale[..., None] * weight_hh * scale[..., None, :],
        hops=COMMUNICABILITY_HOPS,
        rectify=True,
        hop_weights=weight_hh.new_tensor(factors),
    )


REGULARISERS: dict[str, Regulariser] = {
    UNPENALISED: none,
    "L1": l1,
    "L2": l2,
    "R-RNN": resolvent,
    "R-RNN per hop": resolvent_per_hop,
    "R-RNN rectified": resolvent_rectified,
    "seRNN": se_rnn,
}


def named(name: str) -> Regulariser:
    """The regulariser of that name; ValueError with the known names for any other."""
    if name not in REGULARISERS:
        raise ValueError(f"regulariser must be one of {', '.join(REGULARISERS)}; got {name!r}")
    return REGULARISERS[name]


def _walked(networks: Networks) -> tuple[Tensor, Tensor, Tensor]:
    return networks.weight_hh, networks.weight_in, networks.weight_out
