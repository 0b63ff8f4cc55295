"""The penalty as a user would write it in PyTorch: what rrnn_ext is measured against.

Every peer takes ``weight_hh`` (n, n) and, unless it is for all pairs, ``weight_in`` (n, i) and ``weight_out`` (o, n);
it returns the penalty ||R||_1 with alpha = 1 as a scalar and leaves the gradient to autograd.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Penalty = Callable[..., Tensor]


def adjacency_powers(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, *, hops: int) -> Tensor:
    """As the paper's formula reads: R_io = sum_{k=2}^{hops+1} W^k from inputs to outputs, W the whole adjacency."""
    n, i = weight_in.shape
    o = weight_out.shape[0]
    adjacency = weight_hh.new_zeros(i + n + o, i + n + o)
    adjacency[i : i + n, :i] = weight_in
    adjacency[i : i + n, i : i + n] = weight_hh
    adjacency[i + n :, i : i + n] = weight_out
    power = adjacency
    resolvent = torch.zeros_like(adjacency)
    for _ in range(hops):
        power = adjacency @ power
        resolvent = resolvent + power
    return resolvent[i + n :, :i].abs().sum()


def horner_from_inputs(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, *, hops: int) -> Tensor:
    """Horner's scheme on the n x i side: X <- U + W X."""
    walks = weight_in
    for _ in range(hops - 1):
        walks = torch.addmm(weight_in, weight_hh, walks)
    return (weight_out @ walks).abs().sum()


def horner_from_outputs(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, *, hops: int) -> Tensor:
    """Horner's scheme on the o x n side: Y <- V + Y W."""
    walks = weight_out
    for _ in range(hops - 1):
        walks = torch.addmm(weight_out, walks, weight_hh)
    return (walks @ weight_in).abs().sum()


def rectified_loop(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, *, hops: int) -> Tensor:
    """The rectified sum as a matrix-vector loop: with no sign to cancel, ||R||_1 = v' (sum |W|^m) u."""
    strength = weight_hh.abs()
    source = weight_in.abs().sum(1)
    walks = source
    for _ in range(hops - 1):
        walks = torch.addmv(source, strength, walks)
    return weight_out.abs().sum(0) @ walks


def inverse(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor) -> Tensor:
    """The infinite sum V (I - W)^-1 U by torch.linalg.inv."""
    eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
    walks: Tensor = torch.linalg.inv(eye - weight_hh)
    return (weight_out @ walks @ weight_in).abs().sum()


def solve(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor) -> Tensor:
    """The infinite sum V (I - W)^-1 U by torch.linalg.solve."""
    eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
    walks: Tensor = torch.linalg.solve(eye - weight_hh, weight_in)
    return (weight_out @ walks).abs().sum()


def inverse_all_pairs(weight_hh: Tensor) -> Tensor:
    """The infinite sum between all hidden units, (I - W)^-1 - I, by torch.linalg.inv; (..., n, n), summed."""
    eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
    walks: Tensor = torch.linalg.inv(eye - weight_hh)
    return (walks - eye).abs().sum()


def solve_all_pairs(weight_hh: Tensor) -> Tensor:
    """The same as (I - W)^-1 W, by torch.linalg.solve; (..., n, n), summed."""
    eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
    walks: Tensor = torch.linalg.solve(eye - weight_hh, weight_hh)
    return walks.abs().sum()


def horner_batched(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, *, hops: int) -> Tensor:
    """Horner's scheme on the o x n side for (b, n, n), (b, n, i) and (b, o, n); summed."""
    walks = weight_out
    for _ in range(hops - 1):
        walks = torch.baddbmm(weight_out, walks, weight_hh)
    return (walks @ weight_in).abs().sum()


def horner_batched_from_inputs(weight_hh: Tensor, weight_in: Tensor, weight_out: Tensor, *, hops: int) -> Tensor:
    """The same on the n x i side."""
    walks = weight_in
    for _ in range(hops - 1):
        walks = torch.baddbmm(weight_in, weight_hh, walks)
    return (weight_out @ walks).abs().sum()


def inverse_ex_all_pairs(weight_hh: Tensor) -> Tensor:
    """As inverse_all_pairs, by torch.linalg.inv_ex, which does not wait for the device; (..., n, n), summed."""
    eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
    walks: Tensor = torch.linalg.inv_ex(eye - weight_hh)[0]
    return (walks - eye).abs().sum()


def solve_ex_all_pairs(weight_hh: Tensor) -> Tensor:
    """As solve_all_pairs, by torch.linalg.solve_ex; (..., n, n), summed."""
    eye = torch.eye(weight_hh.shape[-1], dtype=weight_hh.dtype, device=weight_hh.device)
    walks: Tensor = torch.linalg.solve_ex(eye - weight_hh, weight_hh)[0]
    return walks.abs().sum()


def doubling_all_pairs(weight_hh: Tensor, *, doublings: int = 8) -> Tensor:
    """The first 2^doublings terms, S <- S + P S, P <- P P: 0.9^256 is below rounding. (b, n, n), summed."""
    total = power = weight_hh
    for _ in range(doublings):
        total = torch.baddbmm(total, power, total)
        power = torch.bmm(power, power)
    return total.abs().sum()


def rectified(peer: Penalty) -> Penalty:
    """``peer`` on the absolute values of its weights."""

    def penalty(*weights: Tensor) -> Tensor:
        return peer(*(weight.abs() for weight in weights))

    return penalty


def compiled(peer: Penalty, *, backend: str = "inductor") -> Penalty:
    """``peer`` under torch.compile, for the one shape it is going to see.

    The caches of earlier shapes are dropped first: past a limit of recompilations Dynamo gives up on a function.
    """
    torch._dynamo.reset()

    def penalty(*weights: Tensor) -> Tensor:
        return peer(*weights)

    return torch.compile(penalty, dynamic=False, fullgraph=True, backend=backend)
