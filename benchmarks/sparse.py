"""``python -m benchmarks.sparse [--quick]``: walks through sparse graphs, value and gradient, against peers.

Prints a line as soon as it is measured, then the table, and writes results/sparse.json and .md unless it is quick.
Contenders take turns, round by round; the slowest run once, in a process of its own, where the peak of their memory is
counted too. On the largest graph, autograd of a peer takes 20 GB and most of the time.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import rrnn_ext
from benchmarks import peers, sparse_peers
from benchmarks.contenders import Result, Step, check_agreement, value_and_gradient
from benchmarks.device import description, now
from benchmarks.floors import sparse_total
from benchmarks.memory import peak_beyond
from benchmarks.names import OURS
from benchmarks.peers import Penalty
from benchmarks.race import ROUND_S, Race, Times
from benchmarks.sparse_graphs import dense_leaf, generated, half_full, larva, sides
from benchmarks.sparse_report import Measured, as_lines, line, write
from rrnn_ext.sparse import Pattern, SparseWeight

HOPS, INPUTS, OUTPUTS = 20, 16, 8
OURS_DENSE = "rrnn_ext, dense"
BUDGET_S, LEAST_ROUNDS, MOST_ROUNDS = 4.0, 5, 60


@dataclass(frozen=True)
class Case:
    """A graph, who is measured on it, and why others are not."""

    name: str
    graph: Callable[[], tuple[str, SparseWeight]]
    peers: Mapping[str, Callable[[Pattern, int], Penalty]]
    rectify: bool = False
    dense: tuple[str, ...] = ()  # of those whose weights are a dense matrix
    alone: tuple[str, ...] = ()  # of the peers, those that run once in a process of their own
    left_out: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False


_OF_VALUES = {"CSR": sparse_peers.csr, "CSR of W'": sparse_peers.csr_mirrored, "gather": sparse_peers.gather}
_CSR_TOO_LARGE = {"CSR": "its backward makes a dense matrix, of 77 GB"}
CASES = (
    Case("larva", larva, _OF_VALUES, dense=("dense", OURS_DENSE), quick=True),
    Case("3,000", lambda: ("generated", generated(3_000, 60_000)), _OF_VALUES, dense=("dense", OURS_DENSE), quick=True),
    Case(
        "30,000",
        lambda: ("generated", generated(30_000, 600_000)),
        _OF_VALUES,
        alone=("CSR", "CSR of W'"),
        left_out={"dense": "a matrix has 3.6 GB, and autograd needs some"},
    ),
    Case(
        "139,000",
        lambda: ("generated", generated(139_000, 15_100_000)),
        {"gather": sparse_peers.gather},
        alone=("gather",),
        left_out=_CSR_TOO_LARGE,
    ),
    Case(
        "139,000 rectified",
        lambda: ("generated", generated(139_000, 15_100_000)),
        {"gather": sparse_peers.rectified_gather},
        rectify=True,
        alone=("gather",),
        left_out=_CSR_TOO_LARGE,
    ),
    Case("half full", lambda: ("every other weight", half_full(1024)), {}, dense=(OURS_DENSE,), quick=True),
)


def ours(pattern: Pattern, rectify: bool) -> Penalty:
    def penalty(values: Tensor, *both: Tensor) -> Tensor:
        return rrnn_ext.resolvent_penalty(pattern.with_values(values), *both, hops=HOPS, rectify=rectify)

    return penalty


def ours_dense(weight_hh: Tensor, *both: Tensor) -> Tensor:
    return rrnn_ext.resolvent_penalty(weight_hh, *both, hops=HOPS)


def dense(weight_hh: Tensor, *both: Tensor) -> Tensor:
    return peers.horner_from_outputs(weight_hh, *both, hops=HOPS)


DENSE: dict[str, Penalty] = {"dense": dense, OURS_DENSE: ours_dense}


def steps_of(case: Case, weight: SparseWeight) -> dict[str, Step]:
    """Everyone's value and gradient, ours first; gradients of a dense matrix at the stored values."""
    pattern = weight.pattern
    both = sides(pattern.units, INPUTS, OUTPUTS)
    steps = {OURS: value_and_gradient(ours(pattern, case.rectify), (weight.values, *both))}
    for name, peer in case.peers.items():
        steps[name] = value_and_gradient(peer(pattern, HOPS), (weight.values, *both))
    for name in case.dense:
        steps[name] = value_and_gradient(DENSE[name], (dense_leaf(weight), *both))
    return steps


def at_stored(step: Step, pattern: Pattern) -> Step:
    """Of a step whose first gradient may be that of a dense matrix, with that of the stored values in its place."""
    places = torch.repeat_interleave(torch.arange(pattern.units), pattern.crow.diff()), pattern.columns.long()

    def sparse_step() -> tuple[Tensor, tuple[Tensor, ...]]:
        value, (of_weights, *others) = step()
        return value, (of_weights[places] if of_weights.dim() == 2 else of_weights, *others)

    return sparse_step


def in_turn(steps: Mapping[str, Callable[[], object]]) -> dict[str, Times]:
    """Seconds a call of each, round by round, whoever is first changing."""
    seconds = {}
    for name, step in steps.items():
        step()
        start = now()
        step()
        seconds[name] = now() - start
    times = {name: Times(calls=math.ceil(ROUND_S / seconds[name])) for name in steps}
    round_s = sum(times[name].calls * seconds[name] for name in steps)
    order = list(steps)
    gc.collect()
    gc.disable()  # a collection in somebody's turn would count against it
    for _ in range(max(LEAST_ROUNDS, min(MOST_ROUNDS, int(BUDGET_S / round_s)))):
        order.append(order.pop(0))
        for name in order:
            start = now()
            for _ in range(times[name].calls):
                steps[name]()
            times[name].rounds.append((now() - start) / times[name].calls)
    gc.enable()
    return times


def measured(case: Case) -> Measured:
    kind, weight = case.graph()
    pattern = weight.pattern
    turns = {name: step for name, step in steps_of(case, weight).items() if name not in case.alone}
    check_agreement({name: at_stored(step, pattern) for name, step in turns.items()}, 1e-3)
    norms = norms_of(turns[OURS]())
    width = 1 if case.rectify else min(INPUTS, OUTPUTS)
    work = sparse_total(pattern.units, pattern.edges, width, HOPS)
    probes = {f"probe {index}": probe for index, probe in enumerate(work.probes())}
    times = in_turn({**turns, **{name: probe.step for name, probe in probes.items()}})
    for name, probe in probes.items():
        probe.record(times.pop(name).minimum)
    memory = {}
    for name in (OURS, *case.alone):
        found = alone(case, name)
        memory[name] = found.peak
        if name in case.alone:
            if not all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(found.norms, norms, strict=True)):
                raise AssertionError(f"{name} computes {found.norms} where {OURS} computes {norms}")
            times[name] = Times(1, [found.seconds])
    shape = {"n": pattern.units, "edges": pattern.edges, "i": INPUTS, "o": OUTPUTS, "hops": HOPS}
    race = Race("rectified total" if case.rectify else "signed total", shape, times, work)
    return Measured(kind, race, memory, case.left_out, case.alone)


def norms_of(result: Result) -> list[float]:
    value, gradients = result
    return [each.norm().item() for each in (value, *gradients)]


class Alone(NamedTuple):
    """One call in a process of its own: its time, what it computed, and bytes at its peak beyond the weights."""

    seconds: float
    norms: list[float]
    peak: int


def alone(case: Case, name: str) -> Alone:
    command = [sys.executable, "-m", "benchmarks.sparse", "--case", case.name, "--alone", name]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True)
    return Alone(*json.loads(done.stdout))


def run_alone(case: Case, name: str) -> Alone:
    step, warm_up = (steps_of(case, weight)[name] for weight in (case.graph()[1], generated(100, 1_000)))
    seconds: list[float] = []
    norms: list[float] = []

    def once() -> None:
        start = now()
        result = step()
        seconds.append(now() - start)
        norms.extend(norms_of(result))

    peak = peak_beyond(warm_up, once)
    return Alone(seconds[0], norms, peak)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sparse", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small graphs; prints, writes no file")
    parser.add_argument("--case", choices=[case.name for case in CASES], help="this one; prints, writes no file")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = [case for case in CASES if arguments.case in (None, case.name) and (case.quick or not arguments.quick)]
    if arguments.alone:
        return print(json.dumps(run_alone(chosen[0], arguments.alone)))
    about = description()
    results = []
    for case in chosen:
        results.append(measured(case))
        print(line(results[-1]), flush=True)
    print("", *as_lines(about, results), sep="\n")
    if not (arguments.quick or arguments.case):
        print(*(f"wrote {path}" for path in write(about, results)), sep="\n")


if __name__ == "__main__":
    main()
