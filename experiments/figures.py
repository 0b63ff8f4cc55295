"""Figures: legible in print and to the colour-blind (Okabe and Ito's colours, a marker and a dash for each line)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.results import Summary

STYLES = {
    "none": {"color": "#000000", "marker": "s", "linestyle": "--"},
    "L1": {"color": "#D55E00", "marker": "^", "linestyle": "-."},
    "resolvent": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
}
FONTS: dict[Any, Any] = {"font.size": 8, "axes.titlesize": 8.5, "axes.spines.top": False, "axes.spines.right": False}
PALE = "0.45"


def demo(
    path: Path, unpenalised: Summary, penalised: Sequence[Summary], profiles: Sequence[Summary], *, chance: float
) -> None:
    """Accuracy against strength, accuracy against the strength of the walks, and hop profiles, side by side."""
    with matplotlib.rc_context(FONTS):
        figure = Figure(figsize=(7.4, 2.9), layout="constrained")
        by_strength, by_walks, by_lag = figure.subplots(1, 3)
        _accuracy_by_strength(by_strength, unpenalised, penalised)
        _accuracy_by_walks(by_walks, unpenalised, penalised, chance)
        for axes in (by_strength, by_walks):
            axes.set(xscale="log", ylim=(0, 102), ylabel="Test accuracy (%)")
            axes.axhline(100 * chance, color=PALE, linewidth=0.8, linestyle=":", zorder=0)
        _note(by_strength, "chance", 100 * chance + 2)
        _note(by_walks, "settings at chance left out", 100 * chance + 2)
        _profiles(by_lag, [unpenalised, *profiles])
        figure.supxlabel(
            r"$P_m = V\,W^m\,U$: walks from the inputs to the outputs at lag $m$. "
            "Bars and band: standard deviation over seeds.",
            color=PALE,
            fontsize=7,
        )
        figure.savefig(path, dpi=300)


def _accuracy_by_strength(axes: Axes, unpenalised: Summary, penalised: Sequence[Summary]) -> None:
    level, spread = 100 * unpenalised.accuracy, 100 * unpenalised.accuracy_sd
    style = STYLES[unpenalised.regulariser]
    axes.axhline(level, color=style["color"], linestyle=style["linestyle"], linewidth=1.2, label="no penalty")
    axes.axhspan(level - spread, level + spread, color=style["color"], alpha=0.12, linewidth=0)
    for name, rows in _by_regulariser(penalised).items():
        _accuracy(axes, name, [row.strength for row in rows], rows)
    axes.set(title="(a) Accuracy by strength", xlabel=r"Strength $\beta$ (nats per unit of penalty)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.14), frameon=False, handlelength=1.5)


def _accuracy_by_walks(axes: Axes, unpenalised: Summary, penalised: Sequence[Summary], chance: float) -> None:
    learnt = [row for row in penalised if row.accuracy > 1.5 * chance]
    for name, rows in _by_regulariser([unpenalised, *learnt]).items():
        _accuracy(axes, name, [row.walks_l1 for row in rows], rows)
    axes.set(title="(b) Accuracy by size of the walks", xlabel=r"Walks $\Sigma_m \|P_m\|_1$ (dimensionless)")


def _accuracy(axes: Axes, name: str, positions: Sequence[float], rows: Sequence[Summary]) -> None:
    heights = [100 * row.accuracy for row in rows]
    axes.errorbar(positions, heights, [100 * row.accuracy_sd for row in rows], label=name, **_line(name))


def _profiles(axes: Axes, rows: Sequence[Summary]) -> None:
    for row in rows:
        axes.errorbar(
            range(len(row.lag_share)),
            [100 * share for share in row.lag_share],
            [100 * deviation for deviation in row.lag_share_sd],
            label=rf"{row.regulariser}, $\beta$ = {row.strength:g}" if row.strength else "no penalty",
            **_line(row.regulariser),
        )
    axes.set(title="(c) Hop profiles", xlabel="Lag $m$ (rows before the last)", ylim=(0, None))
    axes.set_ylabel(r"$\|P_m\|_1$, share of $\Sigma_m \|P_m\|_1$ (%)")
    axes.set_xticks(range(len(rows[0].lag_share)))
    axes.legend(loc="upper left", frameon=False)


def _note(axes: Axes, text: str, height: float) -> None:
    axes.annotate(text, (0.02, height), xycoords=("axes fraction", "data"), color=PALE, fontsize=7)


def _by_regulariser(summaries: Sequence[Summary]) -> dict[str, list[Summary]]:
    groups: dict[str, list[Summary]] = {}
    for summary in summaries:
        groups.setdefault(summary.regulariser, []).append(summary)
    return groups


def _line(name: str) -> dict[str, Any]:
    return {**STYLES[name], "markersize": 4, "linewidth": 1.2, "elinewidth": 0.8, "capsize": 1.5}
