"""How walks (..., L, o, i) are spread over lags: the hop profile, and how sparse it is.

Walks are maps by lag, lag 0 first, as of :func:`rrnn_ext.hop_decomposition`. The shares of nothing are NaN. Sums are
made in float64, and results are of the dtype that is given, or float32 for integers.

    >>> import torch
    >>> from rrnn_ext import reading
    >>> walks = torch.tensor([2.0, 1.0, 1.0]).reshape(3, 1, 1)
    >>> profile = reading.hop_profile(walks)
    >>> profile
    tensor([0.5000, 0.2500, 0.2500])
    >>> reading.mean_lag(profile)
    tensor(0.7500)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext.reading.precision import of_dtype, relative, wide


@torch.no_grad()
def hop_profile(walks: Tensor) -> Tensor:
    """Share (..., L) of each lag m in sum_m ||P_m||_1."""
    strengths = relative(walks.abs().sum((-2, -1), dtype=torch.float64))
    return of_dtype(walks, strengths / strengths.sum(-1, keepdim=True))


@torch.no_grad()
def mean_lag(profile: Tensor) -> Tensor:
    """Mean (...) of the lag over a profile (..., L), in steps."""
    shares = relative(wide(profile))
    lags = torch.arange(shares.shape[-1], dtype=shares.dtype, device=shares.device)
    return of_dtype(profile, (shares * lags).sum(-1) / shares.sum(-1))


@torch.no_grad()
def hoyer(profile: Tensor) -> Tensor:
    """Sparsity (...) of a profile (..., L): 0 if all lags are alike, 1 if there is only one; NaN for L = 1.

    (sqrt(L) - l1 / l2) / (sqrt(L) - 1); Hoyer 2004, Journal of Machine Learning Research 5:1457.
    """
    shares, root = relative(wide(profile)), math.sqrt(profile.shape[-1])
    return of_dtype(profile, (root - shares.norm(1, -1) / shares.norm(2, -1)) / (root - 1))


@torch.no_grad()
def gini(profile: Tensor) -> Tensor:
    """Gini index (...) of a profile (..., L): 0 if all lags are alike, 1 - 1 / L if there is only one.

    Hurley and Rickard 2009, IEEE Transactions on Information Theory 55:4723.
    """
    lags = profile.shape[-1]
    ascending = relative(wide(profile)).sort().values
    ranks = torch.arange(1, lags + 1, dtype=ascending.dtype, device=ascending.device)
    return of_dtype(profile, (ascending * (2 * ranks - lags - 1)).sum(-1) / (lags * ascending.sum(-1)))


@torch.no_grad()
def signal_share(profile: Tensor, optimal_walks: Tensor) -> Tensor:
    """Share (...) of a profile (..., L) on signal hops: the lags at which the optimum (L, o, i) has any walk.

    Raises:
        ValueError: the optimum is not (L, o, i).
    """
    lags = profile.shape[-1]
    if optimal_walks.dim() != 3 or optimal_walks.shape[0] != lags:
        raise ValueError(f"optimal_walks must be ({lags}, o, i) for this profile, got {tuple(optimal_walks.shape)}")
    share = wide(profile)[..., (optimal_walks != 0).any(-1).any(-1)].sum(-1)
    return of_dtype(profile, torch.where(optimal_walks.isnan().any(), torch.nan, share))
