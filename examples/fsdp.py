"""Trains a recurrent network that is sharded by FSDP2, with the resolvent penalty, and goes on from its checkpoint.

    torchrun --nproc-per-node 2 examples/fsdp.py --folder runs/fsdp
    torchrun --nproc-per-node 2 examples/fsdp.py --folder runs/fsdp --steps 80   # goes on where the first one stopped

The task: which of 8 channels had a pulse 5 steps ago. Any number of processes takes the same steps but for rounding,
as each has its part of one batch. ``python examples/fsdp.py`` is one process, which shards nothing.
"""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import rrnn_ext

CHANNELS, UNITS, STEPS, BATCH, BETA = 8, 64, 20, 96, 1e-2


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(CHANNELS, UNITS, batch_first=True)
        self.readout = nn.Linear(UNITS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.rnn(x)[0][:, -1])


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Of all processes, which draw the same."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(CHANNELS, (BATCH,), generator=generator)
    x = 0.1 * torch.randn(BATCH, STEPS, CHANNELS, generator=generator)
    x[:, -5] += nn.functional.one_hot(labels, CHANNELS)
    return x, labels


def train(steps: int, folder: Path | None, device: str) -> list[float]:
    """The loss over the whole batch, with the penalty, at each step that was taken."""
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    torch.manual_seed(0)
    model = Network().to(device)
    if ranks > 1:
        mesh = init_device_mesh(device, (ranks,))
        fully_shard(model.rnn, mesh=mesh)
        fully_shard(model, mesh=mesh)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    penalty = rrnn_ext.ResolventPenalty(model.rnn, model.readout, hops=STEPS, alpha=0.9)

    begin = 0
    if folder is not None and (folder / ".metadata").exists():
        weights, moments = get_state_dict(model, optimiser)
        state: dict[str, Any] = {"weights": weights, "moments": moments, "step": 0}
        load(state, checkpoint_id=folder)
        set_state_dict(model, optimiser, model_state_dict=state["weights"], optim_state_dict=state["moments"])
        begin = state["step"]

    losses = []
    for step in range(begin, steps):
        x, labels = (each.chunk(ranks)[rank].to(device) for each in batch(step))
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()  # FSDP2 takes the mean over the processes
        value = penalty.accumulate_grad(BETA)  # the same on all of them; added to the shards of .grad
        optimiser.step()
        optimiser.zero_grad()
        loss = loss.detach()
        if ranks > 1:
            dist.all_reduce(loss)
        losses.append(float(loss / ranks + BETA * value))
        if rank == 0 and (step + 1) % 10 == 0:
            print(f"step {step + 1}: loss {losses[-1]:.6f}, of which the penalty {BETA * float(value):.6f}", flush=True)

    if folder is not None and steps > begin:
        weights, moments = get_state_dict(model, optimiser)
        state = {"weights": weights, "moments": moments, "step": steps}
        save(state, storage_writer=FileSystemWriter(folder, overwrite=True))
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="of the whole training, those of the checkpoint included")
    parser.add_argument("--folder", type=Path, help="of the checkpoint that is gone on from and written; none: neither")
    parser.add_argument("--losses", type=Path, help="a file for the loss of each step")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if "RANK" in os.environ:  # started by torchrun
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        losses = train(given.steps, given.folder, device)
        if given.losses is not None and int(os.environ.get("RANK", 0)) == 0:
            given.losses.write_text("\n".join(map(repr, losses)) + "\n")
    finally:
        if dist.is_initialized():
            # Gloo's threads end with the last owner of the group: not the cycles of a sharded model, which would be
            # there until the interpreter ends.
            gc.collect()
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
