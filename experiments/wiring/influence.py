"""The influence score of connectomics: the steady state of every cell when the sources are driven."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import rrnn_ext
from experiments.wiring.connectome import Connectome


@dataclass(frozen=True, eq=False)
class Influence:
    """Of all sources together on each of the n cells, (n,): with the signs of the connections, and without."""

    signed: Tensor
    unsigned: Tensor

    def extremes(self, cells: Tensor, count: int) -> Tensor:
        """Of these numbers of cells, the ``count`` with the largest signed scores, and the ``count`` that are inhibited
        most, from the largest score down."""
        falling = cells[self.signed[cells].argsort(descending=True, stable=True)]
        excited = falling[self.signed[falling] >= 0][:count]
        inhibited = falling[self.signed[falling] < 0][-count:]
        return torch.cat([excited, inhibited])


def influence_of(connectome: Connectome) -> Influence:
    """r = (I - 0.99 W / rho)^-1 s, where s is 1 at each source and rho the spectral radius of W; for the unsigned, that
    of |W|.

    Raises:
        ValueError: no cell can reach itself, so that rho is 0, or rho was not found.
    """
    drive = torch.zeros(len(connectome.wiring.names), 1, dtype=torch.float64).index_fill(0, connectome.sources, 1.0)
    signed, unsigned = (
        rrnn_ext.sparse.influence(connectome.wiring.weights, drive, rectify=rectify).squeeze(1)
        for rectify in (False, True)
    )
    return Influence(signed, unsigned)
