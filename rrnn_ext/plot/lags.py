"""How much each lag carries, as a line over the lags."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from rrnn_ext.plot import style


def hop_profile(shares: Tensor, ax: Axes | None = None, *, label: str | None = None) -> Axes:
    """Draw a hop profile as a line. A second call with the same ``ax`` adds a line that looks different.

    Args:
        shares: (L,), the share of each lag, as of :func:`rrnn_ext.reading.hop_profile`; drawn in per cent.
        ax: where to draw; the Axes of a new figure if left out.
        label: of the line, for ``ax.legend()``.

    Returns:
        The Axes.

    Raises:
        ValueError: ``shares`` has not one dimension.

    Example:
        >>> import torch, rrnn_ext
        >>> from rrnn_ext import plot, reading
        >>> P = rrnn_ext.hop_decomposition(torch.eye(3) / 2, torch.eye(3, 2), torch.eye(1, 3), hops=4)
        >>> ax = plot.hop_profile(reading.hop_profile(P), label="this network")
        >>> legend = ax.legend()
    """
    if shares.dim() != 1:
        raise ValueError(f"shares must be (L,), got {tuple(shares.shape)}")
    ax = style.own_axes() if ax is None else ax
    values = [100 * share for share in shares.detach().tolist()]
    style.draw_series(ax, range(len(values)), values, label)
    ax.set(xlabel="Lag $m$", ylabel="Share of lag (%)")
    style.from_zero(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax
