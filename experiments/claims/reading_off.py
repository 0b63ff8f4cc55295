"""The claims on what is read off a network."""

from __future__ import annotations

from experiments.claims import intervals
from experiments.claims.limits import IN_TIME, LINEAR, MODULAR, NOT_READ_OFF, PAPERS, READ_OFF, SIGNAL_SHARE, SPARING
from experiments.claims.summaries import Point, Table, error_ratio, of_least_error, strongest_sparing
from experiments.claims.verdicts import Claim, Part, at_least, below, listed, within
from experiments.tasks import modular
from rrnn_ext import reading


def influence_map_reads_the_function(table: Table) -> Claim:
    parts = []
    for point in table.unpenalised_of(MODULAR):
        found = point.measure("correlation")
        counts = point.task in LINEAR
        normalised = point.measure("correlation_normalised")
        note = f"with W / spectral radius: {normalised:.3f}" + (
            "" if counts else "; no target, the map is not the function"
        )
        parts.append(Part(point.task, found, at_least(found, READ_OFF) if counts else None, note))
    return Claim(
        "R_io reads off the function",
        "The influence map R_io correlates with the optimal solution, 0.92 to 0.99 (paper).",
        f"Networks without a penalty, raw W: correlation of R_io with the optimal map at least {READ_OFF:g}.",
        "correlation",
        f"≥ {READ_OFF:g}",
        parts,
        [
            "The paper analyses networks with W over its spectral radius, which weighs the lags anew. That correlation "
            "is in the notes and is not judged: raw W is what describes the response of the network itself."
        ],
    )


def recurrent_weights_do_not(table: Table) -> Claim:
    parts = []
    for point in table.unpenalised_of(MODULAR):
        found = point.measure("correlation_membership")
        size = intervals.of_mean([abs(value) for value in point.values("correlation_membership")])
        signed, rectified = (
            point.measure("correlation_membership_signed"),
            point.measure("correlation_membership_rectified"),
        )
        note = f"size {size:.2f}; signs of the units known: {signed:.2f}; sizes of weights only: {rectified:.2f}"
        parts.append(Part(point.task, found, within(found, NOT_READ_OFF) if point.task in LINEAR else None, note))
    return Claim(
        "The recurrent weights do not",
        "The recurrent weights alone correlate with the optimal solution by 0.03 to 0.24 (paper).",
        "The same networks, W read by the modules of its units (mean weight from the units of the input's module to "
        f"those of the output): correlation with the optimal map, mean over seeds, between -{NOT_READ_OFF:g} and "
        f"{NOT_READ_OFF:g}.",
        "correlation",
        f"-{NOT_READ_OFF:g} to {NOT_READ_OFF:g}",
        parts,
        [
            "Such a map has as many different values as there are pairs of a module and an output, 8 or 16, so that "
            "a single network's correlation is often far from zero by chance (size in the notes: mean of its "
            "absolute value). A tanh unit may turn its sign together with all its weights and compute the same, but "
            "W by module then changes: over seeds its mean is near 0 by symmetry, whatever W says, so that this claim "
            "says little of W. The notes give what W says when every unit's sign is known, and when only sizes of "
            "weights are compared, with the size of the optimum."
        ],
    )


def hop_by_hop(table: Table) -> Claim:
    parts = []
    for point in table.unpenalised_of(MODULAR):
        found = point.measure("correlation_per_hop")
        verdict = at_least(found, READ_OFF) if point.task in IN_TIME else None
        jacobian, impulses = point.measure("correlation_jacobian"), point.measure("correlation_impulses")
        note = f"walks against the network's own response: Jacobians {jacobian:.3f}, impulses {impulses:.3f}"
        parts.append(Part(point.task, found, verdict, note))
    return Claim(
        "Hop m is read off P_m",
        "Hop k reads the input of its own time (paper); per-hop maps match the per-hop optimum on on-off and lagged "
        "modules (target of this project).",
        "The same networks: correlation of all P_m with the optimal maps of all lags, as one vector, at least "
        f"{READ_OFF:g} on on-off and lagged.",
        "correlation over all lags",
        f"≥ {READ_OFF:g}",
        parts,
    )


def one_hop_does_not(table: Table) -> Claim:
    parts = []
    alike = []
    for point in table.unpenalised_of(MODULAR):
        total, by_lag = point.measure("correlation_in_out"), point.measure("correlation_in_out_per_hop")
        verdict = below(total, READ_OFF) if point.task in IN_TIME else None
        note = f"V W U: {point.measure('correlation_two_edges'):.3f}"
        parts.append(Part(f"{point.task}, in total", total, verdict, note))
        note = f"no map that is the same at every lag exceeds {_bound_of_one_map(point.task):.3f}"
        parts.append(Part(f"{point.task}, lag by lag", by_lag, None, note))
        if total.mean >= READ_OFF:
            alike.append(point.task)
    remark = (
        f"The total map is read off V U alone as well as {READ_OFF:g} or better on {listed(alike)}, whose optimum "
        "does the same at every lag that it uses: they cannot tell reading walks from reading one hop."
        if alike
        else f"On no task does V U alone reach {READ_OFF:g}."
    )
    return Claim(
        "One hop does not stand for all",
        "On on-off and lagged modules, the map of one hop (V U) taken for the whole fails (target of this project).",
        f"The same networks: correlation of V U with the optimal map (in total) below {READ_OFF:g} on on-off and "
        "lagged. For comparison, V U at every lag with the optimal maps of all lags (lag by lag): it could not fail "
        "where the optimal maps differ so much that no one map reaches the limit (notes), and so shows nothing.",
        "correlation",
        f"< {READ_OFF:g}",
        parts,
        [remark],
    )


def _bound_of_one_map(task: str) -> float:
    """The largest correlation with the optimal walks that a map taken for every lag can have: that of their mean."""
    walks = modular.TASKS[task]().optimal_walks
    return reading.correlation(walks.mean(0).expand_as(walks), walks, dims=3).item()


def signal_hops(table: Table) -> Claim:
    parts = []
    base = table.unpenalised("on-off")
    if base:
        parts.append(Part("no penalty", base.measure("signal_share"), None))
        for name in table.regularisers("on-off"):
            for point, judged in _looked_at(table, base, name):
                found = point.measure("signal_share")
                verdict = at_least(found, SIGNAL_SHARE) if judged else None
                parts.append(Part(f"{name}, β = {point.beta:.2g}", found, verdict, _cost(point, base)))
    curve = table.curve("on-off", PAPERS) if base else []
    shares = [f"{point.measure('signal_share').mean:.2f} at β = {point.beta:.2g}" for point in curve]
    return Claim(
        "On-off: the signal's hops carry the walks",
        "Even hops carry signal and odd hops carry noise (paper); at least 90 % of the hop profile is on signal hops "
        "(target of this project).",
        f"R-RNN on the on-off task, at the largest β up to which the MSE is at most {SPARING:g} times that without a "
        f"penalty: share of Σ‖P_m‖₁ on even lags at least {SIGNAL_SHARE:g}. For comparison: R-RNN at the β of least "
        "error, the other penalties at both.",
        "share",
        f"≥ {SIGNAL_SHARE:g}",
        parts,
        [f"The verdict is on one strength. R-RNN at each of its own: {', '.join(shares)}."] if shares else (),
    )


def sparse_signals(table: Table) -> Claim:
    parts = []
    for task in (f"{name}-sparse" for name in MODULAR):
        if (base := table.unpenalised(task)) is None:
            continue
        for name in table.regularisers(task):
            for point, judged in _looked_at(table, base, name):
                found = point.measure("correlation_per_hop")
                verdict = at_least(found, READ_OFF) if judged else None
                note = f"share on signal hops {point.measure('signal_share'):.2f}; {_cost(point, base)}"
                parts.append(Part(f"{task}, {name}, β = {point.beta:.2g}", found, verdict, note))
        note = f"share on signal hops {base.measure('signal_share'):.2f}"
        parts.append(Part(f"{task}, no penalty", base.measure("correlation_per_hop"), None, note))
    return Claim(
        "Sparse signals",
        "Where the signal is sparse, R-RNNs still match the temporal structure of the task (paper).",
        f"R-RNN on the sparse versions, at the largest β up to which the MSE is at most {SPARING:g} times that "
        f"without a penalty: correlation of all P_m with the optimal maps of all lags at least {READ_OFF:g}. For "
        "comparison: R-RNN at the β of least error, the other penalties at both.",
        "correlation over all lags",
        f"≥ {READ_OFF:g}",
        parts,
        ["Which lags carry signal was drawn once for each task: the seeds do not cover another draw."],
    )


def _looked_at(table: Table, base: Point, regulariser: str) -> list[tuple[Point, bool]]:
    """Where a penalty is looked at, and whether that counts: at the strongest that spares, and at the least error."""
    curve = table.curve(base.task, regulariser)
    sparing = strongest_sparing(curve, base, factor=SPARING)
    points = [(sparing, regulariser == PAPERS)] if sparing else []
    least = of_least_error(curve)
    return points if least is sparing else [*points, (least, False)]


def _cost(point: Point, base: Point) -> str:
    return f"MSE {error_ratio(point, base).mean:.3g} times that without a penalty"
