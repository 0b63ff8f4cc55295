"""What is no number: in a sequence it makes the penalty none, and beyond the end of one it takes no part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rrnn_ext

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
    "stacked relu": (nn.RNN, {"nonlinearity": "relu", "num_layers": 2}),
    "both directions": (nn.LSTM, {"bidirectional": True, "num_layers": 2}),
}


def network(name: str) -> tuple[Any, nn.Linear]:
    torch.manual_seed(0)
    kind, options = KINDS[name]
    rnn = kind(3, 5, batch_first=True, dtype=torch.float64, **options)
    return rnn, nn.Linear(10 if rnn.bidirectional else 5, 2, dtype=torch.float64)


@pytest.mark.parametrize("gains", [2, "mean"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", KINDS)
def test_an_input_that_is_no_number(name: str, value: float, gains: Any) -> None:
    """As autograd finds it: infinity alone is what saturated units may have seen."""
    rnn, readout = network(name)
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    x[1, 2, 0] = value
    out, _ = rnn(x)
    found = rrnn_ext.ResolventPenalty(rnn, readout, hops=6, gains=gains)(x, out)
    assert found.isfinite() == bool(out.isfinite().all())


@pytest.mark.parametrize("filling", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", KINDS)
def test_padding_that_is_no_number(name: str, filling: float) -> None:
    """The value and all gradients are those of the packed sequences, which have no padding."""
    rnn, readout = network(name)
    lengths = torch.tensor([6, 2, 4])
    x = torch.randn(3, 6, 3, dtype=torch.float64)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=6, gains=3, detach_gains=False)

    def gradients(value: Tensor) -> list[Tensor]:
        weights = [*rnn.parameters(), readout.weight]
        return [value, *torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)]

    expected = gradients(penalty(packed, rnn(packed)[0]))
    out, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, padding_value=filling)
    filled = x.masked_fill((torch.arange(6) >= lengths.unsqueeze(1)).unsqueeze(-1), filling)
    for own, wanted in zip(gradients(penalty(filled, out, lengths=lengths)), expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-12, atol=1e-13)
