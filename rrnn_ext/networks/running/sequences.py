"""The batch that a network ran on, whatever its layout: padded, packed, time or batch first, or a single sequence."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rrnn_ext._modes import has_values

Sequences: TypeAlias = Tensor | PackedSequence
State: TypeAlias = Tensor | tuple[Tensor, Tensor] | None


class Batch(NamedTuple):
    """(count, steps, inputs) and (count, steps, outputs); each sequence ends after its length, None: at the last step.
    The initial state has (layers x directions, count, n) tensors, two of them for an LSTM."""

    inputs: Tensor
    outputs: Tensor
    lengths: Tensor | None
    initial: tuple[Tensor, ...] | None

    def some(self, count: int) -> Batch:
        """``count`` of the sequences, evenly spaced: batches may be sorted, by length or by class."""
        total = len(self.inputs)
        if count >= total:
            return self
        chosen: Any = slice(None, None, total // count)  # views, where they do
        if total % count:
            chosen = (torch.arange(count, device=self.inputs.device) * total) // count
        return Batch(
            self.inputs[chosen],
            self.outputs[chosen],
            None if self.lengths is None else self.lengths[chosen],
            None if self.initial is None else tuple(each[:, chosen] for each in self.initial),
        )

    def in_dtype(self, dtype: torch.dtype) -> Batch:
        initial = None if self.initial is None else tuple(each.to(dtype) for each in self.initial)
        return self._replace(inputs=self.inputs.to(dtype), outputs=self.outputs.to(dtype), initial=initial)


def batch_of(
    inputs: Sequences, outputs: Sequences, *, batch_first: bool, lengths: Tensor | None, initial: State
) -> Batch:
    """What a recurrent module was given and what it returned."""
    for name, values in (("x", inputs), ("out", outputs)):
        if not isinstance(values, (Tensor, PackedSequence)):
            hint = "; a recurrent module returns its outputs and its state" if isinstance(values, tuple) else ""
            raise TypeError(f"{name} must be a tensor or a PackedSequence, got {type(values).__name__}{hint}")
    if isinstance(inputs, PackedSequence) != isinstance(outputs, PackedSequence):
        raise TypeError(
            "x and out must both be packed or both be tensors, "
            f"got {type(inputs).__name__} and {type(outputs).__name__}"
        )
    if isinstance(inputs, PackedSequence):
        if lengths is not None:
            raise ValueError("lengths must be None for packed sequences, which have their own")
        inputs, lengths = pad_packed_sequence(inputs, batch_first=True)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True)  # type: ignore[arg-type]
        batch_first = True
    assert isinstance(outputs, Tensor)
    states = None if initial is None else _parts(initial)
    if inputs.dim() == 2 and outputs.dim() == 2:
        inputs, outputs, batch_first = inputs.unsqueeze(0), outputs.unsqueeze(0), True
        states = None if states is None else tuple(each.unsqueeze(-2) for each in states)
    if inputs.dim() != 3 or outputs.dim() != 3 or inputs.shape[:2] != outputs.shape[:2]:
        wanted = "(count, steps, .)" if batch_first else "(steps, count, .)"
        raise ValueError(
            f"x and out must be {wanted} with the same steps and sequences, "
            f"got {tuple(inputs.shape)} and {tuple(outputs.shape)}"
        )
    if not batch_first:
        inputs, outputs = inputs.transpose(0, 1), outputs.transpose(0, 1)
    if 0 in inputs.shape[:2]:
        raise ValueError(f"x must have a sequence and a step, got {tuple(inputs.shape)}")
    if states is not None:
        states = tuple(each.unsqueeze(0) if each.dim() == 2 else each for each in states)
    if lengths is not None:
        lengths = _checked(lengths, inputs)
        # What is beyond the end may be no number, and zero times that would be a gradient.
        within = (torch.arange(inputs.shape[1], device=inputs.device) < lengths.unsqueeze(1)).unsqueeze(-1)
        inputs, outputs = torch.where(within, inputs, 0.0), torch.where(within, outputs, 0.0)
    return Batch(inputs, outputs, lengths, states)


def _parts(initial: object) -> tuple[Tensor, ...]:
    parts = tuple(initial) if isinstance(initial, (tuple, list)) else (initial,)
    for part in parts:
        if not isinstance(part, Tensor):
            raise TypeError(f"hx must be a tensor or a tuple of tensors, got {type(part).__name__}")
    return parts


def _checked(lengths: Tensor, inputs: Tensor) -> Tensor:
    count, steps = inputs.shape[:2]
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.shape != (count,):
        got = f"{tuple(lengths.shape)} of {lengths.dtype}" if isinstance(lengths, Tensor) else type(lengths).__name__
        raise ValueError(f"lengths must be a tensor ({count},) of ints, one for each sequence, got {got}")
    if has_values(lengths) and not bool(((lengths >= 1) & (lengths <= steps)).all()):
        raise ValueError(f"lengths must be from 1 to the {steps} steps, got {lengths.tolist()}")
    return lengths.to(inputs.device)


def reverse(values: Tensor, lengths: Tensor | None) -> Tensor:
    """(count, steps, ...) from each sequence's own end; zeros beyond its beginning. Its own inverse."""
    if lengths is None:
        return values.flip(1)
    steps = torch.arange(values.shape[1], device=values.device)
    at = lengths.unsqueeze(1) - 1 - steps
    shape = (*at.shape, *[1] * (values.dim() - 2))
    taken = values.gather(1, at.clamp(min=0).view(shape).expand_as(values))
    return torch.where((at >= 0).view(shape), taken, 0.0)


def mean_over_sequences(by_lag: Tensor, lengths: Tensor | None) -> Tensor:
    """(steps, ...) of (count, steps, ...): at each lag the mean over the sequences that are as long."""
    if lengths is None:
        return by_lag.mean(0)
    steps = torch.arange(by_lag.shape[1], device=by_lag.device)
    longer = (lengths.unsqueeze(1) > steps).sum(0).clamp(min=1)
    return by_lag.sum(0) / longer.view(-1, *[1] * (by_lag.dim() - 2)).to(by_lag.dtype)
