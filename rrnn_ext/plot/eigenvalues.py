"""The eigenvalues of a recurrent weight, and the circle within which the sum over all lags converges."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from rrnn_ext.plot import style

UNITS = 4096  # beyond, eigenvalues take minutes


def spectrum(weight_hh: Tensor, ax: Axes | None = None, *, alpha: float = 1.0) -> Axes:
    """Draw the eigenvalues of A = alpha W in the complex plane, with the circle of convergence.

    The walks of all lags add up, I + A + A^2 + ... = (I - A)^-1, where every eigenvalue lies within the unit circle:
    blue dots within, orange triangles on it and outside. ``ax.legend()`` says so.

    Args:
        weight_hh: (n, n), dense, of at most 4096 units.
        ax: where to draw; the Axes of a new figure if left out.
        alpha: factor of every edge, as in :func:`rrnn_ext.resolvent`.

    Returns:
        The Axes.

    Raises:
        ValueError: ``weight_hh`` is not (n, n), not dense, not finite, or has more units.

    Example:
        >>> import torch
        >>> from rrnn_ext import plot
        >>> W = torch.randn(100, 100) / 10
        >>> ax = plot.spectrum(W, alpha=0.9)
    """
    if weight_hh.layout != torch.strided:
        raise ValueError(f"weight_hh must be dense, got {weight_hh.layout}; rrnn_ext.resolvent_info bounds its radius")
    if weight_hh.dim() != 2 or weight_hh.shape[0] != weight_hh.shape[1] or len(weight_hh) > UNITS:
        raise ValueError(f"weight_hh must be (n, n) with n at most {UNITS}, got {tuple(weight_hh.shape)}")
    if not bool(weight_hh.isfinite().all()):
        raise ValueError("weight_hh must be finite, got NaN or Inf among the entries")
    ax = style.own_axes() if ax is None else ax
    values = alpha * torch.linalg.eigvals(weight_hh.detach().cpu().double())
    inside = values.abs() < 1
    look = {"facecolor": "0.97", "edgecolor": style.PALE, "linestyle": "--", "linewidth": 0.8}
    ax.add_patch(Circle((0, 0), 1, label="unit circle", zorder=0, **look))
    for chosen, color, marker, label in (
        (inside, style.POSITIVE, "o", "converges"),
        (~inside, style.NEGATIVE, "^", "diverges"),
    ):
        if bool(chosen.any()):
            points = values[chosen]
            ax.scatter(points.real.tolist(), points.imag.tolist(), s=9, color=color, marker=marker, label=label)
    radius = max([1.0, *values.abs().tolist()])
    limits = (-1.08 * radius, 1.08 * radius)
    ax.set(xlim=limits, ylim=limits, aspect="equal", xlabel="Real part", ylabel="Imaginary part")
    return ax
