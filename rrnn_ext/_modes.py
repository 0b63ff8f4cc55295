"""What runs now, and what looks at it: torch.compile, torch.func, autocast, tensors without values."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

_BATCHED: Any = tuple(map(torch._C._parse_dispatch_key, ("Batched", "FuncTorchBatched")))
_NO_CONTEXT = nullcontext()  # one for all: making one takes as long as a check


def may_be_batched() -> bool:
    """Whether a tensor may have a dimension more than it shows, or come to have one."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def transforming(tensor: Tensor) -> bool:
    """Whether something is looking at what runs now, or at this tensor, that has to see PyTorch's own operations and
    ops with rules: torch.compile, torch.func, forward-mode derivatives, a dispatch mode or a tensor without values."""
    return (
        may_be_batched()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or not (type(tensor) is Tensor or type(tensor) is nn.Parameter)
        or tensor.is_meta
    )


def has_values(tensor: Tensor) -> bool:
    """Whether its values can be looked at: neither unknown nor to be waited for."""
    return not (
        may_be_batched()
        or torch._C._len_torch_dispatch_stack() > 0
        or tensor.is_cuda
        or tensor.is_meta
        or isinstance(tensor, FakeTensor)
    )


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Weights are computed in their own dtype."""
    if device == "meta" or not torch.is_autocast_enabled(device):
        return _NO_CONTEXT
    return torch.autocast(device, enabled=False)


def is_batched(gradient: Tensor) -> bool:
    """Whether it stands for many upstream gradients at once, of torch.func.vmap or of is_grads_batched."""
    keys = torch._C._dispatch_keys(gradient)
    return any(keys.has(key) for key in _BATCHED)
