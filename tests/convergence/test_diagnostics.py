"""Where the infinite sum converges: resolvent_info, ResolventDivergenceError, values on either side of the edge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from support.device import DEVICE, there
from support.random_weights import on_cpu as weights
from torch import Tensor

import rrnn_ext
from rrnn_ext.infinite import deferred

resolvent_penalty = there(rrnn_ext.resolvent_penalty)
resolvent = there(rrnn_ext.resolvent)
resolvent_info = there(rrnn_ext.resolvent_info)
METHODS = ["auto", "series", "inverse"]
ROTATION = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
ONE_IN = torch.tensor([[1.0], [0.0]], dtype=torch.float64)


def ginibre(n: int, radius: float, rectify: bool = False, dtype: torch.dtype = torch.float64) -> Tensor:
    """Gaussian weights scaled to the given spectral radius of W, or of |W|."""
    w = torch.randn(n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    return (radius / radius_of(w.abs() if rectify else w) * w).to(dtype)


def radius_of(w: Tensor) -> float:
    return float(np.abs(scipy.linalg.eigvals(w.double().numpy())).max())


def shifted(n: int, diagonal: float, step: float, rotate: bool = False) -> Tensor:
    """One Jordan-like block: eigenvalue ``diagonal``, ``step`` above it; in a random basis if ``rotate``."""
    w = diagonal * torch.eye(n, dtype=torch.float64) + step * torch.diag(torch.ones(n - 1, dtype=torch.float64), 1)
    if rotate:
        basis, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        w = basis @ w @ basis.mT
    return w


def assert_diverges(w: Tensor, *sides: Tensor | None, **options: Any) -> rrnn_ext.ResolventDivergenceError:
    """By an error, or on a GPU by NaN and a later error, which knows no numbers: those of the CPU are returned."""
    for function in (rrnn_ext.resolvent_penalty, rrnn_ext.resolvent):
        if DEVICE.type == "cuda":
            assert there(function)(w, *sides, hops=None, **options).isnan().any()
            with pytest.raises(rrnn_ext.ResolventDivergenceError, match="an earlier sum over all walks on cuda:0"):
                deferred.raise_noted(torch.device("cuda", 0))
        with pytest.raises(rrnn_ext.ResolventDivergenceError) as raised:
            function(w, *sides, hops=None, **options)
    return raised.value


def tail_bound_of(w: Tensor, *, hops: int, rectify: bool = False) -> float:
    bound = resolvent_info(w, hops=hops, rectify=rectify).tail_bound
    assert bound is not None
    return bound.item()


@pytest.mark.parametrize("method", METHODS)
class TestInfiniteSum:
    def test_rotation(self, method: str) -> None:
        """Half the terms vanish and the others alternate: 1 / (1 + r^2) [[1, r], [-r, 1]]."""
        r = 0.9
        expected = torch.tensor([[1.0, r], [-r, 1.0]], dtype=torch.float64) / (1 + r * r)
        eye = torch.eye(2, dtype=torch.float64)
        torch.testing.assert_close(resolvent(r * ROTATION, method=method), expected - eye, rtol=1e-12, atol=0)
        thin = resolvent(r * ROTATION, ONE_IN, method=method)
        torch.testing.assert_close(thin, expected[:, :1], rtol=1e-12, atol=0)

    @pytest.mark.parametrize("sides", [(), (ONE_IN,), (ONE_IN, ONE_IN.mT)], ids=["all pairs", "U", "U and V"])
    @pytest.mark.parametrize(
        "w",
        [
            1.001 * ROTATION,
            ROTATION,
            *(torch.diag(torch.tensor(pair)) for pair in ((1.0, 0.5), (-1.0, 0.5), (-1.5, 0.5), (0.5, 1e6))),
            3 * torch.ones(2, 2),
        ],
        ids=["1.001 rotation", "rotation", "1", "-1", "-1.5", "1e6", "rank one"],
    )
    def test_on_and_outside_the_circle(self, w: Tensor, sides: tuple[Tensor, ...], method: str) -> None:
        """The inverse of I - A exists for most of these and is not the sum."""
        assert_diverges(w.double(), *sides, method=method)

    @pytest.mark.parametrize("rotate", [False, True])
    def test_strongly_non_normal(self, rotate: bool, method: str) -> None:
        """Powers first grow by orders of magnitude, then the sum converges."""
        w = shifted(10, 0.5, 2.0, rotate)
        assert torch.linalg.matrix_norm(torch.linalg.matrix_power(w, 8), 2) > 1e3
        u, v = weights(10, 2, 3)["weight_in"], weights(10, 2, 3)["weight_out"]
        expected = v.numpy() @ scipy.linalg.solve(np.eye(10) - w.numpy(), u.numpy())
        actual = resolvent(w, u, v, method=method)
        np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-9 * np.abs(expected).max())

    def test_all_walks_end(self, method: str) -> None:
        """A graph without cycles: the sum is finite, however large the weights."""
        w = torch.triu(100 * torch.ones(5, 5, dtype=torch.float64), 1)
        powers = sum(torch.linalg.matrix_power(w, k) for k in range(1, 5))
        torch.testing.assert_close(resolvent(w, method=method), powers, rtol=1e-12, atol=0)

    def test_non_normal_and_diverging(self, method: str) -> None:
        assert_diverges(shifted(10, 1.05, 2.0), method=method)
        assert_diverges(shifted(10, 1.05, 1e-3), method=method)

    def test_hidden_block(self, method: str) -> None:
        """The block that diverges is not reachable from the input, and not seen by the output."""
        w = torch.block_diag(0.5 * torch.eye(3), 1.1 * torch.eye(2)).double()
        u, v = torch.zeros(5, 1, dtype=torch.float64), torch.zeros(1, 5, dtype=torch.float64)
        u[0], v[0, 0] = 1.0, 1.0
        for sides in ((u,), (None, v), (u, v)):
            assert_diverges(w, *sides, method=method)
            assert_diverges(w, *sides, method=method, rectify=True)

    def test_zero_inputs(self, method: str) -> None:
        zero = torch.zeros(2, 1, dtype=torch.float64)
        assert_diverges(1.5 * torch.eye(2, dtype=torch.float64), zero, method=method)
        assert_diverges(1.5 * torch.eye(2, dtype=torch.float64), zero, zero.mT, method=method, rectify=True)
        fine = resolvent_penalty(0.5 * torch.eye(2).double(), zero, method=method, rectify=True)
        assert fine.item() == 0

    def test_rectified_may_diverge_where_signed_does_not(self, method: str) -> None:
        w = 0.6 * torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
        assert torch.isfinite(resolvent(w, method=method)).all()
        error = assert_diverges(w, method=method, rectify=True)
        assert error.spectral_radius == pytest.approx(1.2, rel=1e-6)

    def test_one_of_a_batch(self, method: str) -> None:
        w = torch.stack([0.5 * ROTATION, 1.25 * ROTATION, 0.9 * ROTATION])
        for sides in ((), (ONE_IN,), (ONE_IN, ONE_IN.mT)):
            error = assert_diverges(w, *sides, method=method)
            assert error.spectral_radius == pytest.approx(1.25, rel=1e-6)
            assert error.max_alpha == pytest.approx(0.8, rel=1e-6)

    def test_one_alpha_of_a_batch(self, method: str) -> None:
        alpha = torch.tensor([0.5, 2.0], dtype=torch.float64)
        error = assert_diverges((0.8 * ROTATION).expand(2, 2, 2), ONE_IN, alpha=alpha, method=method)
        assert error.spectral_radius == pytest.approx(1.6, rel=1e-6)
        assert error.max_alpha == pytest.approx(1.25, rel=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    @pytest.mark.parametrize("rectify", [False, True])
    @pytest.mark.parametrize("n", [64, 200])
    def test_near_the_edge(self, n: int, rectify: bool, dtype: torch.dtype, method: str) -> None:
        sides = [matrix.to(dtype) for matrix in (weights(n, 2, 3)["weight_in"], weights(n, 2, 3)["weight_out"])]
        inside = ginibre(n, 0.99, rectify, dtype)
        phi = (torch.abs if rectify else torch.clone)(inside).double().numpy()
        u, v = ((torch.abs if rectify else torch.clone)(m).double().numpy() for m in sides)
        expected = v @ scipy.linalg.solve(np.eye(n) - phi, u)
        actual = resolvent(inside, *sides, rectify=rectify, method=method)
        condition = np.linalg.cond(np.eye(n) - phi)
        allowed = 8 * torch.finfo(dtype).eps * condition * np.linalg.norm(expected)
        assert np.abs(actual.double().numpy() - expected).max() < allowed
        outside = ginibre(n, 1.01, rectify, dtype)
        error = assert_diverges(outside, *sides, rectify=rectify, method=method)
        assert error.spectral_radius == pytest.approx(1.01, rel=1e-4)

    def test_every_alpha_below_the_largest_converges(self, method: str) -> None:
        w = ginibre(30, 2.0)
        error = assert_diverges(w, method=method)
        assert torch.isfinite(resolvent(w, alpha=0.999 * error.max_alpha, method=method)).all()
        assert_diverges(w, alpha=1.001 * error.max_alpha, method=method)


class TestDivergenceError:
    def test_is_a_value_error_with_both_numbers(self) -> None:
        error = assert_diverges(1.25 * torch.eye(2, dtype=torch.float64))
        assert isinstance(error, ValueError)
        assert type(error.spectral_radius) is float
        assert type(error.max_alpha) is float
        assert error.spectral_radius == pytest.approx(1.25)
        assert error.max_alpha == pytest.approx(0.8)
        assert "1.25" in str(error)
        assert "0.8" in str(error)

    def test_largest_alpha_is_absolute(self) -> None:
        """Not a factor on the alpha that was given."""
        error = assert_diverges(ROTATION, alpha=4.0)
        assert error.spectral_radius == pytest.approx(4.0)
        assert error.max_alpha == pytest.approx(1.0)

    def test_finite_sums_do_not_raise_it(self) -> None:
        assert torch.isfinite(resolvent_penalty(1.25 * ROTATION, hops=5))

    def test_nothing_is_raised_for_nan(self) -> None:
        assert torch.isnan(resolvent_penalty(math.nan * ROTATION, hops=None))


class TestInfo:
    def test_rotation(self) -> None:
        info = resolvent_info(0.9 * ROTATION)
        assert info.spectral_radius.item() == pytest.approx(0.9, rel=1e-14)
        assert info.converges.item() is True
        assert info.max_alpha.item() == pytest.approx(1 / 0.9, rel=1e-14)
        assert info.tail_bound is None
        assert info.spectral_radius.shape == info.converges.shape == info.max_alpha.shape == ()

    def test_alpha_scales_the_radius_alone(self) -> None:
        info = resolvent_info(0.9 * ROTATION, alpha=2.0)
        assert info.spectral_radius.item() == pytest.approx(1.8, rel=1e-14)
        assert info.converges.item() is False
        assert info.max_alpha.item() == pytest.approx(1 / 0.9, rel=1e-14)

    def test_a_radius_of_one_does_not_converge(self) -> None:
        info = resolvent_info(torch.stack([torch.eye(2), -torch.eye(2), ROTATION]).double(), hops=2)
        assert not info.converges.any()
        assert info.tail_bound is not None
        assert info.tail_bound.isinf().all()

    @pytest.mark.parametrize("rectify", [False, True])
    def test_eigenvalues_of_scipy(self, rectify: bool) -> None:
        w = ginibre(50, 3.0)
        expected = radius_of(w.abs() if rectify else w)
        info = resolvent_info(w, alpha=0.25, rectify=rectify)
        assert info.spectral_radius.item() == pytest.approx(0.25 * expected, rel=1e-10)
        assert info.max_alpha.item() == pytest.approx(1 / expected, rel=1e-10)

    def test_batch(self) -> None:
        w = torch.stack([0.5 * ROTATION, 1.25 * ROTATION]).reshape(2, 1, 2, 2)
        info = resolvent_info(w, hops=3)
        assert info.spectral_radius.shape == info.converges.shape == info.max_alpha.shape == (2, 1)
        assert info.tail_bound is not None
        assert info.tail_bound.shape == (2, 1)
        torch.testing.assert_close(info.spectral_radius.flatten(), torch.tensor([0.5, 1.25], dtype=torch.float64))
        assert info.converges.flatten().tolist() == [True, False]
        assert math.isinf(info.tail_bound[1, 0])
        assert torch.isfinite(info.tail_bound[0, 0])

    def test_one_alpha_for_each_of_a_batch(self) -> None:
        info = resolvent_info(ROTATION.expand(2, 2, 2), alpha=torch.tensor([0.5, 2.0], dtype=torch.float64))
        torch.testing.assert_close(info.spectral_radius, torch.tensor([0.5, 2.0], dtype=torch.float64))
        torch.testing.assert_close(info.max_alpha, torch.ones(2, dtype=torch.float64))

    @pytest.mark.parametrize("hops", [1, 5, 40])
    @pytest.mark.parametrize(
        "w",
        [
            0.9 * ROTATION,
            ginibre(20, 0.95),
            shifted(8, 0.5, 2.0),
            shifted(8, 0.5, 2.0, rotate=True),
            -0.99 * torch.eye(2),
        ],
        ids=["rotation", "ginibre", "non-normal", "non-normal rotated", "-0.99"],
    )
    def test_tail_bound(self, w: Tensor, hops: int) -> None:
        """It is at least the norm of sum_{m >= L} A^m = A^L (I - A)^{-1}."""
        a = w.double().numpy()
        tail = np.linalg.matrix_power(a, hops) @ scipy.linalg.inv(np.eye(len(a)) - a)
        bound = tail_bound_of(w.double(), hops=hops)
        assert math.isfinite(bound)
        assert bound >= np.linalg.norm(tail, 2) * (1 - 1e-9)

    def test_tail_bound_tells_something(self) -> None:
        """For a rotation it is 0.9^L / sqrt(1.81), and for any converging sum it goes to zero."""
        for hops in (1, 5, 40):
            bound = tail_bound_of(0.9 * ROTATION, hops=hops)
            assert bound <= 15 * 0.9**hops / math.sqrt(1.81)
        for w in (ginibre(20, 0.95), shifted(8, 0.5, 2.0)):
            assert tail_bound_of(w, hops=3000) < 1e-9

    def test_tail_bound_of_the_rectified_sum(self) -> None:
        w = ginibre(10, 0.8, rectify=True)
        a = w.abs().numpy()
        tail = np.linalg.matrix_power(a, 4) @ scipy.linalg.inv(np.eye(10) - a)
        bound = tail_bound_of(w, hops=4, rectify=True)
        assert bound >= np.linalg.norm(tail, 2) * (1 - 1e-9)

    def test_what_it_bounds(self) -> None:
        """|| truncated sum - infinite sum || for the resolvent without sides."""
        w = ginibre(12, 0.9)
        for hops in (2, 10):
            left_out = resolvent(w) - resolvent(w, hops=hops)
            # Without sides the terms are A ... A^L, so the first one left out is A^(L+1).
            bound = tail_bound_of(w, hops=hops + 1)
            assert torch.linalg.matrix_norm(left_out, 2).item() <= bound * (1 + 1e-9)

    def test_no_cycle_and_no_unit(self) -> None:
        info = resolvent_info(torch.triu(torch.ones(4, 4, dtype=torch.float64), 1))
        assert info.spectral_radius.item() == 0
        assert info.converges.item() is True
        assert math.isinf(info.max_alpha.item())
        empty = resolvent_info(torch.zeros(3, 0, 0, dtype=torch.float64), hops=2)
        assert empty.spectral_radius.tolist() == [0, 0, 0]
        assert empty.converges.tolist() == [True] * 3
        assert empty.tail_bound is not None
        assert empty.tail_bound.tolist() == [0, 0, 0]
        assert resolvent_info(torch.zeros(0, 4, 4)).spectral_radius.shape == (0,)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_nan(self, bad: float) -> None:
        w = torch.stack([0.5 * ROTATION, 0.5 * ROTATION])
        w[1, 0, 0] = bad
        info = resolvent_info(w)
        assert info.converges.tolist() == [True, False]
        assert info.spectral_radius[0].item() == pytest.approx(0.5)
        assert not torch.isfinite(info.spectral_radius[1])
        if math.isnan(bad):
            assert torch.isnan(info.spectral_radius[1])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_dtypes(self, dtype: torch.dtype) -> None:
        info = resolvent_info((0.5 * ROTATION).to(dtype), hops=3)
        assert info.spectral_radius.item() == pytest.approx(0.5, rel=1e-3)
        assert info.converges.item() is True

    def test_takes_no_part_in_the_graph(self) -> None:
        w = (0.5 * ROTATION).requires_grad_()
        info = resolvent_info(w, hops=3)
        for number in (info.spectral_radius, info.tail_bound, info.max_alpha):
            assert number is not None
            assert not number.requires_grad
