"""Spiking networks: the rates that first weights give, layer by layer, and how training goes on from them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.claims import intervals
from experiments.claims.intervals import Interval
from experiments.training.initialisations import BY_FORMULA, CALIBRATED, FLUCTUATION_DRIVEN, KAIMING
from experiments.training.spiking import Reached, Trained
from rrnn_ext.plot import style
from rrnn_ext.plot.style import Look
from rrnn_ext.reading.exhibit import Exhibit, Row

LOOKS = {
    CALIBRATED: Look("#0072B2", "o", "-"),
    BY_FORMULA: Look("#009E73", "s", (0, (1, 1))),
    FLUCTUATION_DRIVEN: Look("#E69F00", "^", "--"),
    KAIMING: Look("#D55E00", "v", "-."),
}
LEAST_RATE = 0.1  # Hz; less is drawn there


def rates_by_depth(reached: Sequence[Reached]) -> Exhibit:
    """A panel for each time step and rate that was asked."""
    places = list(dict.fromkeys((one.dt, one.asked) for one in reached if not one.recurrent))
    columns = len({asked for _, asked in places})
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(places), columns=columns, height=1.45)
        for axes, (dt, asked) in zip(panels, places, strict=True):
            axes.axhline(asked, color=style.PALE, linewidth=0.8, linestyle=":")
            for name, look in LOOKS.items():
                found = [
                    one
                    for one in reached
                    if (one.recurrent, one.dt, one.asked, one.initialisation) == (False, dt, asked, name)
                ]
                means = [intervals.of_mean(rates) for rates in zip(*(one.rates for one in found), strict=True)]
                _band(axes, range(1, len(means) + 1), means, look, least=LEAST_RATE)
                rows += [
                    {"dt": dt, "asked": asked, "weights": name, "layer": layer, **_columns("rate", mean)}
                    for layer, mean in enumerate(means, start=1)
                ]
            axes.set(yscale="log", ylim=(0.8 * LEAST_RATE, 100), xticks=(1, 4, 7, 10))
            axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
            axes.set_yticks([], minor=True)
        for axes in panels[::columns]:
            axes.set_ylabel("Rate (Hz)")
        for axes in panels[-columns:]:
            axes.set_xlabel("Layer")
        style.letter(panels, [f"{1e3 * dt:g} ms, {asked:g} Hz" for dt, asked in places])
        style.legend_below(figure, _handles(reached), columns=4)
    return Exhibit(
        "rates_by_depth",
        "Rates of ten layers, by time step and by the rate asked for",
        "Dotted: what was asked of every layer, and what comes in. Rates below 0.1 Hz are drawn there. Bands: 95 % "
        "confidence intervals of the mean over seeds.",
        figure,
        rows,
    )


def training_curves(trained: Sequence[Trained]) -> Exhibit:
    """A panel for each data set and number of hidden layers."""
    places = list(dict.fromkeys((one.hidden, one.data) for one in trained))
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(places), height=1.8)
        for axes, (hidden, data) in zip(panels, places, strict=True):
            for name, look in LOOKS.items():
                found = [one for one in trained if (one.hidden, one.data, one.initialisation) == (hidden, data, name)]
                if not found:
                    continue
                updates = found[0].updates
                losses = [intervals.of_geometric_mean(at) for at in zip(*(one.losses for one in found), strict=True)]
                errors = [intervals.of_mean(at) for at in zip(*(one.errors for one in found), strict=True)]
                _band(axes, updates, losses, look)
                rows += [
                    {
                        "data": data, "hidden": hidden, "weights": name, "updates": at,
                        **_columns("wrong", wrong), **_columns("cross_entropy", loss),
                    }
                    for at, loss, wrong in zip(updates, losses, errors, strict=True)
                ]  # fmt: skip
            axes.set(yscale="log", xlabel="Updates")
            axes.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
            axes.set_yticks([], minor=True)
        for axes in panels[::3]:
            axes.set_ylabel("Test cross-entropy")
        style.letter(panels, [f"{data}, {hidden} layers" for hidden, data in places])
        style.legend_below(figure, _handles(trained), columns=4)
    return Exhibit(
        "training_curves",
        "Training on real data from each first weights",
        "Geometric means over seeds. Bands: 95 % confidence intervals.",
        figure,
        rows,
    )


def _band(axes: Axes, places: Sequence[int], values: Sequence[Interval], look: Look, least: float = 0.0) -> None:
    low, mean, high = ([max(getattr(v, end), least) for v in values] for end in ("low", "mean", "high"))
    axes.fill_between(places, low, high, color=look.color, alpha=0.18, linewidth=0)
    axes.plot(places, mean, **look.line)


def _handles(shown: Sequence[Reached] | Sequence[Trained]) -> list[Line2D]:
    names = {one.initialisation for one in shown}
    return [Line2D([], [], label=name, **look.line) for name, look in LOOKS.items() if name in names]


def _columns(name: str, interval: Interval) -> Row:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high, "seeds": interval.networks}
