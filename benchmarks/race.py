"""Contenders measured in turn, round by round, so that a slow spell of the machine hits all of them."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmarks.device import now, quickest
from benchmarks.floors import Work
from benchmarks.peers import Penalty, compiled

OURS = "rrnn_ext"
COMPILED = "compiled "  # the prefix of a peer's name under torch.compile

ROUND_S = 4e-3  # a contender's share of a round is at least this long, so that the clock's grain does not matter
BUDGET_S = 1.2  # of all rounds of one race, unless MIN_ROUNDS take longer
MIN_ROUNDS, MAX_ROUNDS = 8, 50

VALUE_RTOL = 1e-4

Step = Callable[[], tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Times:
    """Seconds a call took: the mean over ``calls`` calls, for each round."""

    calls: int
    rounds: list[float] = field(default_factory=list)

    @property
    def minimum(self) -> float:
        return min(self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Race:
    """One shape of one case, measured."""

    case: str
    shape: Mapping[str, int]
    times: Mapping[str, Times]
    work: Work | None = None
    first_call_s: Mapping[str, float] = field(default_factory=dict)  # of a compiled peer: the compilation

    @property
    def fastest_peer(self) -> str:
        """By its minimum: on a shared machine the median tells of the neighbours too."""
        return min((name for name in self.times if name != OURS), key=lambda name: self.times[name].minimum)

    def ratio(self, statistic: str = "minimum", against: str | None = None) -> float:
        """How many times faster ours is than ``against``, or than whichever peer is fastest by ``statistic``."""
        seconds: dict[str, float] = {name: getattr(times, statistic) for name, times in self.times.items()}
        ours = seconds.pop(OURS)
        return (seconds[against] if against else min(seconds.values())) / ours

    @property
    def floor_share(self) -> float | None:
        """The part of our time that the arithmetic alone would take."""
        return None if self.work is None else self.work.floor_s / self.times[OURS].minimum


def value_and_gradient(penalty: Penalty, weights: tuple[Tensor, ...]) -> Step:
    """One evaluation as training needs it: the penalty and its gradient for every weight."""

    def step() -> tuple[Tensor, tuple[Tensor, ...]]:
        value = penalty(*weights)
        return value, torch.autograd.grad(value, weights)

    return step


def race(
    benchmark: BenchmarkFixture,
    case: str,
    shape: Mapping[str, int],
    ours: Penalty,
    peers: Mapping[str, Penalty],
    weights: tuple[Tensor, ...],
    *,
    compile_among: tuple[str, ...],
    work: Work,
    gradient_rtol: float = 1e-3,
) -> Race:
    """Checks ``peers`` and the compiled fastest of ``compile_among`` against ``ours``, then measures all of them."""
    steps = {OURS: value_and_gradient(ours, weights)}
    steps |= {name: value_and_gradient(peer, weights) for name, peer in peers.items()}
    chosen = min(compile_among, key=lambda name: quickest(steps[name], 0.03))
    steps[COMPILED + chosen] = value_and_gradient(compiled(peers[chosen]), weights)
    start = now()
    steps[COMPILED + chosen]()
    first_call_s = {COMPILED + chosen: now() - start}
    check_agreement(steps, gradient_rtol)
    probes = {f"probe {index}": probe for index, probe in enumerate(work.probes())}
    times = in_turn(benchmark, {**steps, **{name: probe.step for name, probe in probes.items()}})
    for name, probe in probes.items():
        probe.record(times.pop(name).minimum)
    return Race(case, shape, times, work, first_call_s)


def in_turn(benchmark: BenchmarkFixture, steps: Mapping[str, Callable[[], object]]) -> dict[str, Times]:
    """Measures every contender once a round: the first by pytest-benchmark, the others in its setup."""
    seconds = {name: quickest(step, 0.0) for name, step in steps.items()}
    times = {name: Times(calls=math.ceil(ROUND_S / seconds[name])) for name in steps}
    round_s = sum(times[name].calls * seconds[name] for name in steps)
    rounds = max(MIN_ROUNDS, min(MAX_ROUNDS, int(BUDGET_S / round_s)))

    def turn(name: str) -> None:
        step = steps[name]
        for _ in range(times[name].calls):
            step()

    first, *others = steps

    def others_turn() -> tuple[tuple[str], dict[str, object]]:
        # Each goes first in its turn: nobody always follows the one that fills the caches.
        others.append(others.pop(0))
        for name in others:
            start = now()
            turn(name)
            times[name].rounds.append((now() - start) / times[name].calls)
        return (first,), {}  # what pedantic calls ``turn`` with

    gc.collect()
    gc.disable()  # a collection in somebody's turn would count against it
    try:
        benchmark.pedantic(turn, setup=others_turn, rounds=rounds)
    finally:
        gc.enable()
    assert benchmark.stats is not None
    times[first].rounds.extend(duration / times[first].calls for duration in benchmark.stats.stats.data)
    for name in steps:
        benchmark.extra_info[name] = {"minimum_s": times[name].minimum, "median_s": times[name].median}
    return times


def check_agreement(steps: Mapping[str, Step], gradient_rtol: float) -> None:
    """Every contender computes our value and gradients; these by their norm, as one rounded sign of R is no error."""
    value, gradients = steps[OURS]()
    for name, step in steps.items():
        peer_value, peer_gradients = step()
        if not (peer_value - value).abs() <= VALUE_RTOL * value.abs():
            raise AssertionError(f"{name} computes {peer_value.item()} where {OURS} computes {value.item()}")
        for index, (peer_gradient, gradient) in enumerate(zip(peer_gradients, gradients, strict=True)):
            error = ((peer_gradient - gradient).norm() / gradient.norm()).item()
            if not error <= gradient_rtol:
                raise AssertionError(
                    f"gradient {index} of {name} and of {OURS} differ by {error:.1e} (> {gradient_rtol:.0e})"
                )
