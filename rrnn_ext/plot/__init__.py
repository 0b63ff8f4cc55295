"""Pictures of networks: functions that take tensors, and take and return matplotlib's Axes.

Each draws into ``ax``, or into the Axes of a new figure if that is left out. Colours are Okabe and Ito's, and
nothing is told by colour alone. They need matplotlib, which comes with
the extra ``rrnn_ext[reading]``.
"""

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rrnn_ext.plot needs matplotlib: pip install rrnn_ext[reading]", name=error.name
    ) from error

from rrnn_ext.plot.eigenvalues import spectrum
from rrnn_ext.plot.lags import hop_profile
from rrnn_ext.plot.maps import influence_map, walks_by_lag
from rrnn_ext.plot.pathways import strongest_pathways
from rrnn_ext.plot.rates import rates_by_layer

__all__ = ["hop_profile", "influence_map", "rates_by_layer", "spectrum", "strongest_pathways", "walks_by_lag"]
