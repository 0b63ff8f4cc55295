"""The check before every infinite sum: rho(A) < 1, or an error. Cheap where it is clear, exact where it is not.

On a GPU to be clear would mean to wait; there a bound is computed whatever the matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rrnn_ext._ops import _native
from rrnn_ext.diagnostics import ResolventDivergenceError, is_below_one, spectral_radius

_PROBES = 8
_PROBED_HOPS = (64, 192, 768)
_TF32_ROUNDING = 2e-3  # of a product, with room
_SQUARINGS = 16  # of A, on a GPU: walks of 2^16 edges


def check_convergence(a: Tensor, alpha: Tensor, nonnegative: bool) -> None:
    """Raises ResolventDivergenceError unless rho < 1 for each of ``a`` (b, n, n), which is ``alpha`` times the weights,
    () or (b,). Matrices with NaN or Inf pass: their sum is no number anyway."""
    if a.numel() == 0:
        return
    sizes = a.abs()
    norm = torch.minimum(sizes.sum(-1).amax(-1), sizes.sum(-2).amax(-1))
    unclear = norm >= 1 - a.shape[-1] * torch.finfo(a.dtype).eps  # NaN compares false: nothing to be clear about
    unclear &= norm.isfinite()
    if not bool(unclear.any()):
        return
    alpha = alpha.expand(a.shape[0])[unclear]
    if not bool(unclear.all()):
        a = a[unclear]
    shrinks = _nonnegative_power_shrinks(a) if nonnegative else _power_shrinks(a)
    if bool(shrinks.all()):
        return
    radius = spectral_radius(a[~shrinks])
    if not bool(is_below_one(radius).all()):
        worst = radius.argmax()
        raise ResolventDivergenceError(radius[worst].item(), alpha[~shrinks][worst].item(), nonnegative)


def block_of_walks(a: Tensor, vectors: Tensor, hops: int) -> tuple[Tensor, Tensor]:
    """(sum of A^m V over m < hops, A^{hops-1} V) for (..., n, n) and (..., n, c)."""
    walks, chain = _native.walk_sums(a, vectors, None, None, 1.0, hops, False, False, True)
    last = chain.reshape(*vectors.shape[:-2], hops, vectors.shape[-1], vectors.shape[-2])[..., -1, :, :].mT
    return walks.squeeze(-3), last


def _nonnegative_power_shrinks(a: Tensor) -> Tensor:
    """||A^k||_inf = max A^k 1 < 1 for some k, which proves rho < 1."""
    return _shrinks(a, torch.ones(*a.shape[:-1], 1, dtype=a.dtype), lambda image: image.abs().amax((-2, -1)))


def _power_shrinks(a: Tensor) -> Tensor:
    """||A^k||_F < 1 for some k, from its action on random vectors.

    For Gaussian Z of c columns ||A^k Z||_F^2 / c estimates ||A^k||_F^2; with c = 8 it comes out 400 times too small
    with a probability below 1e-9, whatever A^k is (the worst case is rank one: a chi-square of 8 degrees).
    """
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(a.shape[-1], _PROBES, dtype=a.dtype, generator=generator)
    scale = 20 / _PROBES**0.5
    return _shrinks(a, probes.expand(a.shape[0], -1, -1), lambda image: scale * image.square().sum((-2, -1)).sqrt())


def _shrinks(a: Tensor, vectors: Tensor, size: Callable[[Tensor], Tensor]) -> Tensor:
    shrinks = torch.zeros(a.shape[0], dtype=torch.bool)
    for hops in _PROBED_HOPS:
        vectors = block_of_walks(a, vectors, hops)[1]
        shrinks = shrinks | (size(vectors) < 0.99)
        if bool(shrinks.all()):
            break
    return shrinks


def surely_converges(a: Tensor) -> Tensor:
    """(b,): whether rho < 1 was proved for each of ``a`` (b, n, n), by the same operations for all of them.

    rho <= ||A^m||^(1/m) for every m, which goes up to 2^16 here. The norm, that of rows, may be sqrt(n) times
    rho^m even where A is normal; the root leaves a factor of 1.00005 of that at n = 1000. Powers are kept at norm 1 and
    their sizes as logarithms. Where there is NaN or Inf, nothing is proved.
    """
    size = _row_norm(a)
    least = torch.minimum(size, _row_norm(a.mT))
    power, log_radius = a, size.double().log()
    for step in range(_SQUARINGS):
        power = power / torch.where(size > 0, size, 1).unsqueeze(-1).unsqueeze(-1)
        power = power @ power
        size = _row_norm(power)
        log_radius = log_radius + size.double().log() / 2 ** (step + 1)
    rounding = a.shape[-1] * torch.finfo(a.dtype).eps
    tf32 = a.is_cuda and a.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    return (least < 1 - rounding) | (log_radius.exp() < 1 - rounding - (_TF32_ROUNDING if tf32 else 0.0))


def _row_norm(a: Tensor) -> Tensor:
    """(b,): ||A||_inf."""
    return torch.linalg.vector_norm(a, ord=1, dim=-1).amax(-1)
