"""Networks of a stack as PyTorch has them, and random numbers for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.training.stacked import Networks

NAMES = ("rnn.weight_hh_l0", "rnn.weight_ih_l0", "rnn.bias_ih_l0", "readout.weight", "readout.bias")  # as in Networks


class Module(nn.Module):
    """One network of a stack as PyTorch has it."""

    def __init__(self, networks: Networks, index: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(networks.weight_in.shape[-1], networks.weight_hh.shape[-1], batch_first=True)
        self.readout = nn.Linear(*networks.weight_out.shape[:0:-1])
        self.to(networks.bias.dtype).load_state_dict(networks.select(index).state_dict())

    def forward(self, sequences: Tensor) -> Tensor:
        return self.readout(self.rnn(sequences)[0][:, -1])


def double(networks: Networks) -> Networks:
    return Networks(*(weight.double() for weight in networks))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
