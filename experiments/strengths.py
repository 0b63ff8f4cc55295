"""At which strength a penalty begins to cost, over sizes of networks and of tasks: ``python -m experiments.strengths``.

Prints the tables of docs/choose-beta.md, in some ten minutes of one core. Each network is trained without a penalty and
under the penalty per hop at several strengths: RNNs on linear tasks under that of their weights, the others under that
of themselves as they ran.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import rrnn_ext
from benchmarks.tables import as_table
from experiments.tasks import modular, problems
from experiments.training import loop, regularisers, stacked
from experiments.training.running.networks import Trained
from experiments.training.sweep import single_threads

STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
UPDATES, BATCH = 600, 64
SEEDS = (0, 1)  # of networks side by side; the others have the first
READ = 512  # sequences of which the penalty of a network that ran is told
HIDDEN = (32, 64, 128, 256)
DOUBLED = 2.0
BANDS = ((0.02, 0.06), (0.06, 0.2), (0.2, 0.6), (0.6, 2.0))  # of the share


@dataclass(frozen=True)
class Case:
    """A kind of network, its task and its units; ``modules`` and so on are those of a modular task."""

    kind: str
    task: str
    hidden: int
    modules: int = 4
    module_size: int = 4
    steps: int = 10

    @property
    def linear(self) -> bool:
        """Whether the weights are what the network does."""
        return self.kind == "RNN" and self.task != "digits"

    def problem(self) -> problems.Problem:
        if self.task == "digits":
            return problems.named(self.task)
        make = {"averaging": modular.averaging, "lagged": modular.lagged}[self.task]
        return make(modular.Sizes(self.modules, self.module_size, self.steps))


@dataclass(frozen=True)
class Outcome:
    """What came of a case, means over its seeds.

    Attributes:
        knowing_nothing: the loss of the first weights.
        first, trained: the penalty of the first weights, and after training without it.
        costs: of each strength, the loss in units of that without a penalty.
    """

    case: Case
    knowing_nothing: float
    first: float
    trained: float
    costs: dict[float, float]

    def doubled(self) -> float:
        """The strength at which the loss doubles, between the strengths that were tried."""
        (below, cost) = (min(self.costs), 1.0)
        for beta, dearer in self.costs.items():
            if dearer >= DOUBLED:
                part = (math.log(DOUBLED) - math.log(cost)) / (math.log(dearer) - math.log(cost))
                return float(below * (beta / below) ** part)
            below, cost = beta, dearer
        return math.nan

    def share(self, beta: float) -> float:
        """What the penalty without penalising is worth at a strength, in units of the loss of knowing nothing."""
        return beta * self.trained / self.knowing_nothing


HIDDEN_CASES = (("RNN", "averaging"), ("GRU", "averaging"), ("RNN", "lagged"), ("RNN", "digits"), ("GRU", "digits"))
BY_HIDDEN = [Case(kind, task, hidden) for kind, task in HIDDEN_CASES for hidden in HIDDEN]
BY_TASK = [
    Case("RNN", "averaging", 64, *sizes)
    for sizes in ((2, 4, 10), (4, 2, 10), (4, 4, 5), (4, 4, 10), (4, 4, 20), (4, 8, 10), (8, 4, 10))
]


def outcome(case: Case) -> Outcome:
    """Trains and tests all networks of a case."""
    strengths = (0.0, *STRENGTHS)
    rows = _side_by_side(case, strengths) if case.linear else torch.tensor(list(_one_by_one(case, strengths)))
    before, after, first, last = rows.T
    costs = (after / after[0]).tolist()
    return Outcome(
        case, float(before[0]), float(first[0]), float(last[0]), dict(zip(STRENGTHS, costs[1:], strict=True))
    )


def _side_by_side(case: Case, strengths: Sequence[float]) -> Tensor:
    """(strengths, 4): the loss before and after training, the penalty before and after, under that of the weights."""
    problem = case.problem()
    seeds = [seed for seed in SEEDS for _ in strengths]
    start = stacked.new_networks(seeds, inputs=problem.inputs, hidden=case.hidden, outputs=problem.outputs)
    end = loop.train(
        start,
        {seed: loop.Examples(*problem.training_set(seed)) for seed in SEEDS},
        seeds=seeds,
        regulariser=regularisers.resolvent_per_hop,
        strengths=[*strengths] * len(SEEDS),
        updates=UPDATES,
        batch=BATCH,
        learning_rate=5e-3,
    )
    test = loop.Examples(*problem.test_set())
    losses = (loop.test_error(networks, test) for networks in (start, end))
    penalties = (regularisers.resolvent_per_hop(networks, problem.steps).double() for networks in (start, end))
    return torch.stack([*losses, *penalties], -1).unflatten(0, (len(SEEDS), -1)).mean(0)


def _one_by_one(case: Case, strengths: Sequence[float]) -> Iterator[tuple[float, float, float, float]]:
    """The same of each strength, under the penalty of the network as it ran."""
    problem = case.problem()
    test, training = loop.Examples(*problem.test_set()), loop.Examples(*problem.training_set(SEEDS[0]))
    for beta in strengths:
        torch.manual_seed(SEEDS[0])
        network = Trained(case.kind, problem.inputs, case.hidden, problem.outputs)
        penalty = rrnn_ext.ResolventPenalty(network.rnn, network.readout, hops=problem.steps, per_hop=True)
        before, first = _measured(network, penalty, test)
        optimiser = torch.optim.Adam(network.parameters(), 3e-3, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, UPDATES)
        order = torch.Generator().manual_seed(SEEDS[0])
        for _ in range(UPDATES):
            chosen = torch.randint(len(training.targets), (BATCH,), generator=order)
            x = training.sequences[chosen]
            out, _ = network.rnn(x)
            loss = loop.loss(network.readout(out[:, -1])[None], training.targets[chosen])[0]
            if beta:
                loss = loss + beta * penalty(x, out)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        after, last = _measured(network, penalty, test)
        yield before, after, first, last


@torch.no_grad()
def _measured(network: Trained, penalty: rrnn_ext.ResolventPenalty, test: loop.Examples) -> tuple[float, float]:
    """The loss, and the penalty of some sequences."""
    x = test.sequences[:READ]
    out, _ = network.rnn(x)
    return loop.loss(network(test.sequences)[None], test.targets).item(), penalty(x, out).item()


def by_hidden(outcomes: Sequence[Outcome]) -> str:
    """β at which the loss doubles, and its share, by units."""
    rows = []
    for kind, task in dict.fromkeys((each.case.kind, each.case.task) for each in outcomes):
        row = [each for each in outcomes if (each.case.kind, each.case.task) == (kind, task)]
        cells = (f"{each.doubled():.4f} ({each.share(each.doubled()):.2f})" for each in row)
        rows.append([f"{kind}, {task}", *cells])
    return as_table(["β (share) at which the loss doubles", *(f"n = {hidden}" for hidden in HIDDEN)], rows)


def by_task(outcomes: Sequence[Outcome]) -> str:
    """The same by the sizes of a task."""
    rows = []
    for each in outcomes:
        problem = each.case.problem()
        sizes = (str(size) for size in (problem.inputs, problem.outputs, problem.steps))
        rows.append([*sizes, f"{each.doubled():.4f}", f"{each.share(each.doubled()):.2f}"])
    return as_table(["inputs", "outputs", "steps", "β at which the loss doubles", "its share"], rows)


def by_measure(outcomes: Sequence[Outcome]) -> str:
    """How far apart the strengths at which the loss doubles are, in several units."""
    units: dict[str, Callable[[Outcome, problems.Problem], float]] = {
        "β": lambda it, task: 1.0,
        "β · outputs": lambda it, task: task.outputs,
        "β · outputs · inputs": lambda it, task: task.outputs * task.inputs,
        "β · outputs · inputs · lags": lambda it, task: task.outputs * task.inputs * task.steps,
        "β · penalty of the first weights / loss of knowing nothing": lambda it, task: it.first / it.knowing_nothing,
        "share: β · penalty of the trained network / loss of knowing nothing": lambda it, task: it.share(1.0),
    }
    rows = []
    for name, unit in units.items():
        values = [each.doubled() * unit(each, each.case.problem()) for each in outcomes]
        rows.append([name, f"{min(values):.3g} to {max(values):.3g}", f"{max(values) / min(values):.1f}"])
    return as_table(["unit", "where the loss doubles", "largest by smallest"], rows)


def by_share(outcomes: Sequence[Outcome]) -> str:
    """What a strength costs, by its share."""
    rows = []
    for low, high in BANDS:
        costs = sorted(cost for each in outcomes for beta, cost in each.costs.items() if low <= each.share(beta) < high)
        middle = costs[len(costs) // 2]
        rows.append([f"{low} to {high}", str(len(costs)), f"{middle:.2f}", f"{costs[0]:.2f} to {costs[-1]:.2f}"])
    return as_table(["share", "networks", "loss, median", "loss, range"], rows)


def main() -> None:
    with single_threads():
        hidden, tasks = (list(map(outcome, cases)) for cases in (BY_HIDDEN, BY_TASK))
    everything = list({each.case: each for each in (*hidden, *tasks)}.values())
    print(*(by_hidden(hidden), by_task(tasks), by_measure(everything), by_share(everything)), sep="\n\n")


if __name__ == "__main__":
    main()
