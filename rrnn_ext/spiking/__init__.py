"""Spiking networks: firing rates, and weights that start at the rate that was asked for. Seconds, Hz."""

from rrnn_ext.spiking.rates import firing_rate
from rrnn_ext.spiking.threshold import discrete_threshold

__all__ = [
    "discrete_threshold",
    "firing_rate",
]
