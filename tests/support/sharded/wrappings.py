"""Models that are wrapped: by FSDP2 in either way, at every moment of a step, in mixed precision, and over two
dimensions of a mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import rrnn_ext
from rrnn_ext import reference
from support.sharded.functions import close, whole
from support.sharded.ranks import Ranks, case

HOPS, ALPHA, STRENGTH = 4, 0.9, 0.01
MOMENTS = ("before forward", "between forward and backward", "after backward")


Cell = Callable[..., nn.RNNBase]


class Network(nn.Module):
    def __init__(self, cell: Cell = nn.RNN, **options: Any) -> None:
        super().__init__()
        self.rnn = cell(3, 7, batch_first=True, **options)
        self.readout = nn.Linear(7 * (2 if self.rnn.bidirectional else 1), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.rnn(x)[0][:, -1])


def network(cell: Cell = nn.RNN, dtype: torch.dtype = torch.float64, **options: Any) -> Network:
    torch.manual_seed(0)
    return Network(cell, **options).to(dtype)


def batch(ranks: Ranks, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Of all ranks."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2 * ranks.size, HOPS, 3, generator=generator, dtype=dtype)
    return x, torch.randn(2 * ranks.size, 2, generator=generator, dtype=dtype)


def task_loss(model: nn.Module, ranks: Ranks, dtype: torch.dtype = torch.float64) -> Tensor:
    """Of this rank's part of the batch."""
    own = slice(2 * ranks.rank, 2 * ranks.rank + 2)
    x, y = batch(ranks, dtype)
    return (model(x[own]) - y[own]).square().mean()


def by_model(ranks: Ranks, model: Any) -> Any:
    from torch.distributed.fsdp import fully_shard

    return fully_shard(model, mesh=ranks.mesh)


def by_module(ranks: Ranks, model: Any) -> Any:
    from torch.distributed.fsdp import fully_shard

    fully_shard(model.rnn, mesh=ranks.mesh)
    return fully_shard(model, mesh=ranks.mesh)


WRAPPINGS: tuple[Callable[[Ranks, Any], Any], ...] = (by_model, by_module)


def alone(ranks: Ranks, *, with_task: bool = True) -> tuple[Tensor, Network]:
    """The penalty, and the network with the gradients, of one process that has the whole batch."""
    model = network()
    value = reference.resolvent_penalty(
        model.rnn.get_parameter("weight_hh_l0"),
        model.rnn.get_parameter("weight_ih_l0"),
        model.readout.weight,
        hops=HOPS,
        alpha=ALPHA,
    )
    loss = STRENGTH * value
    if with_task:
        x, y = batch(ranks)
        loss = loss + nn.functional.mse_loss(model(x), y)
    loss.backward()
    return value.detach(), model


def same_gradients(model: nn.Module, right: nn.Module) -> None:
    for name, parameter in right.named_parameters():
        if parameter.grad is None:
            assert model.get_parameter(name).grad is None
        else:
            close(model.get_parameter(name).grad, parameter.grad)


def step(ranks: Ranks, model: Any, penalty: Callable[[], Any], moment: str) -> Any:
    """A backward pass of the task, with what ``penalty`` does at a moment; what it returned."""
    found = penalty() if moment == MOMENTS[0] else None
    loss = task_loss(model, ranks)
    found = penalty() if moment == MOMENTS[1] else found
    loss.backward()
    return penalty() if moment == MOMENTS[2] else found


@case
def penalties_with_a_backward_of_their_own(ranks: Ranks) -> None:
    wanted, right = alone(ranks)
    for wrap in WRAPPINGS:
        for moment in MOMENTS:
            model = wrap(ranks, network())
            penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=HOPS, alpha=ALPHA)

            def backward(penalty: Any = penalty) -> Tensor:
                value: Tensor = penalty()
                (STRENGTH * value).backward()
                return value.detach()

            value = step(ranks, model, backward, moment)
            close(value, wanted)
            ranks.agree(value)
            same_gradients(model, right)


@case
def penalties_in_the_loss(ranks: Ranks) -> None:
    _, right = alone(ranks)
    for wrap in WRAPPINGS:
        for moment in MOMENTS[:2]:
            model = wrap(ranks, network())
            penalty = rrnn_ext.ResolventPenalty.from_model(model, "rnn", "readout", hops=HOPS, alpha=ALPHA)
            before = penalty() if moment == MOMENTS[0] else None
            loss = task_loss(model, ranks)
            value = penalty() if before is None else before
            (loss + STRENGTH * value).backward()
            same_gradients(model, right)


@case
def penalties_without_a_graph(ranks: Ranks) -> None:
    wanted, right = alone(ranks)
    for wrap in WRAPPINGS:
        for moment in MOMENTS:
            model = wrap(ranks, network())
            penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=HOPS, alpha=ALPHA)
            value = step(ranks, model, partial(penalty.accumulate_grad, STRENGTH), moment)
            close(value, wanted)
            same_gradients(model, right)


@case
def functions_of_parameters(ranks: Ranks) -> None:
    """What from_weights reads by name or from a callable."""
    wanted, right = alone(ranks)
    for wrap in WRAPPINGS:
        for moment in MOMENTS:
            model = wrap(ranks, network())
            entering = partial(getattr, model.rnn, "weight_ih_l0")
            penalty = rrnn_ext.ResolventPenalty.from_weights(
                model, "rnn.weight_hh_l0", entering, "readout.weight", hops=HOPS, alpha=ALPHA
            )
            value = step(ranks, model, partial(penalty.accumulate_grad, STRENGTH), moment)
            close(value, wanted)
            same_gradients(model, right)


@case
def mixed_precision(ranks: Ranks) -> None:
    """The penalty is that of the float32 parameters at every moment, though the task sees them in bfloat16."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    halves = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    single = network(dtype=torch.float32)
    wanted = rrnn_ext.ResolventPenalty(single.rnn, single.readout, hops=HOPS, alpha=ALPHA)().detach()
    for parts in (("rnn",), ()):
        for moment in MOMENTS:
            model: Any = network(dtype=torch.float32)
            for name in parts:
                fully_shard(model.get_submodule(name), mesh=ranks.mesh, mp_policy=halves)
            fully_shard(model, mesh=ranks.mesh, mp_policy=halves)
            penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=HOPS, alpha=ALPHA)
            found = penalty() if moment == MOMENTS[0] else None
            loss = task_loss(model, ranks, torch.float32)
            found = penalty() if moment == MOMENTS[1] else found
            loss.backward()
            found = penalty() if found is None else found
            assert found.dtype == torch.float32
            close(found, wanted, 1e-6)  # bfloat16 would be off by 1e-3
            ranks.agree(found)


@case
def every_module(ranks: Ranks) -> None:
    """Gates, stacks, directions, projections and leaks put weights together, which takes them whole."""
    kinds: list[tuple[Cell, dict[str, Any], dict[str, Any]]] = [
        (nn.GRU, {}, {}),
        (nn.LSTM, {}, {"rectify": True}),
        (nn.RNN, {"num_layers": 2}, {}),
        (nn.RNN, {"bidirectional": True}, {}),
        (nn.RNN, {}, {"leak": 0.5}),
    ]
    for cell, shape, options in kinds:
        single = network(cell, **shape)
        wanted = rrnn_ext.ResolventPenalty(single.rnn, single.readout, hops=HOPS, **options)()
        wanted.backward()
        model = by_module(ranks, network(cell, **shape))
        penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=HOPS, **options)
        value = penalty()
        value.backward()
        close(value.detach(), wanted.detach())
        same_gradients(model, single)
        of_single: Any = rrnn_ext.ResolventPenalty(single.rnn, single.readout, hops=HOPS, **options)
        close(penalty.resolvent(), of_single.resolvent())
        close(penalty.hop_decomposition(), of_single.hop_decomposition())
        found: Any = penalty.info()
        close(found.spectral_radius, of_single.info().spectral_radius)


@case
def networks_that_run(ranks: Ranks) -> None:
    """Each rank has a batch of its own, and the gradient is the mean over the ranks."""
    for cell in (nn.RNN, nn.GRU):
        single = network(cell)
        whole_batch, _ = batch(ranks)
        penalty = rrnn_ext.ResolventPenalty(single.rnn, single.readout, hops=HOPS)
        losses = []
        for rank in range(ranks.size):
            x = whole_batch[2 * rank : 2 * rank + 2]
            losses.append(penalty(x, single.rnn(x)[0].detach()))
        torch.stack(losses).mean().backward()
        model = by_module(ranks, network(cell))
        own = whole_batch[2 * ranks.rank : 2 * ranks.rank + 2]
        penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=HOPS)
        for way in ("graph", "accumulate"):
            out = model.rnn(own)[0].detach()
            if way == "graph":
                value = penalty(own, out)
                value.backward()
            else:
                value = penalty.accumulate_grad(1.0, own, out)
            model.rnn.reshard()  # as a backward of the task would
            close(value.detach(), losses[ranks.rank].detach())
            same_gradients(model, single)
            model.zero_grad()


@case
def second_derivatives_of_networks_that_run(ranks: Ranks) -> None:
    """Of the squared length of the mean gradient, by the weights of the walks and, through gates, by biases."""
    parts = batch(ranks)[0].split(2)

    def curvature(model: Any, losses: Sequence[Tensor]) -> dict[str, Any]:
        names, given = zip(*model.named_parameters(), strict=True)
        options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
        slopes = torch.autograd.grad(torch.stack(list(losses)).mean(), given, create_graph=True, **options)
        length = torch.stack([whole(slope).square().sum() for slope in slopes]).sum()
        return dict(zip(names, torch.autograd.grad(length, given, **options), strict=True))

    for cell in (nn.RNN, nn.GRU):
        single, model = network(cell), by_module(ranks, network(cell))
        states = [single.rnn(x)[0].detach() for x in parts]

        def losses(model: Any, which: Sequence[int], states: Any = states) -> list[Tensor]:
            penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=HOPS, norm="l2", detach_gains=False)
            return [penalty(parts[at], states[at]) for at in which]

        wanted = curvature(single, losses(single, range(ranks.size)))
        for name, found in curvature(model, losses(model, [ranks.rank])).items():
            close(found, wanted[name])


@case
def a_model_in_distributed_data_parallel(ranks: Ranks) -> None:
    """Its parameters are plain; the penalty is the same on all ranks, and so is its mean."""
    wanted, right = alone(ranks)
    inner = network()
    model = nn.parallel.DistributedDataParallel(inner)
    penalty = rrnn_ext.ResolventPenalty(inner.rnn, inner.readout, hops=HOPS, alpha=ALPHA)
    task_loss(model, ranks).backward()
    close(penalty.accumulate_grad(STRENGTH), wanted)
    same_gradients(inner, right)


@case
def replicas_of_shards(ranks: Ranks) -> None:
    """A mesh of two dimensions: FSDP2 shards within and replicates across."""
    if ranks.size != 4:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("across", "within"))
    wanted, right = alone(ranks)
    for moment in MOMENTS:
        model: Any = network()
        fully_shard(model, mesh=mesh)
        penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=HOPS, alpha=ALPHA)
        value = step(ranks, model, partial(penalty.accumulate_grad, STRENGTH), moment)
        close(value, wanted)
        ranks.agree(value)
        same_gradients(model, right)


@case
def shards_of_shards(ranks: Ranks) -> None:
    """Tensor parallel in one dimension of a mesh, FSDP2 in the other."""
    if ranks.size != 4:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    _, right = alone(ranks, with_task=False)
    for placement in (Shard(0), Shard(1)):
        model: Any = network()
        for name in ("weight_hh_l0", "weight_ih_l0"):
            own = distribute_tensor(model.rnn.get_parameter(name).detach(), mesh["tensor"], [placement])
            setattr(model.rnn, name, nn.Parameter(own))
        fully_shard(model, mesh=mesh["data"])
        penalty = rrnn_ext.ResolventPenalty.from_weights(
            model, "rnn.weight_hh_l0", "rnn.weight_ih_l0", "readout.weight", hops=HOPS, alpha=ALPHA
        )
        (STRENGTH * penalty()).backward()
        for name in ("rnn.weight_hh_l0", "rnn.weight_ih_l0", "readout.weight"):
            close(whole(model.get_parameter(name).grad), right.get_parameter(name).grad)  # type: ignore[arg-type]
