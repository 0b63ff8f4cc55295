"""The penalties that are compared: each takes the network and a sequence's length, and returns the penalty to call."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.utils import parameters_to_vector

import rrnn_ext
from experiments.training import Network


def l1(network: Network, steps: int) -> Callable[[], Tensor]:
    """Sum of |w| over the three matrices that the pathways run through: recurrent, input and read-out weights.

    The same three that the resolvent penalty sees, and like it without the biases.
    """
    del steps
    return lambda: parameters_to_vector(network.weights()).abs().sum()


def resolvent(network: Network, steps: int) -> Callable[[], Tensor]:
    """Sum of |R_io|, R_io the signed walks from inputs to outputs at every lag that a sequence has."""
    return rrnn_ext.ResolventPenalty(network.rnn, network.readout, hops=steps)


REGULARISERS: dict[str, Callable[[Network, int], Callable[[], Tensor]]] = {"L1": l1, "resolvent": resolvent}
