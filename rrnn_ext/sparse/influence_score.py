"""The influence of units on all units of a connectome, as connectomics scores it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrnn_ext._arguments import check_numbers, check_weight_hh
from rrnn_ext._errors import ResolventConditionError
from rrnn_ext._options import check_switch
from rrnn_ext.infinite.krylov import solve_by_products
from rrnn_ext.infinite.radius import spectral_radius as estimated_radius
from rrnn_ext.infinite.sweeps import solve_by_sweeps
from rrnn_ext.sparse.call import check_side, is_sparse
from rrnn_ext.sparse.convergence import cycles_of, prove_convergence
from rrnn_ext.sparse.operand import SparseOperand
from rrnn_ext.sparse.pattern import SparseWeight, edges_of

_RADIUS_TOLERANCE = 1e-12
_MOST_DOUBT = 1e-9


@torch.no_grad()
def influence(
    weight_hh: Tensor | SparseWeight,
    sources: Tensor,
    *,
    rectify: bool = False,
    share: float = 0.99,
    spectral_radius: float | None = None,
    tol: float = 1e-10,
) -> Tensor:
    """What each unit comes to in the steady state when a source is driven: ``r = (I - share W / rho)^{-1} s``.

    The steady state of ``tau dr/dt = -r + W r + s`` with W scaled to a spectral radius of ``share``: the walks from the
    source to each unit, of any length, all added up, each edge with a factor of ``share / rho``. Here W is
    ``weight_hh``, or ``|weight_hh|`` with ``rectify`` (unsigned weights), and rho is its spectral radius.
    :func:`adjusted` has the logarithm that is usually shown. It is not differentiable;
    ``resolvent(weight_hh, sources, alpha=share / rho)`` is, of the same walks with one more factor alpha.

    ::

        places = torch.tensor([[1, 2, 0], [0, 1, 2]])  # row = target, column = source: 0 -> 1 -> 2 -> 0
        weight_hh = torch.sparse_coo_tensor(places, torch.tensor([5.0, 2.0, 0.1]), (3, 3))
        scores = rrnn_ext.sparse.influence(weight_hh, torch.tensor([0]))  # (3, 1): of unit 0 on 0, 1 and 2

    Args:
        weight_hh: sparse, (n, n), row = target, column = source, as :func:`rrnn_ext.resolvent_penalty` takes it; or
            dense, of which what is not zero is taken. Computed in float64.
        sources: int64 (s,), the numbers of the units that are driven, one at a time; or (n, s), the drive of each unit
            in each of s cases, such as 1 for all of a group.
        rectify: whether the weights count without their signs.
        share: the spectral radius of the scaled W, above 0 and below 1.
        spectral_radius: rho where it is known. It is taken as it is, once it is proved that the sum converges.
        tol: what may be left of each column: ``||s - (I - share W / rho) r|| <= tol ||s||``, or rounding where that
            is more.

    Returns:
        (n, s), float64: r for each source.

    rho is within 1e-12 of that of W, relatively, where the weights are not negative, but for the rounding of n sums:
    between the bounds of Collatz and Wielandt, which are certain. Else it is the largest modulus that Arnoldi's
    iteration finds, of complex pairs too, and exactly that of a matrix within 1e-12 rho of W. All sources are solved
    for together; beside the weights and the result that takes some 100 numbers a unit and source.

    Raises:
        ValueError, TypeError: an argument does not fit, or a weight is no finite number; or no cycle leads back to a
            unit: then rho is 0, and every ``alpha`` of :func:`rrnn_ext.resolvent` will do.
        ResolventDivergenceError: ``spectral_radius`` is too small: the sum was not proved to converge.
        ResolventConditionError: rho was not found, to 1e-9 at the least, or the residual was not reached.

    Source: Drugowitsch lab, ConnectomeInfluenceCalculator, github.com/DrugowitschLab/ConnectomeInfluenceCalculator,
    which scales by the largest real part of an eigenvalue in place of the modulus. For weights without signs, and for
    others whose largest eigenvalue is real and positive, that is the same; else the sum of walks need not exist there.
    """
    rectify = check_switch("rectify", rectify)
    if not is_sparse(weight_hh):
        check_weight_hh(weight_hh)
        weight_hh = weight_hh.detach().to_sparse_csr()
    pattern, values = edges_of(weight_hh)
    check_numbers(values)
    if not bool(values.isfinite().all()):
        raise ValueError("weight_hh must be finite, got NaN or Inf among its values")
    check_side("sources", sources, values, pattern.units)
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1, got {share}")
    if not 0 < tol < 1:
        raise ValueError(f"tol must be above 0 and below 1, got {tol}")
    wide = values.double()
    rho = spectral_radius
    if rho is None:
        rho = _radius(SparseOperand(wide, pattern.indices, 1.0, rectify), pattern.indices)
    if not 0 < rho < math.inf:
        raise ValueError(f"rho must be finite and positive, the spectral radius of weight_hh, got {rho}")
    operand = SparseOperand(wide, pattern.indices, share / rho, rectify)
    if spectral_radius is not None:
        prove_convergence(operand, pattern.indices, share / rho, rectify)
    drive = sources.double()
    if not sources.is_floating_point():
        drive = wide.new_zeros(pattern.units, len(sources)).scatter(0, sources.unsqueeze(0), 1.0)
    return (solve_by_products if drive.is_cuda else solve_by_sweeps)(operand, drive, tolerance=tol)


def _radius(operand: SparseOperand, indices: tuple[Tensor, ...]) -> float:
    cycles = cycles_of(operand, indices)
    if operand.is_nonnegative():
        lower, upper = cycles.bounds_of_absolute(_RADIUS_TOLERANCE)
        radius, doubt = (lower + upper) / 2, (upper - lower) / upper if 0 < upper < math.inf else 0.0
    else:
        radius, doubt = estimated_radius(cycles.operand, _RADIUS_TOLERANCE)
    if doubt > _MOST_DOUBT:
        raise ResolventConditionError(math.inf, torch.float64, f"rho was not found but near {radius}; give it")
    return radius


def adjusted(influence: Tensor, floor: float = 24.0) -> Tensor:
    """The influence on a logarithmic scale: ``sign(r) (log max(|r|, e^-floor) + floor)``, in the shape it is given in.

    Scores span many orders of magnitude. What is below ``e^-floor`` is 0, and what is inhibited is negative. NaN stays.

    ::

        rrnn_ext.sparse.adjusted(torch.tensor([1.0, -1.0, 1e-20]))  # 24, -24, 0

    Source: as of :func:`influence`; 24 is its constant, "so that well connected neurons are above 0".
    """
    return influence.sign() * (influence.abs().log() + floor).clamp(min=0)
