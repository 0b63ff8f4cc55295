"""One line for each regulariser: a quantity against the strength of the penalty, and the error against sparsity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.claims.intervals import Interval
from experiments.claims.limits import LEARNT_MSE
from experiments.claims.summaries import Point, Table, has_classes
from experiments.pages.figures import looks
from experiments.tasks import modular
from experiments.training.regularisers import UNPENALISED
from rrnn_ext.plot import style
from rrnn_ext.reading.exhibit import Exhibit, Row

BAND = "Bands: 95 % confidence intervals of the mean over seeds."
# Smaller shares are drawn here: a thousandth of the map, or a hundredth, makes a difference; less hardly.
LEAST_SHARE = 1e-3
JUMP = 10  # times the share at the strength before: there lags cancel or units saturate, and the line is broken
FAR_BELOW = 2  # decades between the largest strengths of two regularisers; then they are drawn over one another


def error_by_strength(table: Table, names: Sequence[str], *, name: str = "error_by_strength") -> Exhibit:
    """Test error against beta for each task."""

    def limits(axes: Axes, task: str) -> list[float]:
        if task not in modular.TASKS:
            return []
        bayes = modular.TASKS[task]().bayes_mse
        for level in (1, bayes):
            axes.axhline(level, color=style.PALE, linewidth=0.7, linestyle=":")
        return [bayes]

    return _by_strength(
        table,
        names,
        Point.error,
        name=name,
        title="Test error against the strength of the penalty",
        label=error_label,
        caption=f"{_error_caption(names)} {BAND}",
        log=True,
        decorate=limits,
    )


def measure_by_strength(
    table: Table, names: Sequence[str], measure: str, *, title: str, label: str, caption: str
) -> Exhibit:
    """One of the measures of the analysis against beta for each task."""
    return _by_strength(
        table,
        names,
        lambda point: point.measure(measure),
        name=f"{measure}_by_strength",
        title=title,
        label=lambda _: label,
        caption=f"{caption} {BAND}",
        log=False,
        decorate=lambda axes, task: [],
    )


def error_by_sparsity(table: Table, names: Sequence[str]) -> Exhibit:
    """Test error against the share of R_io off the optimum's support, a scale that all penalties share."""
    regularisers = _regularisers(table, names)
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(names))
        for axes, task in zip(panels, names, strict=True):
            unpenalised = table.unpenalised(task)
            shown: list[float] = []
            for regulariser in regularisers:
                curve = [point for point in table.curve(task, regulariser) if point.error().mean < LEARNT_MSE]
                curve = [unpenalised, *curve] if unpenalised else curve
                shares = [point.measure("communication_sparsity") for point in curve]
                errors = [point.error() for point in curve]
                shown += [error.mean for error in errors]
                look = looks.look(regulariser, regularisers)
                drawn = [_at_least(share, LEAST_SHARE) for share in shares]
                for part in _unbroken([share.mean for share in drawn]):
                    axes.errorbar(
                        [share.mean for share in drawn[part]],
                        [error.mean for error in errors[part]],
                        xerr=_reach(drawn[part]),
                        yerr=_reach(errors[part]),
                        elinewidth=0.5,
                        **look.line,
                    )
                rows += [
                    {
                        "task": task,
                        "regulariser": point.regulariser,
                        "beta": point.beta,
                        **_columns("off_support", share),
                        **_columns("error", error),
                    }
                    for point, share, error in zip(curve, shares, errors, strict=True)
                    if point is not unpenalised or regulariser == regularisers[0]
                ]
            if unpenalised:
                at, height = unpenalised.measure("communication_sparsity").mean, unpenalised.error().mean
                axes.plot([at], [height], color="black", marker="*", markersize=9, zorder=4)
            _log_axis(axes, shown)
            axes.set(xscale="log", xlim=(LEAST_SHARE, 1), xlabel=r"$R_{io}$ off the optimum's support (share)")
        _label_rows(panels, names)
        style.letter(panels, names)
        start = Line2D([], [], color="black", marker="*", markersize=8, linestyle="", label="no penalty")
        style.legend_below(figure, [start, *_handles(regularisers)], columns=4)
    return Exhibit(
        "error_by_sparsity",
        "Test error against communication sparsity",
        "Each line starts at the networks without a penalty (star) and follows the strength of one penalty upwards. "
        "Sparser communication is further left, better networks are further down. A strength means different things "
        "to different penalties; a share of R_io that runs where the optimum has no pathway does not. Settings with "
        f"an MSE above {LEARNT_MSE:g}, which have learnt nothing, are left out. A line is broken where the share "
        f"rises more than {JUMP:g} times from one strength to the next. Shares below {LEAST_SHARE:g} are drawn there. "
        "Bars: 95 % confidence intervals of the mean over seeds.",
        figure,
        rows,
    )


def error_label(task: str) -> str:
    if has_classes(task):
        return "Wrong answers (share)"
    return "Test MSE (1: knows nothing)" if task in modular.TASKS else "Test MSE"


def _error_caption(names: Sequence[str]) -> str:
    known = [name for name in names if name in modular.TASKS]
    text = "Dashed: no penalty. L1 and L2 run over W, U and V, as all walks do."
    return text + (
        " Dotted: what a network scores that knows nothing (above), and the Bayes error (below)." if known else ""
    )


def _by_strength(
    table: Table,
    names: Sequence[str],
    value: Callable[[Point], Interval],
    *,
    name: str,
    title: str,
    label: Callable[[str], str],
    caption: str,
    log: bool,
    decorate: Callable[[Axes, str], list[float]],
) -> Exhibit:
    """``decorate`` draws what else a task's panel has, and returns what the axis must reach to show it."""
    regularisers = _regularisers(table, names)
    decades = _decades_below(table, names, regularisers)
    rows: list[Row] = []
    with style.context():
        figure, panels = style.panels(len(names))
        for axes, task in zip(panels, names, strict=True):
            shown = decorate(axes, task)
            unpenalised = table.unpenalised(task)
            if unpenalised:
                level = value(unpenalised)
                shown.append(level.mean)
                axes.axhline(level.mean, color="black", linestyle=looks.UNPENALISED.linestyle, linewidth=1.2)
                axes.axhspan(level.low, level.high, color="black", alpha=0.1, linewidth=0)
                rows.append({"task": task, "regulariser": UNPENALISED, "beta": 0.0, **_columns("value", level)})
            for regulariser in regularisers:
                curve = table.curve(task, regulariser)
                values = [value(point) for point in curve]
                shown += [v.mean for v in values]
                look = looks.look(regulariser, regularisers)
                betas = [point.beta for point in curve]
                places = [beta * 10.0 ** decades[regulariser] for beta in betas]
                axes.fill_between(
                    places, [v.low for v in values], [v.high for v in values], color=look.color, alpha=0.18, linewidth=0
                )
                axes.plot(places, [v.mean for v in values], **look.line)
                rows += [
                    {"task": task, "regulariser": regulariser, "beta": beta, **_columns("value", v)}
                    for beta, v in zip(betas, values, strict=True)
                ]
            axes.set(xscale="log", xlabel=r"Strength $\beta$")
            if log:
                _log_axis(axes, shown)
            else:
                axes.axhline(0, color=style.PALE, linewidth=0.5)
        _label_rows(panels, names, label)
        style.letter(panels, names)
        without = Line2D([], [], color="black", linestyle=looks.UNPENALISED.linestyle, label="no penalty")
        style.legend_below(figure, [without, *_handles(regularisers, decades)], columns=4)
    return Exhibit(name, title, caption, figure, rows)


def _regularisers(table: Table, names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(regulariser for task in names for regulariser in table.regularisers(task)))


def _decades_below(table: Table, names: Sequence[str], regularisers: Sequence[str]) -> dict[str, int]:
    """By how many decades a regulariser's strengths are moved in the figure, where they lie far below the others'."""
    largest = {name: max(point.beta for task in names for point in table.curve(task, name)) for name in regularisers}
    top = max(largest.values())
    below = {name: round(math.log10(top / beta)) if beta > 0 else 0 for name, beta in largest.items()}
    return {name: decades if decades >= FAR_BELOW else 0 for name, decades in below.items()}


def _handles(regularisers: Sequence[str], decades: Mapping[str, int] | None = None) -> list[Line2D]:
    labels = {name: rf"{name} at $10^{{-{by}}}\beta$" for name, by in (decades or {}).items() if by}
    return [
        Line2D([], [], label=labels.get(name, name), **looks.look(name, regularisers).line) for name in regularisers
    ]


def _columns(name: str, interval: Interval) -> Row:
    return {
        name: interval.mean,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
        "networks": interval.networks,
    }


def _at_least(interval: Interval, least: float) -> Interval:
    """``interval`` with what lies below ``least`` moved there; NaN limits stay."""
    return interval._replace(**{name: max(getattr(interval, name), least) for name in ("mean", "low", "high")})


def _unbroken(shares: Sequence[float]) -> list[slice]:
    """The stretches in which no share is more than JUMP times the one before."""
    starts = [index for index in range(1, len(shares)) if shares[index] > JUMP * shares[index - 1]]
    return [slice(start, end) for start, end in zip([0, *starts], [*starts, len(shares)], strict=True)]


def _reach(intervals: Sequence[Interval]) -> list[list[float]]:
    return [[v.mean - v.low for v in intervals], [v.high - v.mean for v in intervals]]


def _label_rows(panels: Sequence[Axes], names: Sequence[str], label: Callable[[str], str] = error_label) -> None:
    """The y axis is named where it changes from the panel to its left."""
    for index, (axes, task) in enumerate(zip(panels, names, strict=True)):
        if index % 3 == 0 or label(task) != label(names[index - 1]):
            axes.set_ylabel(label(task))


def _log_axis(axes: Axes, means: Sequence[float]) -> None:
    """Wide enough for the means above 0, for 1 where it is near, and not for the bands of a few seeds that disagree."""
    shown = [mean for mean in means if mean > 0] or [1.0]
    low, high = 0.7 * min(shown), max(1.25 * max(shown), 1.4 if max(shown) > 0.4 else 0)
    marks = [
        m * 10**e for e in range(-6, 4) for m in ((1, 2, 5) if high / low < 1000 else (1,)) if low <= m * 10**e <= high
    ]
    axes.set(yscale="log", ylim=(low, high))
    axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
    axes.set_yticks([], minor=True)
