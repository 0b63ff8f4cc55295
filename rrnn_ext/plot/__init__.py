"""Pictures of walks: functions that take tensors, and take and return matplotlib's Axes.

Each draws into ``ax``, or into the Axes of a new figure if that is left out. They need matplotlib, which comes with
the extra ``rrnn_ext[reading]``.
"""

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rrnn_ext.plot needs matplotlib: pip install rrnn_ext[reading]", name=error.name
    ) from error

from rrnn_ext.plot.lags import hop_profile
from rrnn_ext.plot.maps import influence_map, walks_by_lag

__all__ = ["hop_profile", "influence_map", "walks_by_lag"]
