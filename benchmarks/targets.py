"""What was to be reached, and whether it was: a row for each target of which something was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks import floors
from benchmarks.ledger import Ledger, step_share
from benchmarks.names import (
    ALL_PAIRS_INFINITE,
    COMPILED,
    COMPILED_WITH,
    DIRECT,
    JAX,
    OURS,
    RECTIFIED,
    RECTIFIED_INFINITE,
    STEP,
    THIN,
    THIN_BATCH,
    THIN_INFINITE,
    TRAINING_STEP,
)
from benchmarks.race import Race
from benchmarks.tables import as_shape, as_time

HEADER = ("case", "target", "fastest rounds", "medians", "reached")
STATISTICS = ("minimum", "median")
Row = Sequence[str]
Chosen = Callable[[Race], list[str]]  # the peers of a race that count


def rows(ledger: Ledger) -> list[Row]:
    """Judged by the fastest rounds, the share of a training step by the medians."""
    found = [*_grid(ledger), *_single_shapes(ledger), *_others(ledger), *_training_step(ledger)]
    for memory in ledger.memories():
        ours_floats = memory.floats[OURS]
        label = f"memory beyond W and its gradient, {as_shape(memory.shape)}"
        found.append((label, "≤ 0.25 n² floats", f"{ours_floats:.3f} n²", "", _yes(ours_floats <= 0.25)))
    return found


def _eager(race: Race) -> list[str]:
    return race.peers(eager=True)


def _everyone(race: Race) -> list[str]:
    return race.peers()


def _named(peer: str) -> Chosen:
    return lambda race: [peer]


def _jax(race: Race) -> list[str]:
    return [name for name in race.peers() if name.startswith(JAX)]


def _times(
    label: str,
    races: Sequence[Race],
    peers: Chosen,
    said: str,
    target: float | None,
    *,
    ours: str | None = None,
    combine: Callable[[list[float]], float] = statistics.geometric_mean,
) -> list[Row]:
    """How many times faster ours is: of one race, or the geometric mean of many."""
    races = [race for race in races if peers(race)]
    if not races:
        return []
    least, middle = (
        combine([race.ratio(ours or race.best, peers(race), statistic) for race in races]) for statistic in STATISTICS
    )
    wanted = "" if target is None else f"≥ {target:g}× "
    return [(label, wanted + said, f"{least:.3g}×", f"{middle:.3g}×", "" if target is None else _yes(least >= target))]


def _least(races: Sequence[Race], peers: Chosen, said: str, target: float) -> list[Row]:
    """The worst of many, and how many fall short."""
    by = [[(race.ratio(race.best, peers(race), statistic), race) for race in races] for statistic in STATISTICS]
    (least, where), (middle, _) = (min(ratios, key=lambda pair: pair[0]) for ratios in by)
    short = sum(ratio < target for ratio, _ in by[0])
    label = f"… least of all: {_as_cell(where)}; {short} fall short"
    return [(label, f"≥ {target:g}× {said}", f"{least:.3g}×", f"{middle:.3g}×", _yes(not short))]


def _grid(ledger: Ledger) -> list[Row]:
    thin = ledger.races(THIN)
    if not thin:
        return []
    small = [race for race in thin if race.shape["n"] <= 256]
    ours = thin[0].best
    found = _times(f"{THIN}, {ours}, geometric mean of {len(thin)} shapes", thin, _eager, "fastest eager peer", 6)
    found += _times(f"… of the {len(small)} with n ≤ 256", small, _eager, "fastest eager peer", 8)
    found += _least(thin, _eager, "fastest eager peer", 1.2)
    found += _times(f"… of all {len(thin)}", thin, _everyone, "fastest of all", 4)
    found += _least(thin, _everyone, "fastest of all", 1.2)
    if ours != OURS:
        found += _times("… through the loss", thin, _eager, "fastest eager peer", None, ours=OURS)
        found += _times("… through the loss", thin, _everyone, "fastest of all", None, ours=OURS)
    powers = ledger.races(THIN, n=256, hops=20)
    found += _times("… n=256 L=20", powers, _named("adjacency_powers"), "adjacency_powers", 50)
    found += _rate([race for race in thin if 128 <= race.shape["n"] <= 1024 and _width(race) >= 8], 0.75)
    return found + _rate([race for race in thin if 256 <= race.shape["n"] <= 1024 and _width(race) == 4], 0.5)


def _rate(races: Sequence[Race], target: float) -> list[Row]:
    """6 n² w L flops over the time, as a share of matmul's rate."""
    races = [race for race in races if race.shape["hops"] >= 20]
    if not races:
        return []
    by = [[(_share_of_matmul(race, statistic), race) for race in races] for statistic in STATISTICS]
    (least, where), (middle, _) = (min(shares, key=lambda pair: pair[0]) for shares in by)
    sizes = sorted({race.shape["n"] for race in races})
    wide = "w ≥ 8" if _width(races[0]) >= 8 else "w = 4"
    mean = statistics.geometric_mean([share for share, _ in by[0]])
    label = f"rate, n {sizes[0]} to {sizes[-1]}, {wide}, L ≥ 20: least, {_as_cell(where)} (mean {mean:.2f})"
    return [(label, f"≥ {target:g} of matmul", f"{least:.2f}", f"{middle:.2f}", _yes(least >= target))]


def _share_of_matmul(race: Race, statistic: str) -> float:
    assert race.work is not None
    seconds: float = getattr(race.times[race.best], statistic)
    return race.work.flops / seconds / floors.matmul_rate()


def _width(race: Race) -> int:
    return min(race.shape["i"], race.shape["o"])


def _single_shapes(ledger: Ledger) -> list[Row]:
    found: list[Row] = []
    for shape, target in (((16, 8, 10), 45e-6), ((1, 1, 10), 25e-6), ((32, 32, 50), 0.5e-3)):
        i, o, hops = shape
        for race in ledger.races(THIN, n=64, i=i, o=o, hops=hops):
            found += _time(race, target)
            if shape == (16, 8, 10):
                found += _times("… against JAX", [race], _jax, "JAX", 4)
    return found


def _time(race: Race, target: float) -> list[Row]:
    least, middle = (getattr(race.times[race.best], statistic) for statistic in STATISTICS)
    label = f"{race.case}, {as_shape(race.shape)}"
    return [(label, f"≤ {as_time(target)}", as_time(least), as_time(middle), _yes(least <= target))]


def _others(ledger: Ledger) -> list[Row]:
    found: list[Row] = []
    for race in ledger.races(THIN_BATCH):
        found += _times(_of(race), [race], _eager, "baddbmm", 5 if race.shape["n"] == 32 else 4)
    for race in ledger.races(RECTIFIED):
        found += _times(_of(race), [race], _eager, "fastest eager peer", 8)
        found += _times("…", [race], _everyone, "fastest of all", None)
    for race in ledger.races(RECTIFIED_INFINITE):
        found += _times(_of(race), [race], _named("inverse"), "inverse", 50)
    for race in ledger.races(THIN_INFINITE):
        found += _time(race, 0.5)
    for race in ledger.races(ALL_PAIRS_INFINITE):
        found += _times(_of(race), [race], _everyone, "fastest of all", 3 if race.shape["batch"] > 1 else 1.2)
    return found


def _training_step(ledger: Ledger) -> list[Row]:
    found: list[Row] = []
    for race in ledger.races(TRAINING_STEP):
        for ours in (DIRECT, OURS):
            if ours in race.times:
                least, middle = step_share(race, ours)
                # A small difference of two large times: of two minima it may be anything.
                reached = _yes(middle <= 0.08) if ours == race.best else ""
                wanted = "penalty ≤ 8 %" if ours == race.best else "penalty"
                found.append((f"{_of(race)}, {ours}", wanted, f"{least:.1%}", f"{middle:.1%}", reached))
        if COMPILED_WITH in race.times:
            ratios = [getattr(race.times[COMPILED_WITH], s) / getattr(race.times[OURS], s) for s in STATISTICS]
            label = f"… under torch.compile, with the penalty in it (the step alone: {_compiled_alone(race):.2f}×)"
            found.append((label, "≤ 1× eager", *(f"{ratio:.2f}×" for ratio in ratios), _yes(ratios[0] <= 1)))
    return found


def _compiled_alone(race: Race) -> float:
    return race.times[COMPILED + STEP].minimum / race.times[STEP].minimum


def _of(race: Race) -> str:
    return f"{race.case}, {as_shape(race.shape)}"


def _as_cell(race: Race) -> str:
    return f"n={race.shape['n']} ({race.shape['i']}, {race.shape['o']}) L={race.shape['hops']}"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"
