"""How much each lag carries: hop profiles over the strengths of a penalty, and beside the network's own response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from experiments.claims.summaries import Point, Table
from experiments.pages.figures import looks
from experiments.tasks import modular
from rrnn_ext.plot import style
from rrnn_ext.reading.exhibit import Exhibit, Row

COLOURS = "cividis"  # even steps of lightness, the same to the colour-blind
LINES = [
    style.Look("#000000", "", ":"),
    style.Look("#0072B2", "o", "-"),
    style.Look("#D55E00", "^", "--"),
    style.Look("#009E73", "s", "-."),
]
LARGEST = 40.0  # %, the end of the colours: a lag with more is one that carries nearly all


def hop_profiles(table: Table, names: Sequence[str], regularisers: Sequence[str]) -> Exhibit:
    """Lag against strength, the share of a lag as lightness: a row a task, a column a regulariser."""
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(names) * len(regularisers), columns=len(regularisers), height=1.75, extra=0.1)
        pairs = [(task, regulariser) for task in names for regulariser in regularisers]
        for axes, (task, regulariser) in zip(panels, pairs, strict=True):
            unpenalised = table.unpenalised(task)
            curve = [*([unpenalised] if unpenalised else []), *table.curve(task, regulariser)]
            profiles = np.array([[100 * share.mean for share in point.profile()] for point in curve])
            image = axes.imshow(profiles.T, aspect="auto", cmap=COLOURS, vmin=0, vmax=LARGEST, origin="lower")
            axes.set_xticks(range(len(curve)), _betas(curve), fontsize=7)
            axes.set_yticks(range(profiles.shape[1])[::2])
            axes.spines[:].set_visible(False)
            _mark_signal(axes, task, len(curve))
            rows += [
                {
                    "task": task, "regulariser": point.regulariser, "beta": point.beta, "lag": lag,
                    "share": share.mean, "share_low": share.low, "share_high": share.high, "networks": share.networks,
                }
                for point in curve
                if point.regulariser == regulariser or regulariser == regularisers[0]
                for lag, share in enumerate(point.profile())
            ]  # fmt: skip
        for axes in panels[:: len(regularisers)]:
            axes.set_ylabel("Lag $m$")
        for axes in panels[-len(regularisers) :]:
            axes.set_xlabel(r"Strength $\beta$")
        style.letter(panels, [f"{task}, {regulariser}" for task, regulariser in pairs])
        figure.align_ylabels(panels[:: len(regularisers)])
        bar = figure.colorbar(image, ax=panels, shrink=0.7, aspect=30, pad=0.01, extend="max")
        bar.set_label(r"$\|P_m\|_1$, share of $\Sigma_m \|P_m\|_1$ (%)")
        bar.outline.set_visible(False)  # type: ignore[operator]
    return Exhibit(
        "hop_profiles",
        "Hop profiles against the strength of the penalty",
        "Each column of a panel is the hop profile at one strength, mean over seeds; the leftmost (0) is that "
        "without a penalty. Ticks at the right edge mark the lags at which the optimum has any pathway. Profiles are "
        "shares: they do not show that the walks at large strengths are small.",
        figure,
        rows,
    )


def lag_responses(responses: Mapping[str, Mapping[str, Tensor]], caption: str) -> Exhibit:
    """The strength (L,) of each lag, as shares, by task and then by how it was found; one line each."""
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(responses))
        for axes, (task, lines) in zip(panels, responses.items(), strict=True):
            for look, (what, shares) in zip(LINES, lines.items(), strict=False):
                values = shares.tolist()
                axes.plot(range(len(values)), [100 * value for value in values], label=looks.typeset(what), **look.line)
                rows += [{"task": task, "line": what, "lag": lag, "share": value} for lag, value in enumerate(values)]
            axes.lines[-1].set(markersize=7, markerfacecolor="none")  # so that the line beneath shows
            axes.set(xlabel="Lag $m$", ylim=(0, 1.08 * axes.get_ylim()[1]), xticks=range(0, len(values), 2))
        for axes in panels[::3]:
            axes.set_ylabel("Share of lag (%)")
        style.letter(panels, responses)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return Exhibit("lag_responses", "Walks and the response of the trained network", caption, figure, rows)


def _betas(curve: Sequence[Point]) -> list[str]:
    """Of few strengths all, of many the powers of ten."""

    def name(beta: float) -> str:
        exponent = round(math.log10(beta)) if beta else 0
        if beta and abs(beta / 10.0**exponent - 1) < 0.01:
            return f"$10^{{{exponent}}}$"
        return f"{beta:.2g}" if len(curve) < 7 or not beta else ""

    return [name(point.beta) for point in curve]


def _mark_signal(axes: Axes, task: str, columns: int) -> None:
    if task in modular.TASKS:
        lags = (modular.TASKS[task]().optimal_walks != 0).any(-1).any(-1).nonzero().flatten().tolist()
        axes.plot(
            [columns - 0.28] * len(lags), lags, marker="<", color="black", markersize=3, linestyle="", clip_on=False
        )
        axes.set_xlim(-0.5, columns - 0.5)
