"""What was to be reached on an H100 or H200, and whether it was: a row for each target that is measured."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gpu.record import Folder, Race, Rates
from benchmarks.names import (
    ALL_PAIRS_INFINITE,
    DIRECT,
    ON_A_SIDE_STREAM,
    OURS,
    RECTIFIED,
    STEP,
    THIN,
    THIN_BATCH,
    THIN_LARGE,
    TRAINING_STEP,
)
from benchmarks.tables import as_shape, as_time

HEADER = ("case", "target", "measured", "reached")
Row = tuple[str, str, str, str]

MOST_SECONDS = {THIN: {1024: 100e-6, 512: 35e-6}, RECTIFIED: {1024: 60e-6}, ALL_PAIRS_INFINITE: {256: 0.6e-3}}
LEAST_RATIO = {THIN_BATCH: {256: 10.0}, ALL_PAIRS_INFINITE: {32: 5.0, 64: 5.0}}  # to the fastest peer


def rows(folder: Folder) -> Iterator[Row]:
    for race in folder.all_races():
        if race.case == TRAINING_STEP:
            yield from _shares(race)
        elif race.is_ours_measured:
            yield from _of_race(race, folder.rates)
    for memory in folder.memory.values():
        label = f"peak memory, {as_shape(memory.shape)}"
        yield _row(label, "≤ 1.02 of weight_hh and its gradient", f"{memory.over:.3f}", memory.over <= 1.02)


def _row(label: str, target: str, measured: str, reached: bool) -> Row:
    return label, target, measured, "yes" if reached else "no"


def _of_race(race: Race, rates: Rates | None) -> Iterator[Row]:
    label, n, seconds = f"{race.case}, {as_shape(race.shape)}", race.shape["n"], race.ours.device
    most = MOST_SECONDS.get(race.case, {}).get(n)
    if most is not None:
        yield _row(label, f"≤ {as_time(most)}", as_time(seconds), seconds <= most)
    if not race.peers:
        return
    least = LEAST_RATIO.get(race.case, {}).get(n)
    if least is not None:
        yield _ratio(label, least, "fastest peer", race.ratio)
    if race.case == THIN and n == 1024:
        horner = [race.times[name].device for name in race.peers if name.startswith("horner")]
        if horner:
            yield _ratio(label, 2.5, "Horner in a CUDA graph", min(horner) / seconds)
        if race.wall_ratio is not None:
            yield _ratio(label, 5, "an eager call of Horner's", race.wall_ratio)
    floor = race.floor_s(rates)
    if race.case == THIN_LARGE and floor is not None:
        yield _row(label, "≥ 70 % of the floor", f"{floor / seconds:.0%}", floor / seconds >= 0.7)


def _ratio(label: str, least: float, to: str, ratio: float) -> Row:
    return _row(label, f"≥ {least:g}× {to}", f"{ratio:.2f}×", ratio >= least)


def _shares(race: Race) -> Iterator[Row]:
    if STEP not in race.times:
        return
    for name in (OURS, DIRECT, ON_A_SIDE_STREAM):
        if name in race.times:
            share = race.times[name].device / race.times[STEP].device - 1
            yield _row(f"{race.case}, {as_shape(race.shape)}, {name}", "≤ 5 % of it", f"{share:.1%}", share <= 0.05)
