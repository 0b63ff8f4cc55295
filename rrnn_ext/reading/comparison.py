"""How much of what a network does agrees with what it should do: maps and walks beside those of an optimum.

A *map* is (..., o, i), from inputs to outputs. *Walks* are maps by lag, (..., L, o, i), lag 0 first. Comparisons take
both, by the number of dimensions that they run over: ``dims=2`` for maps, ``dims=3`` for walks at all lags at once. A
measure that is not defined is NaN: the correlation with a constant, the shares of nothing, and what is made of a NaN.
Sums are made in float64, and results are of the dtype of what was found, or float32 for integers.

    >>> import torch
    >>> from rrnn_ext import reading
    >>> found, optimum = torch.tensor([[2.0, 0.5], [0.0, 1.5]]), torch.eye(2)
    >>> reading.communication_sparsity(found, optimum)  # an eighth lies where the optimum has nothing
    tensor(0.1250)
    >>> reading.alignment(found, optimum)
    tensor(1.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrnn_ext.reading.precision import of_dtype, relative, wide


@torch.no_grad()
def correlation(found: Tensor, optimum: Tensor, *, dims: int = 2) -> Tensor:
    """Pearson correlation (...) over the last ``dims`` dimensions."""
    one, other = _flat(found, optimum, dims)
    return of_dtype(found, (_standardised(one) * _standardised(other)).sum(-1))


def _standardised(values: Tensor) -> Tensor:
    """Mean 0 and length 1 along the last dimension; NaN if all are alike but for rounding."""
    centred = values - values.mean(-1, keepdim=True)
    largest = centred.abs().amax(-1, keepdim=True)
    centred = centred / largest  # the squares of a strongly penalised network's walks would underflow
    varied = largest > 1e-6 * values.abs().amax(-1, keepdim=True)
    return torch.where(varied, centred / centred.norm(dim=-1, keepdim=True), torch.nan)


@torch.no_grad()
def communication_sparsity(found: Tensor, optimum: Tensor, *, dims: int = 2) -> Tensor:
    """Share (...) of sum ``|found|`` off the optimum's support: 0 where nothing is said that is not needed."""
    sizes, needed = _flat(found, optimum, dims)
    sizes = relative(sizes.abs())
    share = torch.where(needed == 0, sizes, 0).sum(-1) / sizes.sum(-1)
    return of_dtype(found, torch.where(needed.isnan().any(-1), torch.nan, share))


@torch.no_grad()
def alignment(found: Tensor, optimum: Tensor, *, dims: int = 2) -> Tensor:
    """Sparsity-function alignment (...): are the weak pathways those that the function does not need?

    The probability that a pathway of the optimum's support is stronger, in ``|found|``, than one off it (ties count
    half): the area under the ROC curve, 1 where every needed pathway beats every other, 1/2 where strength and
    function have nothing to do with one another. It needs no threshold for "absent" and does not change when all
    pathways shrink alike, which every penalty does; how sparse a network is, is left to :func:`communication_sparsity`
    and :func:`hoyer`.
    """
    sizes, needed_by = _flat(found, optimum, dims)
    if needed_by.shape[:-1].numel() != 1:
        raise ValueError(f"optimum must have {dims} dimensions, got {optimum.dim()}")
    sizes, needed = sizes.abs(), needed_by.reshape(-1) != 0
    strong = sizes[..., needed].contiguous()
    others = sizes[..., ~needed].sort().values
    weaker = torch.searchsorted(others, strong) + torch.searchsorted(others, strong, right=True)
    area = weaker.double().mean(-1) / (2 * others.shape[-1])
    return of_dtype(found, torch.where(sizes.isnan().any(-1) | needed_by.isnan().any(), torch.nan, area))


def _flat(found: Tensor, optimum: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    if found.shape[-dims:] != optimum.shape[-dims:]:
        raise ValueError(
            f"the last {dims} dimensions of found {tuple(found.shape)} and optimum {tuple(optimum.shape)} must agree"
        )
    return wide(found).flatten(-dims), wide(optimum).flatten(-dims)
