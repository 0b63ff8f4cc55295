"""How each regulariser is drawn, the same in every figure."""

from __future__ import annotations

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
