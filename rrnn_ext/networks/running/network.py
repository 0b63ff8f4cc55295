"""From a module and the batch that it ran on to the walks of the network that ran."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rrnn_ext._modes import has_values
from rrnn_ext.networks.constants import Constant
from rrnn_ext.networks.leaks import in_layer, rows_of
from rrnn_ext.networks.readers import Layer, LayerRun, Reader
from rrnn_ext.networks.running.sequences import Batch, Sequences, State, batch_of, mean_over_sequences, reverse
from rrnn_ext.networks.running.steps import Vectors
from rrnn_ext.networks.running.walks import DrivenLayer, Edges, Walks, driven_walks
from rrnn_ext.ops._matrices import phi

_SEQUENCES = 4  # of a batch, where nothing is said


class Run(NamedTuple):
    """What ``penalty(x, out)`` was given."""

    inputs: Sequences | None
    outputs: Sequences | None
    lengths: Tensor | None
    initial: State
    batch_first: bool | None
    readout_step: int | Literal["every"]


def walks_of_run(
    reader: Reader,
    layers: Sequence[Sequence[Layer]],
    weight_out: Tensor | None,
    run: Run,
    *,
    alpha: float | Tensor,
    rectify: bool,
    leak: float | Tensor | Constant | None,
    gains: int | Literal["mean"] | None,
    detached: bool,
) -> list[Walks]:
    """P (steps, k, o, i) by lag, of each choice of directions.

    Args:
        reader, layers, weight_out: the module, its weights, and (o, directions x size) or None, the identity.
        run: of the module.
        alpha: of each edge.
        rectify: absolute values of weights, gains and carries.
        leak: of each layer and unit.
        gains: "mean", of the mean over the batch, k = 1; or of k sequences each on its own.
        detached: whether gains are constants, to which no gradient flows.
    """
    like = layers[0][0].recurrent
    dtype = torch.promote_types(like.dtype, torch.float32)
    batch = _batch(reader, layers[0][0], run)
    rows = None if leak is None else rows_of(leak, like, (reader.layers, reader.size))
    readout_lag = _readout_lag(run.readout_step, batch)
    mean = gains == "mean"
    rounding = max(torch.finfo(each).eps for each in (like.dtype, batch.outputs.dtype))
    batch = (batch if gains == "mean" else batch.some(_SEQUENCES if gains is None else gains)).in_dtype(dtype)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detached):
        vectors = _vectors(reader, layers, batch, rows, rounding, mean=mean)
    if rectify:
        vectors = [[each.mapped(torch.abs) for each in directions] for directions in vectors]
    edges = Edges(alpha, rectify)
    driven = [
        [_driven(layer, own, edges, dtype) for layer, own in zip(directions, of_layer, strict=True)]
        for directions, of_layer in zip(layers, vectors, strict=True)
    ]
    if weight_out is None:
        readout = torch.eye(reader.size * reader.directions, dtype=dtype, device=like.device)
    else:
        readout = edges.of(weight_out.to(dtype))
    readouts = [reader.columns_of(readout, direction) for direction in range(reader.directions)]
    having = None
    if batch.lengths is not None and not mean:
        having = batch.lengths - torch.arange(batch.inputs.shape[1], device=like.device).unsqueeze(1)
    ends = 1 if weight_out is None else 2
    return driven_walks(driven, readouts, edges=edges, ends=ends, readout_lag=readout_lag, having=having)


def _batch(reader: Reader, first: Layer, run: Run) -> Batch:
    assert run.inputs is not None  # or nobody would have asked
    assert run.outputs is not None
    kind = type(reader.module).__name__
    batch_first, of_cell = run.batch_first, isinstance(reader.module, nn.RNNCellBase)
    if of_cell and isinstance(run.inputs, Tensor) and run.inputs.dim() == 2:
        raise ValueError(
            f"x must be (steps, count, i) to match {kind}, as one step of a batch looks like one sequence, "
            f"got {tuple(run.inputs.shape)}"
        )
    if batch_first is None:  # the steps of PyTorch's cells are stacked
        batch_first = False if of_cell else getattr(reader.module, "batch_first", None)
    if batch_first is None:
        if isinstance(run.inputs, Tensor) and run.inputs.dim() == 3:
            raise ValueError(
                f"batch_first must be True, x being (count, steps, .), or False, (steps, count, .), "
                f"as {kind} has no attribute batch_first that says so, got None"
            )
        batch_first = False  # of one sequence, or of packed ones, it says nothing
    batch = batch_of(run.inputs, run.outputs, batch_first=batch_first, lengths=run.lengths, initial=run.initial)
    count = len(batch.inputs)
    for name, values in (("x", batch.inputs), ("out", batch.outputs)):
        if values.is_complex() or (name == "out" and not values.is_floating_point()):
            raise TypeError(f"{name} must be of a floating-point dtype, got {values.dtype}")
    for name, values, wanted in (
        ("x", batch.inputs, first.incoming.shape[-1]),
        ("out", batch.outputs, reader.size * reader.directions),
    ):
        if values.shape[-1] != wanted:
            raise ValueError(f"{name} must have {wanted} features to match {kind}, got {tuple(values.shape)}")
        if values.device != first.incoming.device:
            raise ValueError(f"{name} must be on {first.incoming.device} like the weights, got {values.device}")
    if batch.initial is not None:
        _check_initial(reader, batch.initial, count)
    return batch


def _check_initial(reader: Reader, initial: Sequence[Tensor], count: int) -> None:
    kind, sizes, layers = type(reader.module).__name__, reader.state_sizes, reader.layers * reader.directions
    if sizes is not None and len(sizes) != len(initial):
        wanted = "a tensor" if len(sizes) == 1 else f"a tuple of {len(sizes)} tensors"
        raise ValueError(f"hx must be {wanted} to match {kind}, got {len(initial)}")
    for at, state in enumerate(initial):
        size = state.shape[-1] if sizes is None else sizes[at]
        if state.shape != (layers, count, size):
            part = "hx" if len(initial) == 1 else f"hx[{at}]"
            shown = "n" if sizes is None else size
            raise ValueError(
                f"{part} must be ({layers}, {count}, {shown}) to match {kind} and x, got {tuple(state.shape)}"
            )


def _readout_lag(step: int | Literal["every"], batch: Batch) -> int | None:
    """How many steps before the end; None for every step."""
    steps, lengths = batch.inputs.shape[1], batch.lengths
    if step == "every":
        return None
    if isinstance(step, (bool, Tensor)) or not hasattr(step, "__index__") or not -steps <= step < steps:
        raise ValueError(f"readout_step must be 'every' or from {-steps} to {steps - 1}, got {step!r}")
    step = operator.index(step)
    if lengths is not None and step >= 0:
        raise ValueError(f"readout_step must count from the end, below 0, where lengths differ, got {step}")
    if lengths is not None and step < -1 and has_values(lengths) and step < -int(lengths.min()):
        raise ValueError(f"readout_step must be from {-int(lengths.min())} to -1, in the shortest sequence, got {step}")
    return -1 - step if step < 0 else steps - 1 - step


def _vectors(
    reader: Reader,
    layers: Sequence[Sequence[Layer]],
    batch: Batch,
    leak: float | Tensor | None,
    rounding: float,
    *,
    mean: bool,
) -> list[list[Vectors]]:
    """By layer and direction, each (steps, k, ...) by lag. ``rounding``: of the states that the last layer returned."""
    inputs, found = batch.inputs, []
    for at, directions in enumerate(layers):
        is_last = at == reader.layers - 1
        own_leak = None if leak is None else in_layer(leak, at)
        own_leak = own_leak.squeeze(-1) if isinstance(own_leak, Tensor) and own_leak.dim() > 0 else own_leak
        states_of_layer, of_layer = [], []
        for direction, layer in enumerate(directions):
            initial = _initial(batch, at * reader.directions + direction)
            # A direction is looked at in the order in which it runs.
            own_inputs = reverse(inputs, batch.lengths) if direction else inputs
            own_rounding = rounding if is_last else torch.finfo(inputs.dtype).eps
            run = LayerRun(at, direction, layer, own_inputs, initial, own_leak, own_rounding)
            if is_last:
                states = reader.columns_of(batch.outputs, direction)
                states = reverse(states, batch.lengths) if direction else states
            else:  # the module does not say what its lower layers did
                states = reader.states(run)
            vectors = reader.steps(run, states)
            of_layer.append(vectors.mapped(partial(_by_lag, direction=direction, lengths=batch.lengths, mean=mean)))
            states_of_layer.append(reverse(states, batch.lengths) if direction else states)
        found.append(of_layer)
        if not is_last:
            inputs = torch.cat(states_of_layer, -1)
    return found


def _by_lag(values: Tensor, direction: int, lengths: Tensor | None, mean: bool) -> Tensor:
    """(steps, k, ...), lag 0 first, of values in the order in which a direction ran, (count, steps, ...)."""
    if lengths is not None:  # the one or the other has zeros beyond the beginning
        values = reverse(values, lengths)
        values = reverse(values, lengths) if direction else values
        return mean_over_sequences(values, lengths).unsqueeze(1) if mean else values.transpose(0, 1)
    values = values.mean(0).unsqueeze(1) if mean else values.transpose(0, 1)
    return values if direction else values.flip(0)


def _initial(batch: Batch, at: int) -> tuple[Tensor, ...] | None:
    return None if batch.initial is None else tuple(each[at].to(batch.inputs) for each in batch.initial)


def _driven(layer: Layer, vectors: Vectors, edges: Edges, dtype: torch.dtype) -> DrivenLayer:
    recurrent = phi(layer.recurrent.flatten(0, -2).to(dtype), edges.rectify)
    incoming = edges.of(layer.incoming.flatten(0, -2).to(dtype))
    projection = None if layer.projection is None else edges.whole(layer.projection.to(dtype))
    weight_hh = recurrent if projection is None else recurrent @ projection
    return DrivenLayer(weight_hh, incoming, projection, vectors)
