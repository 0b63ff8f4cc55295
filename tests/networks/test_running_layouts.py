"""A batch in any layout is the same batch: padded, packed, time first, a single sequence; and what is no batch."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

import rrnn_ext

INPUTS, UNITS, OUTPUTS, STEPS, COUNT = 3, 4, 2, 6, 5
LENGTHS = torch.tensor([6, 4, 4, 2, 1])
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


def network(kind: type[nn.RNNBase], **options: Any) -> tuple[Any, nn.Linear]:
    torch.manual_seed(0)
    make: Any = kind
    rnn = make(INPUTS, UNITS, dtype=torch.float64, **options)
    return rnn, nn.Linear(UNITS * (2 if rnn.bidirectional else 1), OUTPUTS, dtype=torch.float64)


def sequences() -> Tensor:
    return torch.randn(COUNT, STEPS, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("step", [-1, "every"])
def test_sequences_of_different_lengths(kind: type[nn.RNNBase], options: dict[str, Any], step: Any) -> None:
    """Padded or packed, the value is the mean of those of the sequences alone; junk in the padding has no part."""
    rnn, readout = network(kind, batch_first=True, **options)
    x = sequences()
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains=COUNT)
    alone = [x[at : at + 1, :length] for at, length in enumerate(LENGTHS)]
    expected = torch.stack([penalty(own, rnn(own)[0], readout_step=step) for own in alone]).mean()
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True)
    packed_out, _ = rnn(packed)
    torch.testing.assert_close(penalty(packed, packed_out, readout_step=step), expected, **CLOSE)
    padded_out = pad_sequence([rnn(own)[0][0] for own in alone], batch_first=True, padding_value=3.0)
    torch.testing.assert_close(penalty(x, padded_out, lengths=LENGTHS, readout_step=step), expected, **CLOSE)
    shuffled = torch.tensor([3, 0, 4, 2, 1])
    packed = pack_padded_sequence(x[shuffled], LENGTHS[shuffled], batch_first=True, enforce_sorted=False)
    torch.testing.assert_close(penalty(packed, rnn(packed)[0], readout_step=step), expected, **CLOSE)


def test_the_mean_at_a_lag_is_that_of_the_sequences_that_have_it() -> None:
    rnn, readout = network(nn.RNN, batch_first=True)
    x = sequences()
    outs = [rnn(x[at : at + 1, :length])[0][0] for at, length in enumerate(LENGTHS)]
    out = pad_sequence(outs, batch_first=True)
    reading, expected = readout.weight, []
    for lag in range(STEPS):
        own = [1 - states[-1 - lag].square() for states in outs if len(states) > lag]
        slopes = torch.stack(own).mean(0)
        expected.append(reading * slopes @ rnn.weight_ih_l0)
        reading = reading * slopes @ rnn.weight_hh_l0
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains="mean")
    torch.testing.assert_close(penalty.hop_decomposition(x, out, lengths=LENGTHS), torch.stack(expected), **CLOSE)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_layouts(kind: type[nn.RNNBase]) -> None:
    rnn, readout = network(kind)
    x = sequences().transpose(0, 1)
    out, _ = rnn(x)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS)
    value = penalty(x, out)
    torch.testing.assert_close(penalty(x.transpose(0, 1), out.transpose(0, 1), batch_first=True), value, **CLOSE)
    torch.testing.assert_close(penalty(x, out, readout_step=STEPS - 1), value, **CLOSE)
    torch.testing.assert_close(penalty(x, out, readout_step=2), penalty(x[:3], out[:3]), **CLOSE)
    torch.testing.assert_close(penalty(x, out, readout_step=-4), penalty(x[:3], out[:3]), **CLOSE)
    single, (own, _) = x[:, 0], rnn(x[:, 0])
    torch.testing.assert_close(penalty(single, own), penalty(x[:, :1], out[:, :1]), **CLOSE)
    hx = torch.randn(1, UNITS, dtype=torch.float64)
    given: Any = (hx, hx) if kind is nn.LSTM else hx
    batched: Any = (hx[None], hx[None]) if kind is nn.LSTM else hx[None]
    own, _ = rnn(single, given)
    torch.testing.assert_close(penalty(single, own, hx=given), penalty(x[:, :1], own[:, None], hx=batched), **CLOSE)
    assert penalty(single, own, hx=given) != penalty(single, own)


def test_a_lag_beyond_the_first_step_has_no_walks() -> None:
    rnn, readout = network(nn.GRU)
    x = sequences().transpose(0, 1)
    out, _ = rnn(x)
    walks = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS + 2).hop_decomposition(x, out)
    assert walks.shape == (STEPS + 2, OUTPUTS, INPUTS)
    assert walks[STEPS:].abs().max() == 0
    assert walks[:STEPS].abs().amin((1, 2)).min() > 0
    every = rrnn_ext.ResolventPenalty(rnn, readout, hops=None)
    torch.testing.assert_close(every.hop_decomposition(x, out), walks[:STEPS], **CLOSE)


def test_some_sequences_are_evenly_spaced() -> None:
    rnn, readout = network(nn.RNN, batch_first=True)
    x = sequences()
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains=2)
    torch.testing.assert_close(penalty(x, rnn(x)[0]), penalty(x[[0, 2]], rnn(x[[0, 2]])[0]), **CLOSE)


def test_half_precision_and_autocast_compute_in_float32() -> None:
    rnn, readout = network(nn.GRU, batch_first=True)
    rnn, readout = rnn.bfloat16(), readout.bfloat16()
    x = sequences().bfloat16()
    out, _ = rnn(x)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS)
    value = penalty(x, out)
    assert value.dtype is torch.bfloat16
    wide, reading = rnn.float(), readout.float()
    expected = rrnn_ext.ResolventPenalty(wide, reading, hops=STEPS)(x.float(), out.float())
    torch.testing.assert_close(value, expected.bfloat16(), rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = rrnn_ext.ResolventPenalty(wide, reading, hops=STEPS)(x.float(), out.float())
    torch.testing.assert_close(again, expected, rtol=0, atol=0)


def refusals() -> dict[str, tuple[dict[str, Any], str]]:
    x, out = torch.zeros(STEPS, COUNT, INPUTS).double(), torch.zeros(STEPS, COUNT, UNITS).double()
    return {
        "x alone": ({"x": x}, "x and out must be given together, got x alone"),
        "steps": ({"x": x, "out": out[1:]}, "x and out must be (steps, count, .) with the same steps and sequences"),
        "features": ({"x": out, "out": out}, "x must have 3 features to match GRU, got (5, 6, 4)"),
        "states": ({"x": x, "out": x}, "out must have 4 features to match GRU, got (5, 6, 3)"),
        "step": ({"x": x, "out": out, "readout_step": STEPS}, "readout_step must be 'every' or from -6 to 5, got 6"),
        "lengths": ({"x": x, "out": out, "lengths": [1]}, "lengths must be a tensor (5,) of ints"),
        "too long": (
            {"x": x, "out": out, "lengths": torch.full((COUNT,), STEPS + 1)},
            "lengths must be from 1 to the 6 steps, got [7, 7, 7, 7, 7]",
        ),
        "from the start": (
            {"x": x, "out": out, "lengths": torch.full((COUNT,), STEPS), "readout_step": 2},
            "readout_step must count from the end",
        ),
        "too short": (
            {"x": x, "out": out, "lengths": torch.tensor([6, 2, 6, 3, 6]), "readout_step": -3},
            "readout_step must be from -2 to -1, in the shortest sequence, got -3",
        ),
        "layers": ({"x": x, "out": out, "hx": out[:3]}, "hx must be (1, 5, 4) to match GRU and x, got (3, 5, 4)"),
        "width": ({"x": x, "out": out, "hx": x[:1]}, "hx must be (1, 5, 4) to match GRU and x, got (1, 5, 3)"),
        "pair": ({"x": x, "out": out, "hx": (out[:1], out[:1])}, "hx must be a tensor to match GRU, got 2"),
        "array": (
            {"x": x, "out": out, "hx": out[:1].numpy()},
            "hx must be a tensor or a tuple of tensors, got ndarray",
        ),
        "both returned": (
            {"x": x, "out": (out, out[-1:])},
            "out must be a tensor or a PackedSequence, got tuple; a recurrent module returns its outputs and its state",
        ),
        "ints": ({"x": x, "out": out.long()}, "out must be of a floating-point dtype, got torch.int64"),
        "nothing": ({"x": x[:0], "out": out[:0]}, "x must have a sequence and a step"),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_is_no_batch_is_refused(name: str) -> None:
    given, message = refusals()[name]
    rnn, readout = network(nn.GRU)
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(message)):
        rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS)(**given)


def test_the_state_of_an_lstm_has_two_parts() -> None:
    rnn, readout = network(nn.LSTM)
    x = torch.zeros(STEPS, COUNT, INPUTS).double()
    out, (h, c) = rnn(x)
    penalty = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS)
    with pytest.raises(ValueError, match="hx must be a tuple of 2 tensors to match LSTM, got 1"):
        penalty(x, out, hx=h)
    with pytest.raises(ValueError, match=re.escape("hx[1] must be (1, 5, 4) to match LSTM and x, got (1, 4, 4)")):
        penalty(x, out, hx=(h, c[:, 1:]))


def test_a_step_of_a_cell_is_no_sequence() -> None:
    """(count, i), which the cell was given, would else be one sequence of as many steps."""
    cell = nn.GRUCell(INPUTS, UNITS)
    x = torch.zeros(COUNT, INPUTS)
    penalty = rrnn_ext.ResolventPenalty(cell, hops=STEPS)
    with pytest.raises(ValueError, match=re.escape("x must be (steps, count, i) to match GRUCell")):
        penalty(x, cell(x))
    penalty(x.unsqueeze(0), cell(x).unsqueeze(0))


def test_numbers_of_numpy_are_numbers() -> None:
    rnn, readout = network(nn.GRU)
    x = sequences().transpose(0, 1)
    out, _ = rnn(x)
    found = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains=np.int64(2))(x, out, readout_step=np.int64(-2))  # type: ignore[arg-type]
    wanted = rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains=2)(x, out, readout_step=-2)
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=0.0)


def test_options_that_no_run_has() -> None:
    rnn, readout = network(nn.GRU)
    x = torch.zeros(STEPS, COUNT, INPUTS).double()
    out, _ = rnn(x)
    with pytest.raises(ValueError, match="method must be 'auto' or 'series' for a network"):
        rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, method="inverse")(x, out)
    for gains in (0, True, "most", 1.5):
        with pytest.raises(ValueError, match="gains must be 'mean' or a number of sequences, at least 1"):
            rrnn_ext.ResolventPenalty(rnn, readout, hops=STEPS, gains=gains)  # type: ignore[arg-type]
