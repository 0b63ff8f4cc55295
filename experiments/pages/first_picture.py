"""Draws docs/_static/walks-by-lag.png, the first picture of the README: ``python -m experiments.pages.first_picture``.

Two RNNs learn a task whose best solution is known: output k is the mean of what the four inputs of group k showed at
even lags. One of them is trained with the penalty.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot as plt

import rrnn_ext
from experiments.tasks.modular import Sizes, on_off
from experiments.training import loop, regularisers, stacked
from rrnn_ext import plot

TARGET = Path(__file__).parents[2] / "docs" / "_static" / "walks-by-lag.png"
STRENGTHS = (0.0, 0.01)
SEED = 0


def main() -> None:
    task = on_off(Sizes(steps=6))
    networks = loop.train(
        stacked.new_networks([SEED, SEED], inputs=task.inputs, hidden=64, outputs=task.outputs),
        {SEED: loop.Examples(*task.training_set(SEED))},
        seeds=[SEED, SEED],
        regulariser=regularisers.resolvent_per_hop,
        strengths=STRENGTHS,
        updates=600,
        batch=128,
        learning_rate=5e-3,
    )
    walks = rrnn_ext.hop_decomposition(networks.weight_hh, networks.weight_in, networks.weight_out, hops=task.steps)
    found = walks.unflatten(-1, (task.sizes.modules, -1)).sum(-1)  # (networks, lags, outputs, groups of inputs)
    needed = torch.diag_embed(task.counting.double())
    rows = {"what the\ntask needs": needed, "trained": found[0], "trained with\nthe penalty": found[1]}
    draw(rows)
    errors = ", ".join(f"{error:.3f}" for error in loop.test_error(networks, loop.Examples(*task.test_set())).tolist())
    print(f"{TARGET}: test errors {errors}")


def draw(rows: dict[str, torch.Tensor]) -> None:
    lags = len(next(iter(rows.values())))
    figure, axes = plt.subplots(len(rows), lags, figsize=(8, 4.2), layout="constrained")
    for row, (name, maps) in zip(axes, rows.items(), strict=True):
        for lag, ax in enumerate(row):
            plot.influence_map(maps[lag], ax, largest=float(maps.abs().max()))
            ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=15)
    for lag, ax in enumerate(axes[0]):
        ax.set_title("now" if lag == 0 else f"−{lag}", fontsize=15)
    figure.supxlabel("from inputs (columns) to outputs (rows), by how many steps ago the input came", fontsize=13)
    figure.savefig(TARGET, dpi=120)


if __name__ == "__main__":
    main()
