"""How each regulariser is drawn, the same in every figure, and how names are set in type."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rrnn_ext.plot.style import Look

UNPENALISED = Look("#000000", "", "--")
_LOOKS = {
    "L1": Look("#D55E00", "^", "-"),
    "L2": Look("#E69F00", "v", (0, (5, 1.5))),
    "R-RNN": Look("#0072B2", "o", "-"),
    "R-RNN per hop": Look("#56B4E9", "s", (0, (3, 1, 1, 1))),
    "R-RNN rectified": Look("#009E73", "D", (0, (1, 1))),
    "seRNN": Look("#CC79A7", "X", "-."),
}
# For regularisers that are added later; their colour tells nothing, their marker and their place in the legend do.
_SPARE = [Look("#444444", marker, "-") for marker in "P*<>hp8d"]


def look(name: str, names: Sequence[str]) -> Look:
    """Of regulariser ``name`` among the ``names`` in the figure."""
    added = [other for other in names if other not in _LOOKS]
    return _LOOKS.get(name) or _SPARE[added.index(name) % len(_SPARE)]


def typeset(name: str) -> str:
    """A name out of data, with the mathematics in it as matplotlib sets it."""
    return re.sub(r"\b(R_io|P_m|V W U|V U|W)\b", lambda found: f"${found[0].replace('_io', '_{io}')}$", name)
