"""Distributed data parallel training with the penalty in the loss."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

import rrnn_ext

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch was built without gloo")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(3, 6, batch_first=True)
        self.readout = nn.Linear(6, 2)
        self.penalty = rrnn_ext.ResolventPenalty.from_model(self, "rnn", "readout", hops=5, alpha=0.9)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.rnn(x)[0][:, -1])


def network() -> Network:
    torch.manual_seed(0)
    return Network().double()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 5, 3, generator=generator, dtype=torch.float64)
    return x, torch.randn(8, 2, generator=generator, dtype=torch.float64)


def loss(model: nn.Module, penalty: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.mse_loss(model(x), y) + 0.01 * penalty


def by_hand(model: Network) -> Tensor:
    w, u = model.rnn.get_parameter("weight_hh_l0"), model.rnn.get_parameter("weight_ih_l0")
    return rrnn_ext.resolvent_penalty(w, u, model.readout.weight, hops=5, alpha=0.9)


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        train(rank, folder)
        # Gloo's threads end with the group's last owner, which is to be nobody that lives until the interpreter ends.
        gc.collect()
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def train(rank: int, folder: str) -> None:
    inner = network()
    model = nn.parallel.DistributedDataParallel(inner)
    x, y = data()
    half = slice(4 * rank, 4 * rank + 4)
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss(model, inner.penalty(), x[half], y[half]).backward()
        optimizer.step()
    gradients = {name: parameter.grad for name, parameter in inner.named_parameters()}
    torch.save((gradients, inner.state_dict()), f"{folder}/{rank}.pt")


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    spawn(worker, args=(str(tmp_path),), nprocs=2)
    alone = network()
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss(alone, by_hand(alone), *data()).backward()
        optimizer.step()
    for rank in range(2):
        gradients, state = torch.load(tmp_path / f"{rank}.pt")
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-12, atol=1e-15)
            torch.testing.assert_close(state[name], parameter.detach(), rtol=1e-12, atol=1e-15)
