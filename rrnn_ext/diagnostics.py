"""Does the sum of all walks converge, and what does cutting it off leave out?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rrnn_ext._arguments import check_alpha, check_numbers, check_weight_hh
from rrnn_ext._modes import transforming
from rrnn_ext._options import check_hops, check_switch
from rrnn_ext.infinite import lapack
from rrnn_ext.infinite.balance import balanced
from rrnn_ext.infinite.knowledge import Knowledge, known_of
from rrnn_ext.infinite.margins import RADIUS_ROUNDING
from rrnn_ext.infinite.operands import DenseOperand
from rrnn_ext.infinite.proof_by_products import Signed
from rrnn_ext.sharded import is_sharded
from rrnn_ext.sharded.gathered import gathered
from rrnn_ext.sparse.call import is_sparse
from rrnn_ext.sparse.convergence import cycles_of
from rrnn_ext.sparse.operand import SparseOperand
from rrnn_ext.sparse.pattern import SparseWeight, edges_of

_MANY_UNITS = 2048  # above which eigenvalues are too dear


class ResolventInfo(NamedTuple):
    """What :func:`resolvent_info` tells; each a tensor of the batch's shape, float64 but for ``converges``.

    Attributes:
        spectral_radius: of A = alpha phi(weight_hh). By products alone, the middle of its bounds where A is not
            negative, and else the largest modulus that Arnoldi's iteration finds: an estimate.
        converges: whether the sum over all walks does, spectral_radius < 1. By products alone: whether it was proved
            to, upper_bound < 1.
        tail_bound: || sum_{m >= hops} A^m ||_2, the most that truncation at ``hops`` leaves out of a walk sum between
            unit vectors; infinite where the sum diverges. None where hops is None. By products alone it is a bound of
            that, as sure as upper_bound is, but for a probability of 1e-12 for each of the hops looked at where A has
            both signs; infinite too where no bound was found.
        max_alpha: the sum converges for every smaller alpha, as surely as upper_bound is one. By products alone and for
            signed weights, it may be more than that of a :class:`ResolventDivergenceError`, whose bound is less close.
        lower_bound, upper_bound: of the spectral radius. By the eigenvalues both are spectral_radius, which is right
            but for rounding. By products alone they are certain where A is not negative, rounding included (Collatz &
            Wielandt, within strongly connected components). Where A has both signs no lower bound is known, 0, and the
            upper one is certain where it is that of ``|A|``, else it holds but for a probability below 1e-10 (Halko,
            Martinsson & Tropp 2011, Lemma 4.1, of powers of A), for weights chosen without regard to the probes.
    """

    spectral_radius: Tensor
    converges: Tensor
    tail_bound: Tensor | None
    max_alpha: Tensor
    lower_bound: Tensor
    upper_bound: Tensor


@torch.no_grad()
def resolvent_info(
    weight_hh: Tensor | SparseWeight,
    *,
    alpha: float | Tensor = 1.0,
    hops: int | None = None,
    rectify: bool = False,
) -> ResolventInfo:
    """Spectral radius, convergence and truncation error of the walks of ``weight_hh`` (..., n, n), or sparse (n, n).

    In float64; meant for a look now and then, not for every step. Up to 2048 units of a dense weight computed from the
    eigenvalues, O(n^3). Beyond, and for a sparse weight as :func:`rrnn_ext.resolvent_penalty` takes it, bounds by
    products with the matrix alone: some hundreds of them, and as many as the bounds take for a radius near 1, up to
    32,768 with 16 vectors. NaN weights give a NaN radius that does not converge.

    ::

        info = rrnn_ext.resolvent_info((0.5 * torch.eye(3)).to_sparse_csr(), hops=4)
        assert info.converges
        assert info.lower_bound <= info.spectral_radius <= info.upper_bound
    """
    rectify = check_switch("rectify", rectify)
    if is_sparse(weight_hh):
        return _of_sparse(weight_hh, alpha, check_hops(hops), rectify)
    check_weight_hh(weight_hh)
    hops = check_hops(hops)
    alpha = check_alpha(gathered(alpha), weight_hh, tuple(weight_hh.shape[:-2]))
    if is_sharded(weight_hh):
        from rrnn_ext.sharded.route import row_operand

        rows = row_operand(weight_hh, float(alpha), rectify) if weight_hh.dim() == 2 else None
        if rows is not None:
            return _of_rows(rows, float(alpha), hops)
        weight_hh = gathered(weight_hh)
    phi = weight_hh.detach().double()
    if rectify:
        phi = phi.abs()
    factor = (
        alpha.detach().to(phi) if isinstance(alpha, Tensor) else torch.tensor(alpha, dtype=phi.dtype, device=phi.device)
    )
    batch = torch.broadcast_shapes(phi.shape[:-2], factor.shape)
    phi = phi.expand(*batch, *phi.shape[-2:])
    if phi.shape[-1] > _MANY_UNITS and phi.device.type == "cpu":
        factors = factor.expand(batch).reshape(-1).tolist()
        graphs = zip(phi.reshape(-1, *phi.shape[-2:]), factors, strict=True)
        known = [_known_of_dense(matrix, own, hops) for matrix, own in graphs]
        return _as_info(known, factor.expand(batch).reshape(-1), batch)
    base = spectral_radius(phi)
    radius = factor * base
    converges = is_below_one(radius)
    tail = None if hops is None else _tail(factor[..., None, None] * phi, hops, converges)
    return ResolventInfo(radius, converges, tail, 1 / base, radius, radius)


def _of_sparse(
    weight_hh: Tensor | SparseWeight, alpha: float | Tensor, hops: int | None, rectify: bool
) -> ResolventInfo:
    pattern, values = edges_of(weight_hh)
    check_numbers(values)
    factor = torch.as_tensor(check_alpha(alpha, values, ()), dtype=torch.float64, device=values.device)
    operand = SparseOperand(values.double(), pattern.indices, float(factor), rectify)
    cycles = cycles_of(operand, pattern.indices)
    known = known_of(operand, cycles.operand, cycles.components, operand.is_nonnegative(), hops)
    return _as_info([known], factor.reshape(1), torch.Size())


def _of_rows(operand: Signed, alpha: float, hops: int | None) -> ResolventInfo:
    device = operand.poison().device
    one_component = torch.zeros(operand.units, dtype=torch.int64, device=device)
    known = known_of(operand, operand, one_component, operand.is_nonnegative(), hops)
    return _as_info([known], torch.tensor([alpha], dtype=torch.float64, device=device), torch.Size())


def _known_of_dense(matrix: Tensor, alpha: float, hops: int | None) -> Knowledge:
    """One that has zeros has components, and is seen as a sparse one."""
    if bool((matrix == 0).any()):
        pattern, values = edges_of(matrix.to_sparse_csr())
        operand = SparseOperand(values, pattern.indices, alpha, False)
        cycles = cycles_of(operand, pattern.indices)
        return known_of(operand, cycles.operand, cycles.components, operand.is_nonnegative(), hops)
    dense = DenseOperand((alpha * matrix).contiguous(), lambda: alpha * matrix)
    whole = torch.zeros(len(matrix), dtype=torch.int64)
    return known_of(dense, dense, whole, bool((matrix > 0).all()), hops)


def _as_info(known: Sequence[Knowledge], factors: Tensor, batch: torch.Size) -> ResolventInfo:
    def told(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=factors.device).reshape(batch)

    upper = told([each.upper for each in known])
    tails = [each.tail for each in known if each.tail is not None]
    return ResolventInfo(
        told([each.radius for each in known]),
        upper < 1,
        told(tails) if len(tails) == len(known) and known else None,
        factors.reshape(batch) / upper,
        told([each.lower for each in known]),
        upper,
    )


def spectral_radius(matrices: Tensor) -> Tensor:
    """The largest |eigenvalue| of (..., n, n), in float64; NaN where an element is not finite."""
    finite = matrices.isfinite().all(-1).all(-1)
    if matrices.shape[-1] == 0 or finite.numel() == 0:
        return torch.zeros(finite.shape, dtype=torch.float64, device=matrices.device)
    if matrices.is_meta:
        return torch.empty(finite.shape, dtype=torch.float64, device="meta")
    clean = torch.where(finite[..., None, None], matrices, 0).double()
    if not transforming(clean):  # else LAPACK has to do with its own way of balancing
        clean = balanced(clean.reshape(-1, *clean.shape[-2:])).reshape(clean.shape)
    # On the CPU: not every build of PyTorch for CUDA has eigenvalues.
    radius = torch.linalg.eigvals(clean.cpu()).abs().amax(-1).to(matrices.device)
    return torch.where(finite, radius, torch.nan)


def is_below_one(radius: Tensor) -> Tensor:
    """Whether a computed radius is: eigenvalues are known to a few units of rounding only."""
    return radius < 1 - RADIUS_ROUNDING


def _tail(a: Tensor, hops: int, converges: Tensor) -> Tensor:
    """|| A^hops (I - A)^{-1} ||_2."""
    if a.numel() == 0:
        return torch.zeros(converges.shape, dtype=a.dtype, device=a.device)
    clean = torch.where(converges[..., None, None], a, 0).reshape(-1, *a.shape[-2:])
    left_out = lapack.Factorised(clean).solve(torch.linalg.matrix_power(clean, hops)).reshape(a.shape)
    return torch.where(converges, torch.linalg.matrix_norm(left_out, ord=2), torch.inf)
