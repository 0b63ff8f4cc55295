"""How large the walks of a network that ran are, under the options of the penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from rrnn_ext._arguments import check_hop_weights, check_pair_weights
from rrnn_ext._options import Norm, PenaltyOptions
from rrnn_ext.ops._matrices import of_weight, pair_norm


class RunInfo(NamedTuple):
    """What ``penalty.info(x, out)`` tells of a network that ran.

    Attributes:
        strength: (steps,), ||P_m||_1 by lag, m = 0 first, over as many lags as the sequences have steps; of several
            directions (graphs, steps).
        left_out: () or (graphs,), the sum of those of ``hops`` lags and more, which the penalty does not count; zero
            where ``hops`` is None.
    """

    strength: Tensor
    left_out: Tensor


def info_of(graphs: Sequence[Tensor], hops: int | None) -> RunInfo:
    strength = hops_of(graphs, None).abs().sum((-2, -1))
    return RunInfo(strength, strength[..., strength.shape[-1] if hops is None else hops :].sum(-1))


def penalty_of(graphs: Sequence[Tensor], options: PenaltyOptions) -> Tensor:
    """||sum_m w_m P_m|| or sum_m w_m ||P_m||, the mean over the k sequences, added up over the graphs
    (steps, k, o, i)."""
    norm = Norm[options.norm]
    values = []
    for walks in graphs:
        like = walks[0, 0]
        pairs = options.pair_weights
        pairs = (
            None
            if pairs is None
            else check_pair_weights(pairs, like, (like.shape[-2], like.shape[-1]), ()).to(like.dtype)
        )
        weights = _hop_weights(like, options)
        walks = walks[: options.hops]
        if not options.per_hop:
            total = walks.sum(0) if weights is None else _weighted(walks, weights).sum(0)
            values.append(pair_norm(total, pairs, norm).mean())
        elif weights is None:
            values.append(pair_norm(walks, pairs, norm).sum(0).mean())
        else:
            weights = weights[: len(walks), None]
            sizes = pair_norm(of_weight(walks, weights[..., None, None]), pairs, norm)
            values.append((weights * sizes).sum(0).mean())
    return values[0] if len(values) == 1 else torch.stack(values).sum()


def sum_of(graphs: Sequence[Tensor], options: PenaltyOptions) -> Tensor:
    """sum_m w_m P_m, the mean over the k sequences: (o, i), or (graphs, o, i) of several."""
    weights = _hop_weights(graphs[0][0, 0], options)
    means = [walks[: options.hops].mean(1) for walks in graphs]
    sums = [(walks if weights is None else _weighted(walks, weights)).sum(0) for walks in means]
    return sums[0] if len(sums) == 1 else torch.stack(sums)


def hops_of(graphs: Sequence[Tensor], hops: int | None) -> Tensor:
    """P (hops, o, i), the mean over the k sequences, or (graphs, hops, o, i); zeros beyond the first step."""
    means = [walks[:hops].mean(1) for walks in graphs]
    if hops is not None:
        means = [pad(walks, (0, 0, 0, 0, 0, hops - len(walks))) for walks in means]
    return means[0] if len(means) == 1 else torch.stack(means)


def _hop_weights(like: Tensor, options: PenaltyOptions) -> Tensor | None:
    if options.hop_weights is None:
        return None
    return check_hop_weights(options.hop_weights, like, options.hops, ()).to(like.dtype)


def _weighted(walks: Tensor, weights: Tensor) -> Tensor:
    """Each hop times its weight; what has none takes no part."""
    weights = weights[: len(walks)].view(-1, *[1] * (walks.dim() - 1))
    return weights * of_weight(walks, weights)
