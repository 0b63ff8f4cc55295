"""Spiking networks: neurons, firing rates, and weights that start at the rate that was asked for. Seconds, Hz."""

from rrnn_ext.spiking import init
from rrnn_ext.spiking.calibrate import Calibration, calibrate_
from rrnn_ext.spiking.coloured import firing_rate_coloured
from rrnn_ext.spiking.density import membrane_density, membrane_density_shot_noise
from rrnn_ext.spiking.neurons import LIF, lif
from rrnn_ext.spiking.pathways import SpikingPathways
from rrnn_ext.spiking.propagation import LayerStatistics, variance_propagation
from rrnn_ext.spiking.rates import firing_rate
from rrnn_ext.spiking.response import kick_response
from rrnn_ext.spiking.shot_noise import firing_rate_shot_noise
from rrnn_ext.spiking.state import LIFState
from rrnn_ext.spiking.surrogate import surrogate_derivative
from rrnn_ext.spiking.threshold import discrete_threshold

__all__ = [
    "LIF",
    "Calibration",
    "LIFState",
    "LayerStatistics",
    "SpikingPathways",
    "calibrate_",
    "discrete_threshold",
    "firing_rate",
    "firing_rate_coloured",
    "firing_rate_shot_noise",
    "init",
    "kick_response",
    "lif",
    "membrane_density",
    "membrane_density_shot_noise",
    "surrogate_derivative",
    "variance_propagation",
]
