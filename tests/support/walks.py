"""Walks and impulses the slow way: nothing here shares code with the library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Unit = tuple[int, int, int]  # layer, direction, index; layer -1 are the inputs


def edges_of(rnn: Any, gate: int = 0) -> dict[Unit, list[tuple[Unit, int, float]]]:
    """For each unit its outgoing edges (target, time it takes, weight), within one gate; no projections."""
    n = rnn.hidden_size
    layers, directions = getattr(rnn, "num_layers", 1), 2 if getattr(rnn, "bidirectional", False) else 1
    edges: dict[Unit, list[tuple[Unit, int, float]]] = defaultdict(list)
    for layer in range(layers):
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "") if isinstance(rnn, nn.RNNBase) else ""
            recurrent = getattr(rnn, "weight_hh" + suffix)[gate * n : (gate + 1) * n].tolist()
            incoming = getattr(rnn, "weight_ih" + suffix)[gate * n : (gate + 1) * n].tolist()
            for target in range(n):
                for source in range(n):
                    edges[layer, direction, source].append(((layer, direction, target), 1, recurrent[target][source]))
                for column, weight in enumerate(incoming[target]):
                    source_unit = (layer - 1, column // n, column % n) if layer else (-1, 0, column)
                    edges[source_unit].append(((layer, direction, target), 0, weight))
    return edges


def walk_sums(
    rnn: Any, readout: Tensor | None, lags: int, *, alpha: float, rectify: bool, gate: int = 0
) -> dict[tuple[int, ...], Tensor]:
    """P_0 ... P_{lags-1} (lags, o, i) by walking every walk, for each choice of a direction in every layer."""
    edges = edges_of(rnn, gate)
    last = getattr(rnn, "num_layers", 1) - 1
    n, inputs = rnn.hidden_size, rnn.input_size
    outputs = readout.tolist() if readout is not None else None
    o = len(outputs) if outputs is not None else n
    sums: dict[tuple[int, ...], Tensor] = defaultdict(lambda: torch.zeros(lags, o, inputs, dtype=torch.float64))

    def strength(weight: float) -> float:
        return alpha * (abs(weight) if rectify else weight)

    def walks(
        unit: Unit, lag: int, product: float, route: tuple[int, ...]
    ) -> Iterator[tuple[Unit, int, float, tuple[int, ...]]]:
        if unit[0] == last:
            yield unit, lag, product, route
        for target, time, weight in edges[unit]:
            if lag + time < lags:
                onward = route if target[0] == unit[0] else (*route, target[1])
                yield from walks(target, lag + time, product * strength(weight), onward)

    for source in range(inputs):
        for (_, direction, index), lag, product, route in walks((-1, 0, source), 0, 1.0, ()):
            if outputs is None:
                sums[route][lag, index, source] += product
            else:
                for output in range(o):
                    edge = strength(outputs[output][direction * n + index])
                    sums[route][lag, output, source] += product * edge
    return sums


def impulse_response(
    step: Callable[[list[Tensor], Tensor], list[Tensor]],
    state: list[Tensor],
    inputs: int,
    read: Callable[[list[Tensor]], Tensor],
    lags: int,
) -> Tensor:
    """(lags, o, i): what ``read`` sees after an impulse on each input in turn; ``step(state, x) -> state``."""
    columns = []
    for source in range(inputs):
        now, seen = [torch.zeros_like(part) for part in state], []
        for time in range(lags):
            x = torch.zeros(inputs, dtype=state[0].dtype)
            x[source] = 1.0 if time == 0 else 0.0
            now = step(now, x)
            seen.append(read(now))
        columns.append(torch.stack(seen))
    return torch.stack(columns, dim=-1)
