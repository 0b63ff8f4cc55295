"""What a layer did at each step: its step Jacobian, as vectors that scale the rows of its weights.

A step takes the state of one step to that of the next, ``dh' = k dh + d (W dh) + u (U dx)``: a carry k, gains d of the
rows of the recurrent weights and gains u of those of the input weights, summed over the gates. The state of an LSTM has
two parts, h and c, and W reads h.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Vectors(NamedTuple):
    """Of each sequence at each of its steps; the last dimensions are (parts, rows) for gains and (parts after the step,
    parts before it, n) for carries. Where input_gains are None they are the gains, where carries are None zeros."""

    gains: Tensor
    input_gains: Tensor | None
    carries: Tensor | None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Vectors:
        return Vectors(
            change(self.gains),
            None if self.input_gains is None else change(self.input_gains),
            None if self.carries is None else change(self.carries),
        )


def before_each(states: Tensor, initial: Tensor | None) -> Tensor:
    """The state that each step began with; zeros at first unless it is given, (count, h)."""
    first = torch.zeros_like(states[:, :1]) if initial is None else initial.unsqueeze(1)
    return torch.cat([first, states[:, :-1]], 1)


def rnn_steps(
    states: Tensor,
    initial: Tensor | None,
    nonlinearity: str,
    leak: Tensor | float | None,
    rounding: float,
) -> Vectors:
    """dh' = (1 - leak) dh + leak f' (W dh + U dx); f' is 1 - f^2 of tanh, and whether f > 0 of relu.

    ``rounding`` is the eps of the dtype in which the states were computed.
    """
    returned, noise = states, None
    if leak is not None:
        before = before_each(states, initial)
        returned = (states - (1 - leak) * before) / leak
        # Where f is zero the difference is what rounding made of it, for which a few eps are ample.
        noise = (4 * rounding / leak) * before.detach().abs()
    if nonlinearity == "tanh":
        slopes = torch.addcmul(states.new_ones(()), returned, returned, value=-1)  # one pass over all states
    else:
        on = returned > (0.0 if noise is None else noise)
        slopes = torch.where(returned.isnan(), returned, on.to(states.dtype))
    if leak is None:
        return Vectors(slopes.unsqueeze(-2), None, None)
    gains = (leak * slopes).unsqueeze(-2)
    carries = (1 - leak) * torch.ones_like(slopes)
    return Vectors(gains, None, carries.unsqueeze(-2).unsqueeze(-2))


def _tanh(values: Tensor) -> Tensor:
    """By the sigmoid: PyTorch's own takes eight times as long on a CPU. The digits that are lost where it is small do
    not matter to gains, which have 1 - tanh^2 of it and differences from states."""
    return 2 * torch.sigmoid(2 * values) - 1


def gru_steps(of_inputs: Tensor, of_states: Tensor, before: Tensor) -> Vectors:
    """dh' = z dh + (1 - z) (1 - n^2) (r W_n dh + U_n dx) + c_r (W_r dh + U_r dx) + c_z (W_z dh + U_z dx).

    ``of_inputs`` and ``of_states`` are what the inputs and the states ``before`` bring to the rows of the weights.
    """
    units = before.shape[-1]
    in_n, re_n = of_inputs[..., 2 * units :], of_states[..., 2 * units :]
    r, z = torch.sigmoid(of_inputs[..., : 2 * units] + of_states[..., : 2 * units]).chunk(2, -1)
    n = _tanh(in_n + r * re_n)
    new = (1 - z) * (1 - n.square())
    reset = new * re_n * r * (1 - r)
    update = (before - n) * z * (1 - z)
    gains = torch.cat([reset, update, new * r], -1).unsqueeze(-2)
    input_gains = torch.cat([reset, update, new], -1).unsqueeze(-2)
    return Vectors(gains, input_gains, z.unsqueeze(-2).unsqueeze(-2))


def lstm_steps(sums: Tensor, initial: Tensor | None) -> Vectors:
    """dc' = f dc + sum of c_gate (W_gate dh + U_gate dx) over i, f and g; dh' = o (1 - tanh^2 c') dc' + c_o (...).

    The c are made anew, step by step, from the gates: the module's output has none.
    """
    i, f, g, o = sums.chunk(4, -1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), _tanh(g), torch.sigmoid(o)
    entering = i * g
    cells = [torch.zeros_like(entering[:, 0]) if initial is None else initial]
    for step in range(sums.shape[1]):
        cells.append(f[:, step] * cells[-1] + entering[:, step])
    before, after = torch.stack(cells[:-1], 1), _tanh(torch.stack(cells[1:], 1))
    shown = o * (1 - after.square())  # dh' by dc'
    to_c = g * i * (1 - i), before * f * (1 - f), i * (1 - g.square())
    zeros = torch.zeros_like(o)
    to_h = *(shown * each for each in to_c), after * o * (1 - o)
    gains = torch.stack([torch.cat(to_h, -1), torch.cat([*to_c, zeros], -1)], -2)
    carries = torch.stack([zeros, shown * f, zeros, f], -2).unflatten(-2, (2, 2))
    return Vectors(gains, None, carries)
