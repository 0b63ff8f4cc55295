"""Spiking networks: neurons, firing rates, and weights that start at the rate that was asked for. Seconds, Hz."""

from rrnn_ext.spiking.neurons import LIF, lif
from rrnn_ext.spiking.rates import firing_rate
from rrnn_ext.spiking.state import LIFState
from rrnn_ext.spiking.surrogate import surrogate_derivative
from rrnn_ext.spiking.threshold import discrete_threshold

__all__ = [
    "LIF",
    "LIFState",
    "discrete_threshold",
    "firing_rate",
    "lif",
    "surrogate_derivative",
]
