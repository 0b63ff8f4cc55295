"""How large the walks of a network that ran are, under the options of the penalty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from rrnn_ext._arguments import check_hop_weights, check_pair_weights
from rrnn_ext._options import Norm, PenaltyOptions
from rrnn_ext.networks.running.walks import Walks, made
from rrnn_ext.ops._driven_by_hops import DrivenWalks
from rrnn_ext.ops._matrices import of_weight, pair_norm
from rrnn_ext.ops.driven_walks import DrivenPenalty, walk_penalty


class RunInfo(NamedTuple):
    """What ``penalty.info(x, out)`` tells of a network that ran.

    Attributes:
        strength: (steps,), ||P_m||_1 by lag, m = 0 first, over as many lags as the sequences have steps up to the
            read-out; of several directions (graphs, steps), over all steps.
        left_out: () or (graphs,), the sum of those of ``hops`` lags and more, which the penalty does not count; zero
            where ``hops`` is None.
    """

    strength: Tensor
    left_out: Tensor


def info_of(graphs: Sequence[Walks], hops: int | None) -> RunInfo:
    strength = hops_of(graphs, None).abs().sum((-2, -1))
    return RunInfo(strength, strength[..., strength.shape[-1] if hops is None else hops :].sum(-1))


def penalty_of(graphs: Sequence[Walks], options: PenaltyOptions) -> Tensor:
    """||sum_m w_m P_m|| or sum_m w_m ||P_m||, the mean over the k sequences, added up over the graphs."""
    values = [_penalty(walks, options) for walks in graphs]
    return values[0] if len(values) == 1 else torch.stack(values).sum()


def _penalty(walks: Walks, options: PenaltyOptions) -> Tensor:
    norm = Norm[options.norm]
    if isinstance(walks, DrivenWalks):
        like, sizes = walks.weight_hh, (walks.entering.shape[-2], walks.weight_ih.shape[-1])
    else:
        like, sizes = walks, (walks.shape[-2], walks.shape[-1])
    pairs, weights = options.pair_weights, _hop_weights(like, options)
    pairs = None if pairs is None else check_pair_weights(pairs, like, sizes, ()).to(like.dtype)
    walks = _up_to(walks, options.hops)
    if isinstance(walks, DrivenWalks):
        weights = None if weights is None else weights[: len(walks.gains)]
        return walk_penalty(DrivenPenalty(*walks[:6], weights, pairs, walks.alpha, walks.edges, options.per_hop, norm))
    if not options.per_hop:
        total = walks.sum(0) if weights is None else _weighted(walks, weights).sum(0)
        return pair_norm(total, pairs, norm).mean()
    if weights is None:
        return pair_norm(walks, pairs, norm).sum(0).mean()
    weights = weights[: len(walks), None]
    return (weights * pair_norm(of_weight(walks, weights[..., None, None]), pairs, norm)).sum(0).mean()


def _up_to(walks: Walks, hops: int | None) -> Walks:
    """The first of the lags."""
    if not isinstance(walks, DrivenWalks):
        return walks[:hops]
    if hops is None or hops >= len(walks.gains):
        return walks
    own = walks._replace(
        gains=walks.gains[:hops],
        input_gains=None if walks.input_gains is None else walks.input_gains[:hops],
        carries=None if walks.carries is None else walks.carries[:hops],
    )
    return own if own.entering.dim() == 2 else own._replace(entering=own.entering[:hops])


def sum_of(graphs: Sequence[Walks], options: PenaltyOptions) -> Tensor:
    """sum_m w_m P_m, the mean over the k sequences: (o, i), or (graphs, o, i) of several."""
    means = [made(_up_to(walks, options.hops)).mean(1) for walks in graphs]
    weights = _hop_weights(means[0], options)
    sums = [(walks if weights is None else _weighted(walks, weights)).sum(0) for walks in means]
    return sums[0] if len(sums) == 1 else torch.stack(sums)


def hops_of(graphs: Sequence[Walks], hops: int | None) -> Tensor:
    """P (hops, o, i), the mean over the k sequences, or (graphs, hops, o, i); zeros beyond the first step."""
    means = [made(_up_to(walks, hops)).mean(1) for walks in graphs]
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
