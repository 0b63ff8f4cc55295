"""Firing rates of a spiking network, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from rrnn_ext.plot import style


def rates_by_layer(
    rates: Sequence[Tensor] | Tensor,
    ax: Axes | None = None,
    *,
    asked: float | None = None,
    label: str | None = None,
) -> Axes:
    """Draw the mean rate of each layer as a line over the layers, and a band from the 10th to the 90th percentile of
    its units. A second call with the same ``ax`` adds a line that looks different.

    Args:
        rates: of each layer the rates of its units, (units,), in Hz; layers may differ in size. A tensor (layers,)
            has one rate for each, and no band.
        ax: where to draw; the Axes of a new figure if left out.
        asked: in Hz, the rate that was asked for, a dotted line.
        label: of the line, for ``ax.legend()``.

    Returns:
        The Axes.

    Raises:
        ValueError: there is no layer, or one without units, or with rates of more than one dimension.

    Example:
        >>> import torch
        >>> from rrnn_ext import plot
        >>> ax = plot.rates_by_layer([torch.rand(100) * 20, torch.rand(50) * 20], asked=10.0, label="as calibrated")
        >>> legend = ax.legend()
    """
    layers = [layer.detach().double().cpu() for layer in rates]
    for number, layer in enumerate(layers, start=1):
        if layer.dim() > 1 or layer.numel() == 0:
            raise ValueError(f"rates of layer {number} must be (units,) with at least one, got {tuple(layer.shape)}")
    if not layers:
        raise ValueError("rates must have at least one layer, got none")
    ax = style.own_axes() if ax is None else ax
    if asked is not None:
        ax.axhline(asked, color=style.PALE, linewidth=0.8, linestyle=":")
    places = range(1, len(layers) + 1)
    look = style.draw_series(ax, places, [layer.mean().item() for layer in layers], label)
    if any(layer.dim() for layer in layers):
        levels = torch.tensor([0.1, 0.9], dtype=torch.float64)
        low, high = torch.stack([layer.reshape(-1).quantile(levels) for layer in layers]).T.tolist()
        ax.fill_between(places, low, high, color=look.color, alpha=0.18, linewidth=0)
    ax.set(xlabel="Layer", ylabel="Rate (Hz)")
    ax.update_datalim([(1.0, 0.0)])  # 0 is in sight, with room below for a line of silent layers
    ax.autoscale_view()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax
