"""What ResolventPenalty refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from rrnn_ext import ResolventPenalty


def test_unknown_module() -> None:
    with pytest.raises(TypeError, match=r"rnn must be one of nn.RNN, nn.RNNCell, nn.GRU.*got Linear; .*from_weights"):
        ResolventPenalty(nn.Linear(2, 2), hops=2)


@pytest.mark.parametrize(
    ("rnn", "outputs"),
    [(nn.RNN(2, 4), 4), (nn.GRU(2, 4, bidirectional=True), 8), (nn.LSTM(2, 4, proj_size=3), 3)],
    ids=["rnn", "both_ways", "projected"],
)
def test_readout_of_the_wrong_size(rnn: Any, outputs: int) -> None:
    text = rf"readout must be \(o, {outputs}\) to match the {outputs} outputs of \w+, got \(3, 5\)"
    with pytest.raises(ValueError, match=text):
        ResolventPenalty(rnn, nn.Linear(5, 3), hops=2)
    penalty = ResolventPenalty(rnn, lambda: torch.zeros(3, 5), hops=2)
    with pytest.raises(ValueError, match=text):
        penalty()


def test_readout_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match=r"readout must be an nn.Linear, a tensor.*got Sequential"):
        ResolventPenalty(nn.RNN(2, 4), nn.Sequential(nn.Linear(4, 1)), hops=2)
    with pytest.raises(TypeError, match=r"readout must be an nn.Linear, a tensor, a callable .*got int"):
        ResolventPenalty(nn.RNN(2, 4), 3, hops=2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="readout must return a tensor, got int"):
        ResolventPenalty(nn.RNN(2, 4), lambda: 3, hops=2)()  # type: ignore[arg-type]


@pytest.mark.parametrize("layers", [1, 2])
def test_readout_of_another_dtype(layers: int) -> None:
    penalty = ResolventPenalty(nn.RNN(2, 4, layers).bfloat16(), torch.zeros(3, 4, dtype=torch.float32), hops=2)
    with pytest.raises(ValueError, match=r"readout must be torch.bfloat16 on cpu .*got torch.float32 on cpu"):
        penalty()


def test_from_weights() -> None:
    with pytest.raises(TypeError, match=r"weight_out must be a tensor, a callable that returns one, or .*got Linear"):
        ResolventPenalty.from_weights(torch.zeros(2, 2), None, nn.Linear(2, 2), hops=2)
    with pytest.raises(TypeError, match="weight_in must return a tensor, got NoneType"):
        ResolventPenalty.from_weights(torch.zeros(2, 2), lambda: None, hops=2)()
    with pytest.raises(TypeError, match="readout must be given to from_weights as weight_out"):
        ResolventPenalty.from_weights(torch.zeros(2, 2), readout=torch.zeros(1, 2), hops=2)
    with pytest.raises(TypeError, match=r"weight_hh is missing: from_weights\(model, 'cell.W', ...\)"):
        ResolventPenalty.from_weights(nn.RNN(2, 4), hops=2)


@pytest.mark.parametrize("leak", [0.0, 1.5, -0.1, float("nan")])
def test_leak_out_of_range(leak: float) -> None:
    with pytest.raises(ValueError, match=rf"leak must be in \(0, 1\], got {leak}"):
        ResolventPenalty(nn.RNN(2, 4), hops=2, leak=leak)


@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell, nn.LSTM, nn.LSTMCell])
def test_leak_of_a_gated_module(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match=f"leak must be None for a gated module, got leak=0.5 for {kind.__name__}"):
        ResolventPenalty(kind(2, 4), hops=2, leak=0.5)


@pytest.mark.parametrize("name", ["hop_weights", "pair_weights"])
def test_constants_are_tensors(name: str) -> None:
    options: dict[str, Any] = {name: [1.0, 2.0]}
    with pytest.raises(TypeError, match=f"{name} must be a tensor, got list"):
        ResolventPenalty(nn.RNN(2, 4), hops=2, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "l3"},
        {"method": "guess"},
        {"hops": 0},
        {"alpha": -1.0},
        {"per_hop": True, "hops": None},
        {"hop_weights": torch.ones(3)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_the_op_refuses_is_refused_when_the_penalty_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ResolventPenalty(nn.RNN(2, 4), **{"hops": 2, **options})
