"""Networks masked by a connectome, over the strengths of their penalties."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.claims import masked as claims
from experiments.claims.intervals import Interval
from experiments.pages.figures import looks
from experiments.training.masked import NONE, Record
from rrnn_ext.plot import style
from rrnn_ext.reading.exhibit import Exhibit, Row


def penalties(records: Sequence[Record]) -> Exhibit:
    """Wrong answers by strength, and against the strength of the pathways that are left."""
    found = claims.groups(records)
    names = [name for name in dict.fromkeys(penalty for penalty, _ in found) if name != NONE]
    unpenalised = found.get((NONE, 0.0))
    with style.context():
        figure, (by_strength, by_walks) = style.panels(2, columns=2, height=2.3)
        for place, name in enumerate(names):
            own = {beta: group for (penalty, beta), group in found.items() if penalty == name}
            line = looks.look(name, names).line
            aside = 1.08 ** (place - 1)  # so that the bars of equal strengths stand side by side
            _errorbars(
                by_strength, [aside * beta for beta in own], [claims.wrong(group) for group in own.values()], line
            )
            _errorbars(
                by_walks,
                [claims.walks(group).mean for group in own.values()],
                [claims.wrong(group) for group in own.values()],
                line,
            )
        if unpenalised:
            level = claims.wrong(unpenalised)
            by_strength.axhline(level.mean, color="black", linestyle=looks.UNPENALISED.linestyle, linewidth=1.2)
            by_strength.axhspan(level.low, level.high, color="black", alpha=0.1, linewidth=0)
            by_walks.plot([claims.walks(unpenalised).mean], [level.mean], color="black", marker="*", markersize=9)
        by_strength.set(xscale="log", xlabel=r"Strength $\beta$", ylabel="Wrong answers (%)")
        by_walks.set(xscale="log", xlabel=r"Strength of the pathways, $\Sigma_m \|P_m\|_1$")
        for axes in (by_strength, by_walks):
            axes.set_ylim(bottom=0)
        style.letter((by_strength, by_walks), ("by strength", "by what is left"))
        without = Line2D([], [], color="black", linestyle=looks.UNPENALISED.linestyle, marker="*", label="no penalty")
        handles = [Line2D([], [], label=name, **looks.look(name, names).line) for name in names]
        style.legend_below(figure, [without, *handles], columns=4)
    rows: list[Row] = [
        {
            "penalty": penalty,
            "beta": beta,
            **_columns("wrong", claims.wrong(own)),
            **_columns("walks", claims.walks(own)),
        }
        for (penalty, beta), own in found.items()
    ]
    return Exhibit(
        "penalties",
        "Wrong answers under each penalty",
        "On test sequences, by the strength of the penalty, whose units differ from one penalty to the other, and by "
        "the strength of the pathways that are left. Dashed, and star: no penalty. Bars and band: 95 % intervals of "
        "the mean over seeds.",
        figure,
        rows,
    )


def _errorbars(axes: Axes, places: Sequence[float], values: Sequence[Interval], line: dict[str, object]) -> None:
    reach = [[value.mean - value.low for value in values], [value.high - value.mean for value in values]]
    axes.errorbar(places, [value.mean for value in values], yerr=reach, elinewidth=0.7, **line)  # type: ignore[arg-type]


def _columns(name: str, interval: Interval) -> Row:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high, "seeds": interval.networks}
