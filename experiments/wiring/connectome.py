"""Cells, the connections between them, and those at which signals come in and go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class ConnectomeError(ValueError):
    """A wiring diagram, or a choice of its cells, that cannot be read."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """Who is connected to whom.

    Attributes:
        names: of the n cells.
        weights: (n, n), sparse COO, coalesced, float64; row = post-synaptic cell, column = pre-synaptic cell. Each is
            the share of the post-synaptic cell's input that comes over this connection, negative where it inhibits.
        about: where it is from, and the rule of the signs; a few sentences.
    """

    names: Sequence[str]
    weights: Tensor
    about: str

    @property
    def connections(self) -> int:
        """How many ordered pairs of cells are connected."""
        return self.weights.values().shape[0]

    @property
    def inhibitory(self) -> int:
        """How many of the connections inhibit."""
        return int((self.weights.values() < 0).sum())

    def numbers_of(self, names: Sequence[str], what: str) -> Tensor:
        """int64 (cells,), the numbers of the cells of these names, each once.

        Raises:
            ConnectomeError: there is no such cell, or no name.
        """
        known = {name: number for number, name in enumerate(self.names)}
        unknown = [name for name in names if name not in known]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise ConnectomeError(f"{what}: no cell {unknown[0]!r}{more} among the {len(known)} of the wiring diagram")
        if not names:
            raise ConnectomeError(f"{what} must name at least one cell, got none")
        return torch.tensor(sorted({known[name] for name in names}))


@dataclass(frozen=True, eq=False)
class Connectome:
    """A wiring diagram, the cells at which signals come in, and those at which they go out, int64 numbers of cells."""

    wiring: Wiring
    sources: Tensor
    targets: Tensor


def wiring_of(names: Sequence[str], pre: Tensor, post: Tensor, strengths: Tensor, about: str) -> Wiring:
    """From the strength of each connection, such as a number of synapses with the sign of their effect, from cell
    ``pre`` to cell ``post``. Connections between the same cells are one, of their sum, and a strength of 0 is none."""
    n = len(names)
    counted = torch.sparse_coo_tensor(torch.stack([post, pre]), strengths.double(), (n, n), check_invariants=True)
    counted = counted.coalesce()
    there = counted.values() != 0
    places, strengths = counted.indices()[:, there], counted.values()[there]
    total = torch.zeros(n, dtype=torch.float64).index_add(0, places[0], strengths.abs())
    shares = strengths / total[places[0]]
    return Wiring(
        names, torch.sparse_coo_tensor(places, shares, (n, n), check_invariants=True, is_coalesced=True), about
    )
