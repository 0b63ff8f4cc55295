"""What a trained network's weights say about what it computes, and whether its behaviour agrees."""

from rrnn_ext.networks.states import CheckpointError
from rrnn_ext.reading.comparison import alignment, communication_sparsity, correlation
from rrnn_ext.reading.lags import gini, hop_profile, hoyer, mean_lag, signal_share
from rrnn_ext.reading.maps import influence_map, single_hop_maps, unit_radius
from rrnn_ext.reading.network import Network
from rrnn_ext.reading.response import IMPULSE, lag_response_by_impulses, lag_response_by_jacobian
from rrnn_ext.reading.strongest import Walk, strongest_walks
from rrnn_ext.reading.whole_graph import WholeGraph, whole_graph

__all__ = [
    "IMPULSE",
    "CheckpointError",
    "Network",
    "Walk",
    "WholeGraph",
    "alignment",
    "communication_sparsity",
    "correlation",
    "gini",
    "hop_profile",
    "hoyer",
    "influence_map",
    "lag_response_by_impulses",
    "lag_response_by_jacobian",
    "mean_lag",
    "signal_share",
    "single_hop_maps",
    "strongest_walks",
    "unit_radius",
    "whole_graph",
]
