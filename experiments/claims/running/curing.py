"""The claims on the cure: does a penalty of the network that runs make its own pathways sparse, and at what price?"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.claims import frontiers, intervals
from experiments.claims.frontiers import Network
from experiments.claims.limits import SHARES
from experiments.claims.running.groups import at, cells, ratios
from experiments.claims.verdicts import Claim, Part, at_least, below
from experiments.training.running.measures import Record
from experiments.training.running.networks import (
    L1,
    NETWORK,
    NETWORK_PER_HOP,
    UNPENALISED,
    WEIGHTS,
    WEIGHTS_PER_HOP,
)
from experiments.training.running.runs import STRONG

KEPT = 0.9  # of sum |J_m|, where lags do not cancel one another
SPARSER = 0.5  # of the share off the optimum's pathways without a penalty
ALL_SHARES = (0.5, *SHARES)  # the Jacobians of gated networks have more off the optimum than R_io of vanilla ones
DEARER = 1.5  # times the error without a penalty: what sparse Jacobians may cost where they are compared


def sparse(records: Sequence[Record]) -> Claim:
    parts = []
    for cell, own in cells(records).items():
        base = at(own, UNPENALISED)
        for penalty in (NETWORK_PER_HOP, WEIGHTS_PER_HOP, NETWORK, WEIGHTS, L1):
            ours = at(own, penalty)
            found = intervals.of_geometric_mean(ratios(ours, base, lambda record: record.off_optimum))
            if not found.networks:
                continue
            share = intervals.of_mean([record.off_optimum for record in ours.values()]).mean
            error = intervals.of_geometric_mean(ratios(ours, base, lambda record: record.error))
            verdict = below(found, SPARSER) if penalty == NETWORK_PER_HOP else None
            parts.append(Part(f"{cell}: {penalty}", found, verdict, f"share {share:.2g}; MSE ratio {error:.3g}"))
    return Claim(
        "Per hop, the penalty of the network makes its Jacobians sparse",
        "Under the penalty of the network per hop the share of Σ_m ‖J_m‖₁ on pathways that the task's optimum does not "
        "have is less than half of what it is without a penalty (target of this project).",
        f"At β = {STRONG:g}: that share over the one of the network without a penalty, seed by seed, below "
        f"{SPARSER:g}. For comparison: other penalties, L1 at a tenth of β.",
        "ratio of shares",
        f"< {SPARSER:g}",
        parts,
    )


def no_cancellation(records: Sequence[Record]) -> Claim:
    parts = []
    for cell, own in cells(records).items():
        for penalty in (NETWORK_PER_HOP, WEIGHTS_PER_HOP, NETWORK, WEIGHTS, UNPENALISED):
            found = intervals.of_mean([kept(record) for record in at(own, penalty).values()])
            if found.networks:
                verdict = at_least(found, KEPT) if penalty == NETWORK_PER_HOP else None
                parts.append(Part(f"{cell}: {_called(penalty)}", found, verdict))
    return Claim(
        "Per hop, the lags of the network do not cancel one another",
        f"Under the penalty of the network per hop ‖Σ_m J_m‖₁ is at least {KEPT:g} of Σ_m ‖J_m‖₁ (target of this "
        "project).",
        f"At β = {STRONG:g}, mean over the seeds. For comparison: other penalties; in total, a penalty can be met by "
        "lags that cancel.",
        "share not cancelled",
        f"≥ {KEPT:g}",
        parts,
    )


def lower_error(records: Sequence[Record], rival: str, rival_in_total: str) -> Claim:
    """The penalty of the network against a rival, per hop (judged) and in total (for comparison)."""
    parts, apart = [], []
    for cell, own in cells(records).items():
        base = min((record.off_optimum for record in at(own, UNPENALISED).values()), default=0.0)
        shares = [share for share in ALL_SHARES if share < base]
        for ours, theirs in _pairs(rival, rival_in_total):
            pair = _networks(own, ours), _networks(own, theirs)
            reached = [frontiers.sparsest(networks, shares) for networks in pair]
            reach = f"{reached[0] or 'none'}, with the other {reached[1] or 'none'}"
            found = frontiers.compare(*pair, shares)
            if found is None:
                apart += [f"{cell} ({reach})"] if ours == NETWORK_PER_HOP else []
                continue
            ratio = intervals.of_geometric_mean(found.by_seed)
            note = ", ".join(f"{mean:.3g} at {share:g}" for share, mean in found.by_share.items())
            verdict = below(ratio, 1) if ours == NETWORK_PER_HOP else None
            parts.append(Part(_against(cell, ours, theirs, rival), ratio, verdict, f"{note}; all seeds reach {reach}"))
    remarks = (
        [f"Not compared, since all seeds of one of the two reach no such share: {'; '.join(apart)}."] if apart else []
    )
    return Claim(
        f"Lower error than {rival} at equal sparsity of the Jacobians",
        "At the same share of Σ_m ‖J_m‖₁ off the optimum's pathways, the penalty of the network has a lower error than "
        f"{rival} (target of this project).",
        f"For each seed and each of the shares {', '.join(f'{share:g}' for share in ALL_SHARES)} that lie below those "
        "of all networks without a penalty and that both penalties reach with every seed: the lowest MSE among the "
        "networks of all strengths with at most that share; one divided by the other, geometric mean over the shares, "
        "below 1. Per hop is judged; in total is for comparison.",
        "ratio of MSE at equal sparsity of J",
        "< 1",
        parts,
        remarks,
    )


def sparser(records: Sequence[Record], rival: str, rival_in_total: str) -> Claim:
    """The same pairs where errors are alike."""
    parts = []
    for cell, own in cells(records).items():
        for ours, theirs in _pairs(rival, rival_in_total):
            least = [_least_shares(own, penalty) for penalty in (ours, theirs)]
            seeds = sorted(least[0].keys() & least[1].keys())
            if not seeds:
                continue
            found = intervals.of_geometric_mean([least[0][seed] / least[1][seed] for seed in seeds])
            means = [intervals.of_mean([of_one[seed] for seed in seeds]).mean for of_one in least]
            verdict = below(found, 1) if ours == NETWORK_PER_HOP else None
            note = f"share {means[0]:.2g}, with the other {means[1]:.2g}"
            parts.append(Part(_against(cell, ours, theirs, rival), found, verdict, note))
    return Claim(
        f"Sparser Jacobians than under {rival} at equal error",
        f"At an error that is at most {DEARER:g} times that without a penalty, the penalty of the network leaves a "
        f"smaller share of Σ_m ‖J_m‖₁ off the optimum's pathways than {rival} (target of this project).",
        f"For each seed the least share among the networks of all strengths, and of none, with at most {DEARER:g} "
        "times the MSE of the one without a penalty; one divided by the other, below 1. Per hop is judged; in total "
        "is for comparison.",
        "ratio of shares at equal error",
        "< 1",
        parts,
    )


def kept(record: Record) -> float:
    """What is left of sum |J_m| in |sum_m J_m|."""
    return record.strength_in_total / record.strength


def _pairs(rival: str, rival_in_total: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (NETWORK_PER_HOP, rival), (NETWORK, rival_in_total)


def _against(cell: str, ours: str, theirs: str, rival: str) -> str:
    return f"{cell}: {ours}" if theirs == rival else f"{cell}: {ours} against {theirs}"


def _networks(records: Sequence[Record], penalty: str) -> list[Network]:
    return [
        Network(record.setting.seed, record.off_optimum, record.error)
        for record in records
        if record.setting.penalty == penalty
    ]


def _least_shares(records: Sequence[Record], penalty: str) -> dict[int, float]:
    """By seed, of the seeds that have a network without a penalty and some with this one."""
    base, found = at(records, UNPENALISED), dict[int, float]()
    for seed in base.keys() & {record.setting.seed for record in records if record.setting.penalty == penalty}:
        found[seed] = min(
            record.off_optimum
            for record in records
            if record.setting.seed == seed
            and record.setting.penalty in (penalty, UNPENALISED)
            and record.error <= DEARER * base[seed].error
        )
    return found


def _called(penalty: str) -> str:
    return "no penalty" if penalty == UNPENALISED else penalty
