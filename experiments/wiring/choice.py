"""Which connectome is read, from where to where."""

from __future__ import annotations

from pathlib import Path

from experiments.wiring.celegans import celegans
from experiments.wiring.connectome import Connectome, ConnectomeError
from experiments.wiring.files import read_names, read_wiring


def chosen(edges: Path | None, sources: str | None, targets: str | None) -> Connectome:
    """That of a file, from ``sources`` to ``targets``; or C. elegans, from its sensory to its motor neurons where these
    are left out.

    Raises:
        ConnectomeError: a file or a name that cannot be read, or no sources or targets for a file.
        MissingDataError: C. elegans is asked for, and its package is not installed.
    """
    given = {"--sources": sources, "--targets": targets}
    if edges is None:
        known = celegans()
        wiring, default = known.wiring, {"--sources": known.sources, "--targets": known.targets}
    else:
        missing = [option for option, names in given.items() if names is None]
        if missing:
            raise ConnectomeError(f"{missing[0]} must be given with --edges: names of cells, or a .txt file of them")
        wiring, default = read_wiring(edges), {}
    ends = [
        default[option] if names is None else wiring.numbers_of(read_names(names), option)
        for option, names in given.items()
    ]
    return Connectome(wiring, *ends)
