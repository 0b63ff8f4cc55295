"""The device that the tensors of the tests live on: that of `pytest --device cuda`, else the CPU; and whether CUDA
kernels stand in for the ops of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from rrnn_ext import _C

CUDA_EMULATED = _C.build_info()["cuda_emulated"]
DEVICE = torch.device("cpu")  # conftest.py puts in what the command line says, before any test is imported


def there(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for tests that think on the CPU: it runs on DEVICE, and its results come back. Differentiable."""

    def call(*arguments: Any, **options: Any) -> Any:
        arguments, options = tree_map(lambda leaf: _to(leaf, DEVICE), (arguments, options))
        return tree_map(lambda leaf: _to(leaf, torch.device("cpu")), function(*arguments, **options))

    return call


def _to(leaf: Any, device: torch.device) -> Any:
    return leaf.to(device) if isinstance(leaf, Tensor) else leaf
