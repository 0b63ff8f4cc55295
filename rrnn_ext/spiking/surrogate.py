"""Surrogate derivatives of a spike: what back-propagation takes for the derivative of a step.

A neuron spikes where its membrane potential reaches the threshold, a step function of ``u = potential - threshold``
whose derivative is zero almost everywhere. The backward pass puts a smooth bump in its place (Neftci, Mostafa & Zenke
2019, "Surrogate gradient learning in spiking neural networks"). Each bump here is 1 at the threshold, and ``slope``
says how fast it falls with the distance from it.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

from torch import Tensor

Surrogate: TypeAlias = Literal["fast_sigmoid", "atan", "triangle"]

#: In the order that the native op numbers them.
SURROGATES: tuple[Surrogate, ...] = get_args(Surrogate)

DEFAULT_SLOPE = 25.0


def surrogate_derivative(
    distance: Tensor, surrogate: Surrogate = "fast_sigmoid", slope: float = DEFAULT_SLOPE
) -> Tensor:
    """What stands for d spike / d potential, at ``distance = potential - threshold``; of the shape of ``distance``.

    - ``"fast_sigmoid"``: ``1 / (1 + slope |u|)^2`` (Zenke & Ganguli 2018, "SuperSpike")
    - ``"atan"``: ``1 / (1 + (pi slope u / 2)^2)`` (Fang et al. 2021, "Incorporating learnable membrane time constant")
    - ``"triangle"``: ``max(0, 1 - slope |u|)`` (Bellec et al. 2018, "Long short-term memory in networks of spiking
      neurons"), zero from ``1 / slope`` on

    ::

        >>> surrogate_derivative(torch.tensor([-0.04, 0.0, 0.02]), "triangle", slope=25.0)
        tensor([0.0000, 1.0000, 0.5000])

    Raises:
        ValueError: ``surrogate`` is none of these, or ``slope`` is not positive and finite.
    """
    check_surrogate(surrogate, slope)
    if surrogate == "fast_sigmoid":
        return (1 + slope * distance.abs()).square().reciprocal()
    if surrogate == "atan":
        return (1 + (math.pi / 2 * slope * distance).square()).reciprocal()
    return (1 - slope * distance.abs()).clamp(min=0)


def check_surrogate(surrogate: str, slope: float) -> None:
    if surrogate not in SURROGATES:
        raise ValueError(f"surrogate must be one of {', '.join(map(repr, SURROGATES))}, got {surrogate!r}")
    if not 0 < slope < math.inf:
        raise ValueError(f"slope must be positive and finite, got {slope}")
