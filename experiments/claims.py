"""The claims, each with the numbers that bear on it and a verdict that follows from them by a rule.

A part of a claim is one number with its confidence interval against one limit. It is

    shown       if the whole interval is on the claimed side of the limit,
    refuted     if the whole interval is on the other side,
    not shown   otherwise: these networks cannot tell.

A claim is shown if every part that counts is shown, refuted as soon as one of them is refuted, and not shown otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from experiments import intervals, tasks
from experiments.intervals import Interval
from experiments.results import Record
from experiments.summaries import Point, Table, error_ratio, error_ratios, of_least_error, strongest_sparing
from rrnn_ext import reading

READ_OFF = 0.92  # the least correlation that the paper reports for R_io
NOT_READ_OFF = 0.3  # a little above the largest that it reports for recurrent weights
SIGNAL_SHARE = 0.9
DOUBLING = 2.0  # times the error without a penalty
STRENGTH_RATIO = 10.0
SPARING = 1.1  # times the error without a penalty: what a penalty may cost where its networks are looked at
SHARES = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01)  # of R_io off the optimum's support, at which penalties are compared

LINEAR = ("averaging", "addition", "subtraction", "on-off", "lagged")
MODULAR = (*LINEAR, "multiplication")
IN_TIME = ("on-off", "lagged")  # the tasks whose lags differ
PAPERS = "R-RNN"
RIVAL = "L1"
VARIANTS = ("R-RNN", "R-RNN per hop", "R-RNN rectified")
SPARSITIES = {"communication_sparsity": "", "communication_sparsity_per_hop": ", on all walks"}  # of R_io, of all P_m


class Verdict(Enum):
    SHOWN = "shown"
    REFUTED = "refuted"
    NOT_SHOWN = "not shown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Part:
    """One number against one limit.

    Attributes:
        what: of which task, at which strength.
        found: the number, mean over seeds with its confidence interval.
        verdict: None where the number is given for comparison and judged by nothing.
        note: what else there is to say, in a few words.
    """

    what: str
    found: Interval
    verdict: Verdict | None
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """What is claimed, how it is judged, and what was found.

    Attributes:
        title: a few words.
        statement: what is claimed, and by whom.
        rule: what is measured, and the limit.
        number: what ``found`` of the parts is.
        limit: where it is claimed to be.
        parts: those with a verdict count.
        remarks: sentences on the numbers.
    """

    title: str
    statement: str
    rule: str
    number: str
    limit: str
    parts: Sequence[Part]
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def verdict(self) -> Verdict:
        verdicts = [part.verdict for part in self.parts if part.verdict is not None]
        if Verdict.REFUTED in verdicts:
            return Verdict.REFUTED
        return Verdict.SHOWN if verdicts and set(verdicts) == {Verdict.SHOWN} else Verdict.NOT_SHOWN

    @property
    def tally(self) -> str:
        """How many of the parts that count have which verdict."""
        verdicts = [part.verdict for part in self.parts if part.verdict is not None]
        counts = [(verdict, verdicts.count(verdict)) for verdict in Verdict]
        return ", ".join(f"{count} of {len(verdicts)} {verdict}" for verdict, count in counts if count) or "no number"

    @property
    def extremes(self) -> str:
        """The least and the largest number of the parts that count, with their intervals."""
        parts = sorted((part for part in self.parts if part.verdict is not None), key=lambda part: part.found.mean)
        ends = parts if len(parts) < 2 else [parts[0], parts[-1]]
        return " to ".join(f"{part.found} ({part.what})" for part in ends)


def at_least(found: Interval, limit: float) -> Verdict:
    """``found`` >= ``limit`` is claimed. Limits that are NaN, as those of a single network, show nothing."""
    if found.low >= limit:
        return Verdict.SHOWN
    return Verdict.REFUTED if found.high < limit else Verdict.NOT_SHOWN


def within(found: Interval, limit: float) -> Verdict:
    """``-limit`` <= ``found`` <= ``limit`` is claimed."""
    if -limit <= found.low and found.high <= limit:
        return Verdict.SHOWN
    return Verdict.REFUTED if found.low > limit or found.high < -limit else Verdict.NOT_SHOWN


def below(found: Interval, limit: float) -> Verdict:
    """``found`` < ``limit`` is claimed."""
    return at_least(Interval(-found.mean, -found.high, -found.low, found.networks), math.nextafter(-limit, math.inf))


def judge(table: Table) -> list[Claim]:
    """Every claim; one that the networks of ``table`` do not bear on has no part."""
    return [
        influence_map_reads_the_function(table),
        recurrent_weights_do_not(table),
        hop_by_hop(table),
        one_hop_does_not(table),
        signal_hops(table),
        lower_error_at_every_strength(table),
        strength_of_doubling(table),
        lower_error_at_equal_sparsity(table),
        sparse_signals(table),
    ]


# What is read off a network ------------------------------------------------------------------------------------------


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
    walks = tasks.TASKS[task]().optimal_walks
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


# Penalties against one another ---------------------------------------------------------------------------------------


def lower_error_at_every_strength(table: Table) -> Claim:
    parts = []
    pairs = [
        (ours, theirs)
        for task in _compared(table)
        for ours in table.curve(task, PAPERS)
        for theirs in table.curve(task, RIVAL)
        if ours.beta == theirs.beta > 0
    ]
    for ours, theirs in pairs:
        paired = error_ratios(ours, theirs)
        found = intervals.of_geometric_mean(paired)
        verdict = below(found, 1)
        # To refute, one of all tasks and strengths is enough: then the interval allows for their number.
        wide = intervals.of_geometric_mean(paired, 1 - (1 - intervals.CONFIDENCE) / len(pairs))
        if verdict is Verdict.REFUTED and below(wide, 1) is not Verdict.REFUTED:
            verdict = Verdict.NOT_SHOWN
        parts.append(Part(f"{ours.task}, β = {ours.beta:.2g}", found, verdict))
    return Claim(
        "Lower error than L1 at every strength",
        "R-RNNs have a lower test MSE than L1 at every strength β (paper).",
        "At each β of the grid: MSE of R-RNN / MSE of L1, the two trained from the same weights on the same data, "
        "below 1. One refutes only with an interval widened for the number of all of them, every task at every β "
        "(Bonferroni).",
        "ratio of MSE",
        "< 1",
        parts,
    )


def strength_of_doubling(table: Table) -> Claim:
    parts = []
    for task in _compared(table):
        base = table.unpenalised(task)
        assert base is not None
        ours, theirs = (_doublings(table.curve(task, name), base) for name in (PAPERS, RIVAL))
        seeds = sorted(ours.keys() & theirs.keys())
        known = [seed for seed in seeds if not theirs[seed].beyond]
        if not known:
            continue
        found = intervals.of_geometric_mean([ours[seed].beta / theirs[seed].beta for seed in known])
        unreached, left_out = sum(ours[seed].beyond for seed in known), len(seeds) - len(known)
        verdict = at_least(found, STRENGTH_RATIO)
        if (unreached and verdict is Verdict.REFUTED) or (left_out and verdict is Verdict.SHOWN):
            verdict = Verdict.NOT_SHOWN
        again = [
            f"{sum(of_one[seed].again for seed in known)} of {name}"
            for name, of_one in ((PAPERS, ours), (RIVAL, theirs))
        ]
        notes = [
            f"R-RNN did not double within the grid for {unreached} of {len(known)} seeds: at least this",
            f"L1 did not double within the grid for {left_out} of {len(seeds)} seeds, which are left out",
            f"seeds, of {len(known)}, whose MSE is below twice again at a larger β: {' and '.join(again)}",
        ]
        said = [note for note, says in zip(notes, (unreached, left_out, True), strict=True) if says]
        parts.append(Part(task, found, verdict, "; ".join(said)))
    return Claim(
        "L1 gives way at lower strengths",
        "L1 degrades quickly at large β (paper); the strength at which the MSE doubles is at least ten times larger "
        "for R-RNN (target of this project).",
        "For each seed the β at which the MSE first reaches twice that without a penalty, interpolated between the "
        f"strengths on logarithmic axes; R-RNN's divided by L1's, at least {STRENGTH_RATIO:g}. An error that does not "
        "double within the grid counts as doubling at its end, which can support the claim and not refute it. Seeds "
        "whose error does not double under L1 are left out, and a part that leaves any out is not shown.",
        "ratio of strengths",
        f"≥ {STRENGTH_RATIO:g}",
        parts,
        [
            "A unit of β does not mean the same to both: L1 sums over all weights, R-RNN over o × i walks.",
            "The error need not rise with β: past the first doubling it can fall again (notes), where lags cancel or "
            "units saturate and the penalty costs little.",
        ],
    )


def lower_error_at_equal_sparsity(table: Table) -> Claim:
    parts, apart = [], []
    for task in _compared(table):
        for name in (PAPERS, *(name for name in table.regularisers(task) if name not in (PAPERS, RIVAL))):
            for measure, where in SPARSITIES.items():
                what = f"{task}, {name}{where}"
                if part := _at_equal_sparsity(table, task, name, measure, what):
                    parts.append(part)
                else:
                    apart.append(what)
    remarks = [
        "The notes give the ratio at each share. It can jump from one share to the next, where the last network of one "
        "penalty that still solves the task drops out; a mean over the shares hides that."
    ]
    if apart:
        remarks.append(f"No share is reached by every seed of both: {'; '.join(apart)}.")
    return Claim(
        "Lower error than L1 at equal sparsity",
        "Penalising pathways beats penalising weights (paper), compared where β does not matter.",
        "For each seed and each of the shares of R_io off the optimum's support "
        f"{', '.join(f'{share:g}' for share in SHARES)} that both penalties reach with every seed: the lowest MSE "
        "among the networks of all strengths with at most that share. R-RNN's divided by L1's, mean over the shares, "
        "below 1. R_io is what R-RNN itself makes small. For comparison: the same of the share of all P_m off the "
        "support of all lags (on all walks), and the other penalties against L1; a penalty with fewer strengths has "
        "fewer networks to take the lowest of (notes).",
        "ratio of MSE at equal sparsity of R_io",
        "< 1",
        parts,
        remarks if parts else (),
    )


def _at_equal_sparsity(table: Table, task: str, name: str, measure: str, what: str) -> Part | None:
    """Penalty ``name`` against L1; None if there is no share that every seed of both reaches."""
    ours, theirs = (_frontiers(table, task, one, measure) for one in (name, RIVAL))
    seeds = sorted(ours[1.0].keys() & theirs[1.0].keys())
    levels = [share for share in SHARES if all(seed in theirs[share] and seed in ours[share] for seed in seeds)]
    if not levels:
        return None
    by_level = {share: [math.log(ours[share][seed] / theirs[share][seed]) for seed in seeds] for share in levels}
    paired = [math.exp(sum(logs) / len(levels)) for logs in zip(*by_level.values(), strict=True)]
    found = intervals.of_geometric_mean(paired)
    note = ", ".join(f"{math.exp(sum(logs) / len(logs)):.3g} at {share:g}" for share, logs in by_level.items())
    reached = ", ".join(f"{_sparsest(frontiers):g} ({one})" for one, frontiers in ((name, ours), (RIVAL, theirs)))
    note += f"; all seeds reach {reached}"
    strengths, of_rival = (len(table.curve(task, one)) for one in (name, RIVAL))
    if strengths != of_rival:
        note += f"; {strengths} strengths against {of_rival}"
    judged = name == PAPERS and measure == "communication_sparsity"
    return Part(what, found, below(found, 1) if judged else None, note)


@dataclass(frozen=True)
class Doubling:
    """Where one seed's error first doubles; ``beyond`` if it does not within the grid, of which beta is then the end;
    ``again`` if it is below the double once more at a larger beta."""

    beta: float
    beyond: bool
    again: bool


def _doublings(curve: Sequence[Point], base: Point) -> dict[int, Doubling]:
    """For each seed. An error that is doubled at the weakest strength above 0 counts as doubling there."""
    found = {}
    for start in base.records:
        limit = DOUBLING * start.test_error
        errors = [
            (point.beta, record.test_error)
            for point in curve
            for record in point.records
            if record.seed == start.seed and point.beta > 0
        ]
        if errors:
            found[start.seed] = _crossing(errors, limit)
    return found


def _crossing(errors: Sequence[tuple[float, float]], limit: float) -> Doubling:
    for index, (beta, error) in enumerate(errors):
        if not error < limit:  # so that NaN, the error of a network that diverged, is one that has doubled
            again = any(later < limit for _, later in errors[index:])
            if index == 0 or math.isnan(error):
                return Doubling(beta, False, again)
            before, least = errors[index - 1]
            way = math.log(limit / least) / math.log(error / least)
            return Doubling(before * (beta / before) ** way, False, again)
    return Doubling(errors[-1][0], True, False)


def _frontiers(table: Table, task: str, regulariser: str, measure: str) -> dict[float, dict[int, float]]:
    """Of each share, the lowest error by seed among the networks whose ``measure`` is at most that share."""
    base = table.unpenalised(task)
    records: list[Record] = [record for point in table.curve(task, regulariser) for record in point.records]
    trained = {record.seed for record in records}
    records += [record for record in base.records if record.seed in trained] if base else []
    frontiers: dict[float, dict[int, float]] = {}
    for share in (1.0, *SHARES):
        lowest: dict[int, float] = {}
        for record in records:
            if _number(record, measure) <= share:
                lowest[record.seed] = min(record.test_error, lowest.get(record.seed, math.inf))
        frontiers[share] = lowest
    return frontiers


def _sparsest(frontiers: dict[float, dict[int, float]]) -> float:
    """The least share that every seed reaches."""
    return min(share for share, lowest in frontiers.items() if lowest.keys() == frontiers[1.0].keys())


def _compared(table: Table) -> list[str]:
    """The tasks with both penalties of the comparison, and networks without one."""
    return [task for task in MODULAR if table.unpenalised(task) and {PAPERS, RIVAL} <= set(table.regularisers(task))]


def _number(record: Record, measure: str) -> float:
    value = record.measures[measure]
    assert isinstance(value, float)
    return value


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
