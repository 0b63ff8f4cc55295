"""How walks (..., L, o, i) are spread over lags: the hop profile, and how sparse it is.

Walks are maps by lag, lag 0 first, as of :func:`rrnn_ext.hop_decomposition`. The shares of nothing are NaN.

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


@torch.no_grad()
def hop_profile(walks: Tensor) -> Tensor:
    """Share (..., L) of each lag m in sum_m ||P_m||_1."""
    strengths = walks.abs().sum((-2, -1))
    return strengths / strengths.sum(-1, keepdim=True)


@torch.no_grad()
def mean_lag(profile: Tensor) -> Tensor:
    """Mean (...) of the lag over a profile (..., L), in steps."""
    return (profile * torch.arange(profile.shape[-1]).to(profile)).sum(-1) / profile.sum(-1)


@torch.no_grad()
def hoyer(profile: Tensor) -> Tensor:
    """Sparsity (...) of a profile (..., L): 0 if all lags are alike, 1 if there is only one.

    (sqrt(L) - l1 / l2) / (sqrt(L) - 1); Hoyer 2004, Journal of Machine Learning Research 5:1457.
    """
    root = math.sqrt(profile.shape[-1])
    return (root - profile.norm(1, -1) / profile.norm(2, -1)) / (root - 1)


@torch.no_grad()
def gini(profile: Tensor) -> Tensor:
    """Gini index (...) of a profile (..., L): 0 if all lags are alike, 1 - 1 / L if there is only one.

    Hurley and Rickard 2009, IEEE Transactions on Information Theory 55:4723.
    """
    lags = profile.shape[-1]
    ascending = profile.sort().values
    ranks = torch.arange(1, lags + 1).to(profile)
    return (ascending * (2 * ranks - lags - 1)).sum(-1) / (lags * profile.sum(-1))


@torch.no_grad()
def signal_share(profile: Tensor, optimal_walks: Tensor) -> Tensor:
    """Share (...) of a profile (..., L) on signal hops: the lags at which the optimum (L, o, i) has any walk."""
    return profile[..., (optimal_walks != 0).any(-1).any(-1)].sum(-1)
