"""How a public function of sharded weights is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from rrnn_ext._call import check
from rrnn_ext._route import Weights
from rrnn_ext.sharded.gathered import gathered


def routed(function: Callable[..., Tensor], weights: Weights, options: Mapping[str, Any]) -> Tensor:
    """``function`` is resolvent_penalty, resolvent or hop_decomposition."""
    options = {name: gathered(option) for name, option in options.items()}
    check(*weights, **options)
    return function(*map(gathered, weights), **options)
