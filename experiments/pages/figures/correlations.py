"""The correlation table as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.claims.intervals import Interval
from experiments.pages.figures import looks
from rrnn_ext.plot import style
from rrnn_ext.reading.exhibit import Exhibit, Row

ENDS = (-0.95, 0.9995)
TICKS = (-0.9, -0.6, -0.3, 0, 0.3, 0.6, 0.8, 0.92, 0.98, 0.995, 0.999)
LOOKS = [
    style.Look("#0072B2", "o", ""),
    style.Look("#56B4E9", "s", ""),
    style.Look("#009E73", "D", ""),
    style.Look("#CC79A7", "X", ""),
    style.Look("#E69F00", "v", ""),
    style.Look("#D55E00", "^", ""),
    style.Look("#000000", "P", ""),
    style.Look("#777777", "*", ""),
]


def correlations(found: Mapping[str, Mapping[str, Interval]], *, high: float, low: float, caption: str) -> Exhibit:
    """Correlation with the optimum by task, then by measure; dashed lines at what was to be reached."""
    measures = list(dict.fromkeys(measure for row in found.values() for measure in row))
    rows: list[Row] = []
    with style.context():
        figure, [axes] = style.panels(1, height=0.34 * len(found) + 0.45, extra=0.5)
        axes.set_xscale("function", functions=(_fisher, np.tanh))
        for limit in (high, low, -low):
            axes.axvline(limit, color=style.PALE, linewidth=0.8, linestyle="--")
        axes.axvline(0, color=style.PALE, linewidth=0.5)
        for index, measure in enumerate(measures):
            offset = 0.7 * (index / max(1, len(measures) - 1) - 0.5)
            here = [(place, row[measure]) for place, row in enumerate(found.values()) if measure in row]
            look = LOOKS[index % len(LOOKS)]
            axes.errorbar(
                [value.mean for _, value in here],
                [place + offset for place, _ in here],
                xerr=[[value.mean - value.low for _, value in here], [value.high - value.mean for _, value in here]],
                color=look.color,
                marker=look.marker,
                linestyle="",
                markersize=4.5,
                elinewidth=0.9,
                label=looks.typeset(measure),
            )
        axes.set_yticks(range(len(found)), list(found))
        axes.set(ylim=(len(found) - 0.4, -0.6), xlim=ENDS, xlabel="Correlation with the optimal map (Fisher's scale)")
        axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        for place in range(len(found) - 1):
            axes.axhline(place + 0.5, color="0.85", linewidth=0.5)
        figure.legend(loc="outside lower center", ncols=4)
    for task, row in found.items():
        rows += [
            {
                "task": task,
                "measure": measure,
                "correlation": v.mean,
                "low": v.low,
                "high": v.high,
                "networks": v.networks,
            }
            for measure, v in row.items()
        ]
    return Exhibit("correlations", "Correlation with the optimal map", caption, figure, rows)


def _fisher(correlation: NDArray[Any]) -> NDArray[Any]:
    """artanh: the scale on which intervals are symmetric, and on which 0.99 and 0.999 differ."""
    return np.arctanh(np.clip(correlation, -1 + 1e-9, 1 - 1e-9))
