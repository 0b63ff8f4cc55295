"""Infinite sums on a GPU, where to look at a value would mean to wait: all of it is done whatever the values are.

The kernels of all pairs prove that the walks of each graph have a sum, and make their inverse, on the device. With
thin sides too that is the shortest way. A proof by powers takes n^3 operations anyway, 2 n^3 a squaring, and there are
as many as the slowest graph needs (5 at a spectral radius of 0.9, 9 at 0.99). To carry the sum of walks along, S_2m =
S_m + A^m S_m, doubles them; an inverse costs one more. To factorise takes fewer operations, 2/3 n^3, but PyTorch does
that to a batch by routines that wait for the device.
"""

from __future__ import annotations

from torch import Tensor

from rrnn_ext._options import Norm
from rrnn_ext.ops import native


class Inverse:
    """(I - A)^{-1} for A = alpha phi(W) of weight_hh (b, n, n): solutions from both sides, as lapack.Factorised has
    them; NaN for a graph whose walks were not proved to have a sum.

    ``walks`` (b, n, n) is A + A^2 + ..; ``known`` (b,) is 0 where nothing was proved.
    """

    def __init__(self, weight_hh: Tensor, alpha: float = 1.0, rectify: bool = False) -> None:
        self._edges = weight_hh, alpha, rectify
        _, self.walks, self.known = native.all_pairs_penalty(weight_hh, None, alpha, rectify, int(Norm.l1))

    def solve(self, right: Tensor) -> Tensor:
        """X (b, n, c) with (I - A) X = ``right``."""
        return self._solve(right, transposed=False)

    def solve_transposed(self, right: Tensor) -> Tensor:
        """Y (b, n, c) with (I - A') Y = ``right``."""
        return self._solve(right, transposed=True)

    def _solve(self, right: Tensor, transposed: bool) -> Tensor:
        def inverse_of(vectors: Tensor) -> Tensor:
            return vectors + native.hop(self.walks, vectors.mT, 1.0, False, transposed).mT

        # By hops, which no setting of torch.matmul makes less precise. What an inverse leaves in a residual, a
        # factorisation would not: one step of refinement takes it away.
        x = inverse_of(right)
        residual = right - (x - native.hop(self._edges[0], x.mT, *self._edges[1:], transposed).mT)
        return x + inverse_of(residual)
