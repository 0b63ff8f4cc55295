"""The nervous system of the hermaphrodite *C. elegans*, from the files of the package cect."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch

from experiments.tasks.packages import folder_of
from experiments.wiring.connectome import Connectome, wiring_of

ABOUT = (
    "Hermaphrodite C. elegans: chemical synapses between neurons (Cook et al. 2019, Nature 571:63, whose weights are "
    "the numbers of sections of the electron micrographs that show them), as the package cect ships them. A connection "
    "inhibits where GABA is the only fast transmitter of the cell before it (Wang et al. 2024, eLife 13:RP95402), and "
    "excites otherwise. That is a rule of thumb: the receptors decide, and some for acetylcholine and glutamate "
    "inhibit. Gap junctions, monoamines and peptides take no part. Sensory and motor neurons are those of Cook et al."
)
EXCITING = ("Acetylcholine", "Glutamate")


@cache
def celegans() -> Connectome:
    """From the sensory to the motor neurons.

    Raises:
        MissingDataError: cect is not installed.
    """
    folder = folder_of("cect", "The connectome of C. elegans") / "cache"
    counted = json.loads((folder / "Cook2019HermReader.json").read_text(encoding="utf-8"))
    atlas = json.loads((folder / "Wang2024HermReader.json").read_text(encoding="utf-8"))
    from cect import Cells as cells

    known = set(cells.PREFERRED_HERM_NEURON_NAMES)
    at, names = zip(*((index, name) for index, name in enumerate(counted["nodes"]) if name in known), strict=True)
    among = torch.tensor(at)
    sections = torch.tensor(counted["connections"]["Generic_CS"], dtype=torch.float64)[among][:, among]
    inhibits = _expressing(atlas, "GABA") - set().union(*(_expressing(atlas, one) for one in EXCITING))
    signs = torch.tensor([-1.0 if name in inhibits else 1.0 for name in names])
    pre, post = sections.nonzero(as_tuple=True)
    wiring = wiring_of(names, pre, post, signs[pre] * sections[pre, post], ABOUT)
    sensory = wiring.numbers_of([name for name in cells.SENSORY_NEURONS_COOK if name in names], "sensory neurons")
    motor = wiring.numbers_of([name for name in cells.MOTORNEURONS_COOK if name in names], "motor neurons")
    return Connectome(wiring, sensory, motor)


def _expressing(atlas: dict[str, Any], transmitter: str) -> set[str]:
    """The cells with this transmitter, which is kept as the connections that they make with it."""
    rows = atlas["connections"][transmitter]
    return {name for name, row in zip(atlas["nodes"], rows, strict=True) if any(row)}
