"""The check before every infinite sum: a proof that rho(A) < 1, or an error. Cheap where it is clear.

The proofs there are, in the order in which they are tried, and their flops for a matrix of n units:

    norm          ||A||_1 or ||A||_inf < 1                                  2 n^2
    images        ||A^k|| < 1 seen from a few vectors, k from 16 to 1024    16 k n^2
    balance       ||D^{-1} A D|| < 1 for a diagonal D                       n^3
    eigenvalues   |lambda| < 1 by more than rounding can have moved it      some 50 n^3

The last one is not tried where so many units make it dear and an estimate of the radius is 1 or more.

Two native ops have a proof at hand, and leave the sum open where it is none, for the above to decide:

    pathway       A x < x for the solution x > 0 of a nonnegative A         none more
    all_pairs     ||A^m||_F < 1 of a graph in cache                         2 n^3 each squaring
                  or, on the CPU, ||A^m|| < 1 seen from four vectors        8 n^2 each hop

On a GPU, where to look at what is clear would mean to wait, theirs are the only ones (rrnn_ext.infinite.unseen), and
a sum that they leave open is NaN.

How sure each of them has to be: rrnn_ext.infinite.margins, and for native ops csrc/common/convergence.h.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext._errors import ResolventConditionError, ResolventDivergenceError
from rrnn_ext.infinite.balance import balanced
from rrnn_ext.infinite.margins import (
    EIGENVALUE_ROUNDINGS,
    HOPELESS,
    HOPELESS_AT_FIRST,
    PROBES,
    SHRUNK,
    UNDERESTIMATE,
    norm_rounding,
)
from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.probes import gaussian
from rrnn_ext.ops import native
from rrnn_ext.ops.finite_walks import Chain

_PROBED_HOPS = (16, 64, 256, 1024)
_HOPS_OF_AN_ESTIMATE = 64  # of the radius, at least
_MOST_PROBED_HOPS = 2**15  # for a series, which needs a power of A that shrinks
_MANY_UNITS = 256  # above this, eigenvalues are for matrices that probably converge
_VERY_MANY_UNITS = 1024  # above this, so are long chains
_AIM = 0.8  # of what is shrunk, where images are expected to be next


class Source(NamedTuple):
    """What a matrix A = alpha phi(W) is made of. In float32 it is rounded, and near a spectral radius of 1 that counts.

    ``weights`` (b, n, n); ``alpha`` () or (b,), float64; phi is the absolute value where ``nonnegative``.
    """

    weights: Tensor
    alpha: Tensor
    nonnegative: bool

    def in_float64(self, entries: Tensor | None = None) -> Tensor:
        """A of all, or of some ``entries`` of the batch."""
        weights = (self.weights if entries is None else self.weights[entries]).double()
        alpha = self.alpha if entries is None or self.alpha.dim() == 0 else self.alpha[entries]
        return alpha[..., None, None] * (weights.abs() if self.nonnegative else weights)

    def alpha_of(self, entry: int) -> float:
        return float(self.alpha if self.alpha.dim() == 0 else self.alpha[entry])


def source_of(
    weight_hh: Tensor, alpha: float, given_hh: Tensor | None, given_alpha: Tensor | None, nonnegative: bool
) -> Source:
    """Of weights that have ``alpha`` still to come, or are the product of what was given."""
    if given_hh is None or given_alpha is None:
        in_float64 = torch.full((), alpha, dtype=torch.float64, device=weight_hh.device)
        return Source(weight_hh, in_float64, nonnegative)
    # A single graph may have come to be a batch of one since it was given.
    return Source(given_hh.reshape(weight_hh.shape), given_alpha, nonnegative)


class Proof(NamedTuple):
    """What is known of a batch of matrices whose walks have a sum.

    ``norm``, (b,), is the smaller one of ||A||_1 and ||A||_inf. ``shrinks`` is (k, q) with ||A^k|| <= q < 1 for each of
    them, in the 1-norm, the 2-norm or the inf-norm; None where convergence was seen in another way.
    """

    norm: Tensor
    shrinks: tuple[int, float] | None


def prove_convergence(a: Tensor, source: Source) -> Proof:
    """Raises ResolventDivergenceError unless rho < 1 was proved for each of ``a`` (b, n, n), which was made of
    ``source``. Matrices with NaN or Inf pass: their sum is no number anyway."""
    if a.numel() == 0:
        return Proof(a.new_zeros(a.shape[0]), (1, 0.0))
    norm = norm_of(a)
    unclear = norm >= 1 - norm_rounding(a.shape[-1], a.dtype)  # NaN compares false: nothing to be clear about
    unclear &= norm.isfinite()
    clear = float(torch.where(unclear | ~norm.isfinite(), 0, norm).max())
    if not bool(unclear.any()):
        return Proof(norm, (1, clear))
    entries = unclear.nonzero().squeeze(-1)
    images = _Images(a if entries.numel() == a.shape[0] else a[entries], source.nonnegative)
    for hops in _PROBED_HOPS:
        images.advance(hops)
        if images.expected_hops() < 2 * hops:
            images.advance(images.expected_hops())
        left = images.factor >= SHRUNK
        if not bool(left.any()):
            return Proof(norm, (images.hops, max(float(images.factor.max()), clear)))
        is_last = hops == _PROBED_HOPS[-1]
        if hops >= _HOPS_OF_AN_ESTIMATE and a.shape[-1] > (_MANY_UNITS if is_last else _VERY_MANY_UNITS):
            estimate = images.radius(left)
            if float(estimate.max()) >= (HOPELESS_AT_FIRST if hops == _HOPS_OF_AN_ESTIMATE else HOPELESS):
                upper = images.factor.double().log().div(images.hops).exp().minimum(norm[entries].double())
                _refuse(estimate, upper[left], entries[left], source)
    tamed = balanced(source.in_float64(entries[left]))
    still_open = ~(norm_of(tamed) < SHRUNK)
    if bool(still_open.any()):
        radius, upper = _radius(tamed[still_open])
        if not bool((upper < 1).all()):
            _refuse(radius, upper, entries[left][still_open], source)
    return Proof(norm, None)


def shrinking_power(a: Tensor, proof: Proof, nonnegative: bool) -> tuple[int, float]:
    """(k, q) with ||A^k|| <= q < 1 for each of ``a`` (b, n, n); ResolventConditionError where k would be very large."""
    if proof.shrinks is not None:
        return proof.shrinks
    images = _Images(a, nonnegative)
    hops = _PROBED_HOPS[0]
    while hops <= _MOST_PROBED_HOPS:
        images.advance(hops)
        if bool((images.factor < SHRUNK).all()):
            return hops, float(images.factor.max())
        hops *= 2
    raise ResolventConditionError(
        math.inf, a.dtype, f'its terms do not shrink within {_MOST_PROBED_HOPS} hops; use method="inverse"'
    )


def norm_of(a: Tensor) -> Tensor:
    """(b,): the smaller one of ||A||_1 and ||A||_inf."""
    ones = torch.ones(*a.shape[:-1], 1, dtype=a.dtype, device=a.device)
    sizes = DenseOperand(a, a.double).absolute()  # its products read A once, where a sum of |A| would make it first
    return torch.minimum(sizes.forward(ones).amax((-2, -1)), sizes.transposed(ones).amax((-2, -1)))


def _refuse(estimate: Tensor, upper: Tensor, entries: Tensor, source: Source) -> None:
    """Raises the error of the worst one of what was not proved to converge."""
    worst = int(estimate.argmax())
    entry = int(entries[worst])
    is_batch = source.weights.shape[0] > 1
    raise ResolventDivergenceError(
        float(estimate[worst]),
        source.alpha_of(entry),
        source.nonnegative,
        None,
        max(float(upper[worst]), float(estimate[worst])),
        entry if is_batch else None,
    )


class _Images:
    """A^k Z for more and more hops k, and what it says of ||A^k||: ``factor`` (b,) is a bound of it.

    With A >= 0 and Z = 1 that is ||A^k||_inf itself. Otherwise Z is Gaussian, of c columns: ||A^k Z||_F^2 / c estimates
    ||A^k||_F^2, and with c = 8 it comes out 400 times too small with a probability below 1e-9, whatever A^k is (the
    worst case is rank one: a chi-square of 8 degrees). What overflows in float32 goes on in float64.
    """

    def __init__(self, a: Tensor, nonnegative: bool) -> None:
        self.nonnegative = nonnegative
        self.a = a
        self.hops = 0
        if nonnegative:
            self.start = torch.ones(*a.shape[:-1], 1, dtype=a.dtype, device=a.device)
        else:
            self.start = gaussian(a.shape[-1], PROBES, a).expand(a.shape[0], -1, -1)
        self.vectors = self.start
        self.factor = self._factor()
        self.growth = torch.ones_like(self.factor)  # per hop, in the last ones

    def advance(self, hops: int) -> None:
        """To ``hops`` in all."""
        before, since = self.factor.double(), hops - self.hops
        if since == 0:
            return
        self.vectors = walks_in_blocks(self.a, self.vectors, since)[1]
        if self.a.dtype == torch.float32 and not bool(self.vectors.isfinite().all()):
            self.a, self.start = self.a.double(), self.start.double()
            self.vectors = walks_in_blocks(self.a, self.start, hops)[1]
        self.hops = hops
        self.factor = self._factor()
        self.growth = (self.factor / before).log().div(since).exp()

    def expected_hops(self) -> int:
        """At which all have shrunk, if they go on as in the last hops; the same number where they have."""
        more = (self.factor.double() / (_AIM * SHRUNK)).log() / -self.growth.log()
        slowest = float(torch.where(self.factor < SHRUNK, 0, torch.where(self.growth < 1, more, math.inf)).max())
        return self.hops + math.ceil(min(slowest, _MOST_PROBED_HOPS) / 8) * 8

    def _factor(self) -> Tensor:
        if self.nonnegative:
            size = self.vectors.abs().amax((-2, -1))
        else:
            size = UNDERESTIMATE / PROBES**0.5 * self.vectors.square().sum((-2, -1)).sqrt()
        return size.nan_to_num(nan=math.inf)

    def radius(self, chosen: Tensor) -> Tensor:
        """An estimate of rho of the chosen ones, (b,): the largest eigenvalue of A between the images, or their growth
        if that is more. Where they have overflowed they begin anew, with norm 1 at each hop."""
        a, vectors = self.a[chosen], self.vectors[chosen]
        if not bool(vectors.isfinite().all()):
            vectors = self.start[chosen]
            for _ in range(self.hops):
                vectors = a @ (vectors / vectors.abs().amax((-2, -1), keepdim=True))
        basis = torch.linalg.qr(vectors / vectors.abs().amax((-2, -1), keepdim=True))[0]
        between = torch.linalg.eigvals((basis.mT @ (a @ basis)).double()).abs().amax(-1)
        growth = self.growth[chosen]
        return between.maximum(torch.where(growth.isfinite(), growth, 0))


def walks_in_blocks(a: Tensor, vectors: Tensor, hops: int) -> tuple[Tensor, Tensor]:
    """(sum of A^m V over m < hops, A^hops V) for (b, n, n) and (b, n, c)."""
    options = {"hop_weights": None, "alpha": 1.0, "hops": hops, "rectify": False, "per_hop": False}
    walks, chain = native.finite_walks(a, vectors, None, **options, chain_kind=Chain.narrow)
    return walks.squeeze(-3), native.hop(a, chain[..., -1, :, :], 1.0, False, False).mT


def _radius(a: Tensor) -> tuple[Tensor, Tensor]:
    """(b,) of balanced (b, n, n) in float64: rho, and the most that it can be when rounding moved each eigenvalue by
    its condition number times that of A (Wilkinson 1965)."""
    radii, bounds = [], []
    for matrix in a.cpu():
        values, right = torch.linalg.eig(matrix)
        left = torch.linalg.inv_ex(right)[0]
        condition = torch.linalg.vector_norm(left, dim=-1) * torch.linalg.vector_norm(right, dim=-2)
        moved = (
            EIGENVALUE_ROUNDINGS
            * torch.finfo(a.dtype).eps
            * torch.linalg.matrix_norm(matrix)
            * condition.nan_to_num(nan=math.inf)
        )
        radii.append(values.abs().amax())
        bounds.append((values.abs() + moved).amax())
    return torch.stack(radii).to(a.device), torch.stack(bounds).to(a.device)
