"""Contenders measured in turn, round by round, so that a slow spell of the machine hits all of them."""

from __future__ import annotations

import functools
import gc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmarks import jax_peers
from benchmarks.contenders import added_to_grad, check_agreement, gradients_added, value_and_gradient
from benchmarks.device import now, quickest
from benchmarks.floors import Work
from benchmarks.names import COMPILED, DIRECT, JAX, OURS
from benchmarks.peers import Penalty, compiled

ROUND_S = 4e-3  # a contender's share of a round is at least this long, so that the clock's grain does not matter
BUDGET_S = 1.0  # of all rounds of one race, unless MIN_ROUNDS take longer
MIN_ROUNDS, MAX_ROUNDS = 6, 40


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
    def best(self) -> str:
        """Ours as a training loop has it where it need not go through the loss."""
        return DIRECT if DIRECT in self.times else OURS

    def ours(self) -> list[str]:
        return [name for name in (OURS, DIRECT) if name in self.times]

    def peers(self, *, eager: bool = False) -> list[str]:
        """The names of those who are not ours; of PyTorch's eager ones alone if asked."""
        others = [name for name in self.times if name not in (OURS, DIRECT)]
        return [name for name in others if not (eager and name.startswith((COMPILED, JAX)))]

    def fastest(self, *, eager: bool = False) -> str:
        """By its minimum: on a shared machine the median tells of the neighbours too."""
        return min(self.peers(eager=eager), key=lambda name: self.times[name].minimum)

    def ratio(self, ours: str, peers: Sequence[str], statistic: str = "minimum") -> float:
        """How many times faster ``ours`` is than whichever of ``peers`` is fastest by ``statistic``."""
        fastest: float = min(getattr(self.times[name], statistic) for name in peers)
        return fastest / getattr(self.times[ours], statistic)

    @property
    def floor_share(self) -> float | None:
        """The part of our time that the arithmetic alone would take."""
        return None if self.work is None else self.work.floor_s / self.times[self.best].minimum


def race(
    benchmark: BenchmarkFixture,
    case: str,
    shape: Mapping[str, int],
    ours: Penalty,
    peers: Mapping[str, Penalty],
    weights: tuple[Tensor, ...],
    *,
    compile_among: tuple[str, ...] = (),
    in_jax: tuple[str, ...] = (),
    work: Work,
    direct: Penalty | None = None,
    gradient_rtol: float = 1e-3,
    min_rounds: int = MIN_ROUNDS,
) -> Race:
    """Checks the contenders against ``ours``, then measures all of them.

    Args:
        peers: eager ones.
        compile_among: those of ``peers`` of which the fastest takes part under torch.compile as well.
        direct: ours without a graph, which adds to .grad.
        in_jax: those of :mod:`benchmarks.jax_peers` of which the fastest takes part, where JAX is installed.
    """
    steps = {OURS: value_and_gradient(ours, weights)}
    steps |= {name: value_and_gradient(peer, weights) for name, peer in peers.items()}
    first_call_s = {}
    if compile_among:
        chosen = min(compile_among, key=lambda name: quickest(steps[name], 0.03))
        steps[COMPILED + chosen] = value_and_gradient(compiled(peers[chosen]), weights)
        start = now()
        steps[COMPILED + chosen]()
        first_call_s[COMPILED + chosen] = now() - start
    check_agreement(steps, gradient_rtol)
    turns: dict[str, Callable[[], object]] = dict(steps)
    if direct is not None:
        turns[DIRECT] = by_hand = added_to_grad(direct, weights)
        check_agreement({OURS: steps[OURS], DIRECT: lambda: gradients_added(by_hand, weights)}, gradient_rtol)
    if in_jax and jax_peers.INSTALLED:
        jitted = {name: jax_peers.value_and_gradient(name, weights, shape.get("hops")) for name in in_jax}
        chosen = min(jitted, key=lambda name: quickest(jitted[name], 0.03))
        in_torch = functools.partial(jax_peers.in_torch, jitted[chosen])
        check_agreement({OURS: steps[OURS], JAX + chosen: in_torch}, gradient_rtol)
        turns[JAX + chosen] = jitted[chosen]
    probes = {f"probe {index}": probe for index, probe in enumerate(work.probes())}
    turns |= {name: probe.step for name, probe in probes.items()}
    times = in_turn(benchmark, turns, min_rounds=min_rounds)
    for name, probe in probes.items():
        probe.record(times.pop(name).minimum)
    return Race(case, shape, times, work, first_call_s)


def in_turn(
    benchmark: BenchmarkFixture, steps: Mapping[str, Callable[[], object]], *, min_rounds: int = MIN_ROUNDS
) -> dict[str, Times]:
    """Measures every contender once a round: the first by pytest-benchmark, the others in its setup."""
    seconds = {name: quickest(step, 0.0) for name, step in steps.items()}
    times = {name: Times(calls=math.ceil(ROUND_S / seconds[name])) for name in steps}
    round_s = sum(times[name].calls * seconds[name] for name in steps)
    rounds = max(min_rounds, min(MAX_ROUNDS, int(BUDGET_S / round_s)))

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
