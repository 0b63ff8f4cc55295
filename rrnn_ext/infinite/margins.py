"""How sure one has to be of an infinite sum: every margin of a proof or of an estimate, each with its reason.

csrc/common/convergence.h has those of native kernels, which leave open what they are not sure of. ``eps`` is the
unit of rounding of the dtype that is computed in.
"""

from __future__ import annotations

import torch

# The largest estimate of a column's error, relative to its largest entry, with which a solution is returned: also
# kTolerance of native kernels.
LARGEST_ERROR = 2.0**-11

# Of ||A|| below this, ||(I - A)^{-1}|| <= 10: no digits are lost, nothing has to be estimated.
SMALL_NORM = 0.9

# Of ||A^k|| below this, rounding cannot have made the image of vectors so small.
SHRUNK = 0.99

# Gaussian vectors that are looked at; so few may show a norm too small by UNDERESTIMATE, but with a probability below
# 1e-9, and the size of one row by CERTAINTY, but below 1e-4.
PROBES = 8
UNDERESTIMATE = 20.0
CERTAINTY = 4.0

# In units of rounding: what a term of a residual may be off by; what may have moved an eigenvalue, times its condition
# number and ||A||; what may have moved A^k B; what a backward stable inverse leaves in a residual, times sqrt(n).
TERM_ROUNDINGS = 4.0
EIGENVALUE_ROUNDINGS = 4
POWER_ROUNDINGS = 4
INVERSE_ROUNDINGS = 16

# In units of rounding: where an iteration of products stops, of a column's right side and solution; and what the true
# residual may be of the terms it was made of, |B| + |X| + |A| |X|, as a backward stable factorisation leaves it.
KRYLOV_ROUNDINGS = 4.0
BACKWARD_ROUNDINGS = 16.0

# Times 1 / sqrt(n), what may be left of Gaussian vectors of n units, or of a residual, where the size of a solution is
# wanted: what they have of one direction in n, which I - A may enlarge more than all others, is still seen then.
ROUGH = 2.0**-4

# A series ends when what is left out is below this many units of rounding of the sum.
LEFT_OUT_ROUNDINGS = 0.25

# An estimate of the radius from which on dear proofs are not tried: after the fewest hops, when it is rough, and later.
HOPELESS_AT_FIRST = 1.05
HOPELESS = 1.0

# The radius by the eigenvalues, in float64: known to a few units of rounding only.
RADIUS_ROUNDING = 1e-12


def norm_rounding(n: int, dtype: torch.dtype) -> float:
    """What rounding may have taken from a norm of n x n numbers, or from a bound of the radius, near 1."""
    return n * torch.finfo(dtype).eps
