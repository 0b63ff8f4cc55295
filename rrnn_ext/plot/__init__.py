"""Pictures of walks: functions that take tensors, and take and return matplotlib's Axes."""

from rrnn_ext.plot.maps import influence_map

__all__ = ["influence_map"]
