"""The claims on first weights of spiking networks: which rates they give, and how training goes on from there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from experiments.claims import intervals
from experiments.claims.verdicts import Claim, Part, below, within
from experiments.training.initialisations import (
    BY_FORMULA,
    CALIBRATED,
    FLUCTUATION_DRIVEN,
    INITIALISATIONS,
    KAIMING,
)
from experiments.training.spiking import Reached, Trained

ONE_LAYER = 0.02  # of the rate asked for: the targets of this project
EVERY_LAYER = 0.05
SILENT = 0.1
SILENT_FROM = 3  # the layer


def judge(reached: Sequence[Reached], trained: Sequence[Trained]) -> list[Claim]:
    """Every claim."""
    return [
        one_layer(reached),
        every_layer(reached),
        kaiming_falls_silent(reached),
        recurrent_layer(reached),
        *(learns_faster(trained, rival) for rival in (KAIMING, FLUCTUATION_DRIVEN)),
    ]


def one_layer(reached: Sequence[Reached]) -> Claim:
    first = [replace(one, rates=one.rates[:1]) for one in reached]
    return Claim(
        "A layer fires at the rate asked for",
        "Weights of `rate_normal_` make a layer fire at the rate that was asked (target of this project).",
        f"The first layer: measured rate over asked rate, less 1, mean over seeds between -{ONE_LAYER:g} and "
        f"{ONE_LAYER:g}. For comparison: the other first weights.",
        "rate / asked - 1",
        f"-{ONE_LAYER:g} to {ONE_LAYER:g}",
        _parts(first, BY_FORMULA, _off, ONE_LAYER, recurrent=False),
    )


def every_layer(reached: Sequence[Reached]) -> Claim:
    return Claim(
        "Every layer of ten fires at the rate asked for",
        "Weights of `calibrate_` make each of ten layers fire at the rate that was asked (target of this project).",
        "The layer that is furthest off, for each seed: the size of measured rate over asked rate less 1, mean over "
        f"seeds below {EVERY_LAYER:g}. For comparison: the other first weights.",
        "largest |rate / asked - 1|",
        f"< {EVERY_LAYER:g}",
        _parts(reached, CALIBRATED, _furthest_off, EVERY_LAYER, recurrent=False),
        [
            "`rate_normal_` here knows the measured rate of each neuron of the layer before, and takes its spikes for "
            "independent from step to step. Those of spiking neurons are not, which adds up over layers; `calibrate_` "
            "corrects for it by what the layer fires at.",
            "Rates are those of input that the weights were not made on. Where that was few spikes, as at 0.1 ms and "
            "5 Hz, what was corrected on one draw is off on the next, and layer after layer adds to it.",
        ],
    )


def kaiming_falls_silent(reached: Sequence[Reached]) -> Claim:
    parts = []
    for (initialisation, dt, asked), group in _groups(reached, recurrent=False):
        if initialisation in (KAIMING, FLUCTUATION_DRIVEN):
            found = intervals.of_mean([one.rates[SILENT_FROM - 1] / one.asked for one in group])
            verdict = below(found, SILENT) if initialisation == KAIMING else None
            parts.append(Part(_what(initialisation, dt, asked), found, verdict, _by_layer(group)))
    return Claim(
        "Kaiming weights fall silent",
        f"With Kaiming weights a network is silent from layer {SILENT_FROM} on (this project's reason to look).",
        f"Layer {SILENT_FROM}: measured rate over the rate of the input, mean over seeds below {SILENT:g}. For "
        "comparison: fluctuation-driven weights.",
        "rate / that of the input",
        f"< {SILENT:g}",
        parts,
    )


def recurrent_layer(reached: Sequence[Reached]) -> Claim:
    return Claim(
        "A recurrent layer fires at the rate asked for",
        "Weights of `rate_recurrent_`, half of the potential's variance recurrent, make a layer fire at the rate that "
        "was asked (target of this project).",
        "Measured rate over asked rate, less 1, mean over seeds between "
        f"-{EVERY_LAYER:g} and {EVERY_LAYER:g}. For comparison: the other first weights.",
        "rate / asked - 1",
        f"-{EVERY_LAYER:g} to {EVERY_LAYER:g}",
        _parts(reached, BY_FORMULA, _off, EVERY_LAYER, recurrent=True),
    )


def learns_faster(trained: Sequence[Trained], rival: str) -> Claim:
    parts = []
    for data, hidden in dict.fromkeys((one.data, one.hidden) for one in trained):
        ours, theirs = (
            {one.seed: one for one in trained if (one.data, one.hidden, one.initialisation) == (data, hidden, name)}
            for name in (CALIBRATED, rival)
        )
        seeds = sorted(ours.keys() & theirs.keys())
        if not seeds:
            continue
        found = intervals.of_geometric_mean([_mean_loss(ours[seed]) / _mean_loss(theirs[seed]) for seed in seeds])
        last = [intervals.of_mean([of_one[seed].errors[-1] for seed in seeds]) for of_one in (ours, theirs)]
        note = f"wrong at the end: {100 * last[0].mean:.1f} % against {100 * last[1].mean:.1f} %"
        parts.append(Part(f"{data}, {hidden} hidden layers", found, below(found, 1), note))
    return Claim(
        f"Training goes faster than from {rival} weights",
        f"Networks whose layers start at one rate, by `calibrate_`, are ahead of those with {rival} weights while they "
        "learn (open: the abstract of arXiv 2305.08879 leaves it so).",
        "Test cross-entropy, geometric mean over all looks after the start, in units of the other's, seed by seed, "
        "below 1.",
        "ratio of cross-entropies",
        "< 1",
        parts,
    )


def _parts(
    reached: Sequence[Reached], judged: str, number: Callable[[Reached], float], limit: float, *, recurrent: bool
) -> list[Part]:
    parts = []
    for (initialisation, dt, asked), group in _groups(reached, recurrent=recurrent):
        held = [one for one in group if not math.isnan(one.rates[0])]
        found = intervals.of_mean([number(one) for one in held])
        verdict = within(found, limit) if initialisation == judged else None
        note = f"refused for {len(group) - len(held)} of {len(group)} seeds" if len(held) < len(group) else ""
        parts.append(Part(_what(initialisation, dt, asked), found, verdict, note or _by_layer(group)))
    return parts


def _groups(reached: Iterable[Reached], *, recurrent: bool) -> list[tuple[tuple[str, float, float], list[Reached]]]:
    """Those that differ by their seed alone."""
    groups: dict[tuple[str, float, float], list[Reached]] = {}
    for one in reached:
        if one.recurrent == recurrent:
            groups.setdefault((one.initialisation, one.dt, one.asked), []).append(one)
    order = list(INITIALISATIONS)
    return sorted(groups.items(), key=lambda group: (order.index(group[0][0]), *group[0][1:]))


def _what(initialisation: str, dt: float, asked: float) -> str:
    return f"{initialisation}, dt = {1e3 * dt:g} ms, {asked:g} Hz"


def _by_layer(group: Sequence[Reached]) -> str:
    """Mean rates over seeds, layer by layer."""
    means = [sum(rates) / len(rates) for rates in zip(*(one.rates for one in group), strict=True)]
    return f"{' '.join(f'{mean:.3g}' for mean in means)} Hz"


def _off(one: Reached) -> float:
    return one.rates[0] / one.asked - 1


def _furthest_off(one: Reached) -> float:
    return max(abs(rate / one.asked - 1) for rate in one.rates)


def _mean_loss(one: Trained) -> float:
    return math.exp(sum(map(math.log, one.losses[1:])) / len(one.losses[1:]))
