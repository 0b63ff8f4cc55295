"""What a trained network's weights say about what it computes, and whether its behaviour agrees.

Shapes as in rrnn_ext: weight_hh (..., n, n), weight_in (..., n, i), weight_out (..., o, n), any leading batch
dimensions. A *map* is (..., o, i), from inputs to outputs. *Walks* are maps by lag, (..., L, o, i), lag 0 first: those
of a network are ``rrnn_ext.hop_decomposition(weight_hh, weight_in, weight_out, hops=L)``, those that solve a task are
``Task.optimal_walks``. Comparisons take both, by the number of dimensions that they run over: ``dims=2`` for maps,
``dims=3`` for walks at all lags at once. Nothing here keeps a gradient or changes its arguments.

A measure that is not defined is NaN: the correlation with a constant, the shares of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

import rrnn_ext

# ---------------------------------------------------------------------------------------------------- maps from weights


@torch.no_grad()
def influence_map(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, steps: int) -> Tensor:
    """R_io (..., o, i): all walks from an input to an output in a sequence of ``steps`` steps, sum_m V W^m U."""
    return rrnn_ext.resolvent(weight_hh, weight_in, weight_out, hops=steps)


@torch.no_grad()
def unit_radius(weight_hh: Tensor) -> Tensor:
    """``weight_hh`` divided by its spectral radius, the paper's convention when it analyses a network.

    It weighs the lags anew: one of m steps by radius^-m. Walks of the weights as they are describe the network's own
    response (:func:`lag_response_by_jacobian`).
    """
    radius = rrnn_ext.resolvent_info(weight_hh).spectral_radius.to(weight_hh)
    return weight_hh / radius[..., None, None]


@torch.no_grad()
def single_hop_maps(
    weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, module_of_input: Tensor
) -> dict[str, Tensor]:
    """Maps (..., o, i) of those who do not follow walks: each reads one hop, by name.

    - "V U": the walk at lag 0 alone.
    - "V W U": the walk at lag 1 alone.
    - "W by module": mean recurrent weight from the units of the input's module to the units of the output. A unit is
      of the module, and of the output, to which it has the largest summed |weight|. 0 where there is no such pair.
    - "|W| by module": the same of |W|. The sign of a recurrent weight means nothing by itself: turning the sign of a
      tanh unit, with all its weights, changes no output. Compare it with |optimum|.
    - "W by module, signed": the same of W with every unit turned so that its weights to its module, and to its output,
      sum to a positive number: the most that W can say when the units' signs are known.
    """
    walks = rrnn_ext.hop_decomposition(weight_hh, weight_in, weight_out, hops=2)
    by_module = torch.nn.functional.one_hot(module_of_input.to(weight_in.device)).to(weight_in)
    module_strength = weight_in.abs() @ by_module
    from_module = _largest(module_strength)  # (..., n, modules)
    to_output = _largest(weight_out.abs().mT).mT  # (..., o, n)
    in_sign = ((weight_in @ by_module) * from_module).sum(-1).sign()
    out_sign = (weight_out * to_output).sum(-2).sign()

    def mean(weights: Tensor) -> Tensor:
        pairs = to_output.sum(-1)[..., :, None] * from_module.sum(-2)[..., None, :]
        blocks = (to_output @ weights @ from_module) / pairs.clamp(min=1)
        return blocks @ by_module.T

    return {
        "V U": walks[..., 0, :, :],
        "V W U": walks[..., 1, :, :],
        "W by module": mean(weight_hh),
        "|W| by module": mean(weight_hh.abs()),
        "W by module, signed": mean(out_sign[..., :, None] * weight_hh * in_sign[..., None, :]),
    }


def _largest(strengths: Tensor) -> Tensor:
    """One where the last dimension is largest, else zero."""
    return torch.zeros_like(strengths).scatter(-1, strengths.argmax(-1, keepdim=True), 1)


# ---------------------------------------------------------------------------------------------------------- comparisons


@torch.no_grad()
def correlation(found: Tensor, optimum: Tensor, *, dims: int = 2) -> Tensor:
    """Pearson correlation (...) over the last ``dims`` dimensions."""
    found, optimum = _flat(found, optimum, dims)
    return (_standardised(found) * _standardised(optimum)).sum(-1)


def _standardised(values: Tensor) -> Tensor:
    """Mean 0 and length 1 along the last dimension; NaN if all are alike but for rounding."""
    centred = values - values.mean(-1, keepdim=True)
    largest = centred.abs().amax(-1, keepdim=True)
    centred = centred / largest  # the squares of a strongly penalised network's walks would underflow
    varied = largest > 1e-6 * values.abs().amax(-1, keepdim=True)
    return torch.where(varied, centred / centred.norm(dim=-1, keepdim=True), torch.nan)


@torch.no_grad()
def communication_sparsity(found: Tensor, optimum: Tensor, *, dims: int = 2) -> Tensor:
    """Share (...) of sum |found| that lies off the optimum's support: 0 where nothing is said that is not needed."""
    found, optimum = _flat(found, optimum, dims)
    return found.abs().mul(optimum == 0).sum(-1) / found.abs().sum(-1)


@torch.no_grad()
def alignment(found: Tensor, optimum: Tensor, *, dims: int = 2) -> Tensor:
    """Sparsity-function alignment (...): are the weak pathways those that the function does not need?

    The probability that a pathway of the optimum's support is stronger, in |found|, than one off it (ties count
    half): the area under the ROC curve, 1 where every needed pathway beats every other, 1/2 where strength and
    function have nothing to do with one another. It needs no threshold for "absent" and does not change when all
    pathways shrink alike, which every penalty does; how sparse a network is, is left to :func:`communication_sparsity`
    and :func:`hoyer`.
    """
    found, optimum = _flat(found, optimum, dims)
    if optimum.shape[:-1].numel() != 1:
        raise ValueError(f"optimum must have {dims} dimensions, got {optimum.dim() - 1 + dims}")
    needed = optimum.reshape(-1) != 0
    strong = found.abs()[..., needed].contiguous()
    others = found.abs()[..., ~needed].sort().values
    weaker = torch.searchsorted(others, strong) + torch.searchsorted(others, strong, right=True)
    area = weaker.double().mean(-1) / (2 * others.shape[-1])
    return torch.where(found.isnan().any(-1), torch.nan, area).to(found)


def _flat(found: Tensor, optimum: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    if found.shape[-dims:] != optimum.shape[-dims:]:
        raise ValueError(
            f"the last {dims} dimensions of found {tuple(found.shape)} and optimum {tuple(optimum.shape)} must agree"
        )
    return found.flatten(-dims), optimum.flatten(-dims)


# ------------------------------------------------------------------------------------------------- how lags are used


@torch.no_grad()
def hop_profile(walks: Tensor) -> Tensor:
    """Share (..., L) of each lag m in sum_m ||P_m||_1."""
    strengths = walks.abs().sum((-2, -1))
    return strengths / strengths.sum(-1, keepdim=True)


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


# ----------------------------------------------------------------------------------------------- the network's response

Network = Callable[[Tensor], Tensor]
"""Sequences (count, steps, inputs) to outputs (..., count, outputs): one network, or a stack of them. A stack also
takes a set of sequences of its own for each network, (..., count, steps, inputs)."""

IMPULSE = 0.5  # the standard deviation of a signal in the tasks: a size that networks have met


@torch.no_grad()
def lag_response_by_impulses(network: Network, sequences: Tensor, *, size: float = IMPULSE) -> Tensor:
    """(..., L, o, i): how outputs answer a bump of one input at one step, per unit of it, by lag.

    (f(x + size e) - f(x - size e)) / (2 size), mean over the ``sequences`` (count, steps, inputs) that the bumps are
    put on; one sequence of zeros asks the quiet network. A finite size also sees where tanh saturates.
    """
    count, steps, inputs = sequences.shape
    bumps = size * torch.eye(steps * inputs).to(sequences).view(-1, 1, steps, inputs)

    def mean_outputs(bumped: Tensor) -> Tensor:
        outputs = network(bumped.flatten(0, 1))
        return outputs.unflatten(-2, (steps * inputs, count)).mean(-2)

    in_time = (mean_outputs(sequences + bumps) - mean_outputs(sequences - bumps)) / (2 * size)
    return in_time.unflatten(-2, (steps, inputs)).flip(-3).mT


def lag_response_by_jacobian(network: Network, sequences: Tensor) -> Tensor:
    """(..., L, o, i): the derivative of the outputs by the inputs, by lag, mean over ``sequences``
    (count, steps, inputs). On one sequence of zeros, without biases, these are the walks P_m."""
    stack = network(sequences).shape[:-2]
    own = sequences.expand(*stack, *sequences.shape).clone().requires_grad_()
    # The outputs of one network on one sequence depend on that sequence alone, so a sum has the gradients of all.
    totals = network(own).sum(tuple(range(len(stack) + 1)))
    by_output = [torch.autograd.grad(total, own, retain_graph=True)[0].mean(-3) for total in totals]
    return torch.stack(by_output, dim=-2).flip(-3)
