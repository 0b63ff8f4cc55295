"""``python -m benchmarks.running``: what the penalty of a network that runs costs, beside that of its weights.

Value and gradient, n = 256, i = 16, o = 8, 20 steps, a batch of 64, one thread, in turn, and how many times as long as
the penalty of the weights they take. The peer is what a user would write: Jacobians by ``torch.func.jacrev`` through
the network, of the same sequences, or their mean over the batch. It has gradients through the gains, and of sequences
its value and gradients are compared with ours first.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import rrnn_ext
from benchmarks.device import DEVICE
from benchmarks.tables import as_table, as_time

UNITS, INPUTS, OUTPUTS, STEPS, COUNT, SEQUENCES = 256, 16, 8, 20, 64, 4
SOME = f"{SEQUENCES} sequences"
BUDGET_S = 4.0  # of the rounds of a cell


class Setting:
    """A cell with a read-out, and the batch that it ran on."""

    def __init__(
        self, kind: type[nn.RNNBase], *, units: int = UNITS, count: int = COUNT, device: torch.device = DEVICE
    ) -> None:
        torch.manual_seed(0)
        make: Any = kind
        self.rnn = make(INPUTS, units, batch_first=True).to(device)
        self.readout = nn.Linear(units, OUTPUTS).to(device)
        self.x = torch.randn(count, STEPS, INPUTS).to(device)
        with torch.no_grad():
            self.out, _ = self.rnn(self.x)
        self.weights = [*self.rnn.parameters(), self.readout.weight]

    def of_weights(self) -> Callable[[], Tensor]:
        return rrnn_ext.ResolventPenalty(self.rnn, self.readout, hops=STEPS)

    def as_it_ran(self, **options: Any) -> Callable[[], Tensor]:
        penalty = rrnn_ext.ResolventPenalty(self.rnn, self.readout, hops=STEPS, **options)
        return lambda: penalty(self.x, self.out)

    def of_sequences(self) -> Tensor:
        """The mean over the sequences of ||sum_m dy_T / dx_{T-m}||_1."""
        x = self.x[:: len(self.x) // SEQUENCES]
        return self._jacobians(x).sum(2).abs().sum() / len(x)

    def of_mean(self) -> Tensor:
        """That of the mean over the batch."""
        return self._jacobians(self.x).mean(1).sum(1).abs().sum()

    def _jacobians(self, x: Tensor) -> Tensor:
        """(o, k, T, i)"""
        found: Tensor = torch.func.jacrev(lambda x: self.readout(self.rnn(x)[0][:, -1]).sum(0))(x)
        return found

    def step(self, value: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            for weight in self.weights:
                weight.grad = None
            value().backward()

        return run

    def check(self) -> None:
        """That the peer computes what we do."""
        out, _ = self.rnn(self.x)
        penalty = rrnn_ext.ResolventPenalty(self.rnn, self.readout, hops=STEPS, detach_gains=False)
        for found, wanted in zip(
            self._with_gradients(penalty(self.x, out)), self._with_gradients(self.of_sequences()), strict=True
        ):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))

    def _with_gradients(self, value: Tensor) -> list[Tensor]:
        gradients = torch.autograd.grad(value, self.weights, allow_unused=True, materialize_grads=True)
        return [value.detach(), *gradients]


def fastest(contenders: Mapping[str, Callable[[], None]], budget_s: float) -> dict[str, float]:
    """Seconds of the fastest call of each, one call of each in a round."""
    times = dict.fromkeys(contenders, float("inf"))
    for step in contenders.values():
        step()
    gc.disable()
    begin = time.perf_counter()
    while time.perf_counter() - begin < budget_s:
        for name, step in contenders.items():
            start = time.perf_counter()
            step()
            times[name] = min(times[name], time.perf_counter() - start)
    gc.enable()
    return times


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        setting = Setting(kind)
        setting.check()
        ours = {
            "penalty()": setting.of_weights(),
            "one sequence": setting.as_it_ran(gains=1),
            "mean": setting.as_it_ran(gains="mean"),
            SOME: setting.as_it_ran(gains=SEQUENCES),
        }
        times = fastest({name: setting.step(value) for name, value in ours.items()}, BUDGET_S)
        peers = {"mean": setting.of_mean, SOME: setting.of_sequences}
        slow = fastest({name: setting.step(value) for name, value in peers.items()}, BUDGET_S)
        base = times.pop("penalty()")
        cells = [f"{as_time(own)} ({own / base:.2f})" for own in times.values()]
        cells += [f"{as_time(own)} ({own / times[name]:.0f} times ours)" for name, own in slow.items()]
        rows.append((f"`nn.{kind.__name__}`", as_time(base), *cells))
    print(as_table(("", *ours, *(f"{name} by jacrev" for name in peers)), rows))


if __name__ == "__main__":
    main()
