"""Answers that come from elsewhere: counting by hand, other libraries, a network that is run."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
import scipy.signal
import torch
from support.device import there
from support.random_weights import on_cpu as weights
from torch import Tensor

import rrnn_ext

resolvent_penalty = there(rrnn_ext.resolvent_penalty)
resolvent = there(rrnn_ext.resolvent)
hop_decomposition = there(rrnn_ext.hop_decomposition)


def adjacency(n: int, edges: list[tuple[int, int]]) -> Tensor:
    """column = source, row = target."""
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for source, target in edges:
        matrix[target, source] = 1.0
    return matrix


def unit(n: int, position: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)[position]


class TestWalkCounts:
    def test_chain(self) -> None:
        """input -> 0 -> 1 -> 2 -> output: one walk, it passes through W twice."""
        w = adjacency(3, [(0, 1), (1, 2)])
        u, v = unit(3, 0)[:, None], unit(3, 2)[None]
        terms = hop_decomposition(w, u, v, hops=5)
        assert terms.flatten().tolist() == [0, 0, 1, 0, 0]
        assert resolvent(w, u, v, hops=2).item() == 0
        assert resolvent(w, u, v, hops=3).item() == 1
        assert resolvent(w, u, v, hops=None).item() == 1

    def test_direction(self) -> None:
        """Against the arrows there is no walk."""
        w = adjacency(3, [(0, 1), (1, 2)])
        assert resolvent_penalty(w, unit(3, 2)[:, None], unit(3, 0)[None], hops=9).item() == 0

    def test_two_ways_of_unequal_length(self) -> None:
        """0 -> 3 directly, by way of 1, and by way of 1 and 2."""
        w = adjacency(4, [(0, 3), (0, 1), (1, 3), (1, 2), (2, 3)])
        u, v = unit(4, 0)[:, None], unit(4, 3)[None]
        terms = hop_decomposition(w, u, v, hops=6)
        assert terms.flatten().tolist() == [0, 1, 1, 1, 0, 0]
        # Every walk of m + 2 edges carries alpha^(m + 2).
        expected = 0.5**3 + 0.5**4 + 0.5**5
        assert resolvent_penalty(w, u, v, hops=6, alpha=0.5).item() == expected
        # A leak of one sign through the direct edge cancels in the sum, not hop by hop.
        signed = w.clone()
        signed[3, 0] = -1.0
        assert resolvent_penalty(signed, u, v, hops=3).item() == 0
        assert resolvent_penalty(signed, u, v, hops=3, per_hop=True).item() == 2
        assert resolvent_penalty(signed, u, v, hops=3, rectify=True).item() == 2

    def test_square_lattice(self) -> None:
        """From corner to corner of a 4 x 4 grid of steps right and down: binomial(6, 3) = 20 walks, all of length 6."""
        edges = [(4 * r + c, 4 * r + c + 1) for r in range(4) for c in range(3)]
        edges += [(4 * r + c, 4 * r + c + 4) for r in range(3) for c in range(4)]
        terms = hop_decomposition(adjacency(16, edges), hops=8)
        assert terms[:, 15, 0].tolist() == [0, 0, 0, 0, 0, 20, 0, 0]
        assert terms[:, 0, 15].any().item() is False

    @pytest.mark.parametrize("n", [2, 5, 9])
    def test_complete_graph(self, n: int) -> None:
        """K_n has ((n-1)^k - (-1)^k) / n walks of length k between two different vertices."""
        w = torch.ones(n, n, dtype=torch.float64) - torch.eye(n, dtype=torch.float64)
        terms = hop_decomposition(w, hops=6)
        for k in range(1, 7):
            assert terms[k - 1, 1, 0].item() == ((n - 1) ** k - (-1) ** k) // n
            assert terms[k - 1, 0, 0].item() == ((n - 1) ** k + (n - 1) * (-1) ** k) // n

    def test_cycle(self) -> None:
        """Round a directed cycle of five, input and output three steps apart: lags 3, 8, 13."""
        w = adjacency(5, [(k, (k + 1) % 5) for k in range(5)])
        terms = hop_decomposition(w, unit(5, 1)[:, None], unit(5, 4)[None], hops=14)
        assert terms.flatten().nonzero().flatten().tolist() == [3, 8, 13]
        # The infinite sum is geometric: alpha^2 * alpha^3 (1 + alpha^5 + alpha^10 + ...).
        value = resolvent(w, unit(5, 1)[:, None], unit(5, 4)[None], alpha=0.5)
        assert value.item() == pytest.approx(0.5**5 / (1 - 0.5**5), rel=1e-14)

    def test_one_unit(self) -> None:
        """Everything is a number: c v (1 + a + ... + a^{L-1}) u and its derivatives."""
        w, u, v, alpha, hops = -0.5, 3.0, -2.0, 0.75, 4
        leaves = [torch.tensor([[x]], dtype=torch.float64, requires_grad=True) for x in (w, u, v)]
        value = resolvent_penalty(*leaves, alpha=alpha, hops=hops)
        a = alpha * w
        series = 1 + a + a**2 + a**3
        derivative = 1 + 2 * a + 3 * a**2
        assert value.item() == pytest.approx(alpha**2 * abs(v * series * u), rel=1e-14)
        w_slope, u_slope, v_slope = (slope.item() for slope in torch.autograd.grad(value, leaves))
        sign = math.copysign(1, v * series * u)
        assert w_slope == pytest.approx(sign * alpha**3 * v * derivative * u, rel=1e-14)
        assert u_slope == pytest.approx(sign * alpha**2 * v * series, rel=1e-14)
        assert v_slope == pytest.approx(sign * alpha**2 * series * u, rel=1e-14)


class TestImpulseResponse:
    """The response of a linear network at lag m is P_m."""

    def test_torch_rnn(self) -> None:
        """A ReLU network whose weights and inputs are positive is linear."""
        n, i, o, lags = 6, 3, 2, 5
        given = {name: matrix.abs() for name, matrix in weights(n, i, o).items()}
        rnn = torch.nn.RNN(i, n, nonlinearity="relu", bias=False, batch_first=True, dtype=torch.float64)
        with torch.no_grad():
            rnn.load_state_dict({"weight_hh_l0": given["weight_hh"], "weight_ih_l0": given["weight_in"]})
            impulses = torch.zeros(i, lags, i, dtype=torch.float64)
            impulses[torch.arange(i), 0, torch.arange(i)] = 1.0
            hidden, _ = rnn(impulses)  # [i, lags, n]
            response = torch.einsum("on,itn->toi", given["weight_out"], hidden)
        torch.testing.assert_close(hop_decomposition(**given, hops=lags), response, rtol=1e-13, atol=0)

    def test_scipy_signal(self) -> None:
        """x[k+1] = A x[k] + B u[k], y[k] = C x[k]: the impulse response at k is C A^{k-1} B."""
        given = weights(6, 3, 2, seed=1)
        a, b, c = (given[name].numpy() for name in ("weight_hh", "weight_in", "weight_out"))
        _, responses = scipy.signal.dimpulse((a, b, c, np.zeros((2, 3)), 1), n=8)
        expected = np.stack(responses, axis=-1)[1:]  # [lags, o, i]; nothing arrives at k = 0
        actual = hop_decomposition(**given, hops=7)
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("rectify", [False, True])
def test_powers_of_the_whole_adjacency(rectify: bool) -> None:
    """As the paper reads: in the graph of inputs, hidden units and outputs, P_m is a block of its (m+2)-th power."""
    n, i, o, alpha = 7, 3, 2, 0.875
    given = weights(n, i, o, seed=2)
    whole: npt.NDArray[np.float64] = np.zeros((i + n + o, i + n + o))
    whole[i : i + n, :i] = given["weight_in"]
    whole[i : i + n, i : i + n] = given["weight_hh"]
    whole[i + n :, i : i + n] = given["weight_out"]
    if rectify:
        whole = np.abs(whole)
    powers = [np.linalg.matrix_power(alpha * whole, m + 2)[i + n :, :i] for m in range(10)]
    options: dict[str, Any] = {"alpha": alpha, "hops": 10, "rectify": rectify}
    terms = hop_decomposition(**given, **options)
    np.testing.assert_allclose(terms.numpy(), np.stack(powers), rtol=1e-11, atol=1e-16)
    penalty = resolvent_penalty(**given, **options)
    assert penalty.item() == pytest.approx(np.abs(np.sum(powers, axis=0)).sum(), rel=1e-12)
    per_hop = resolvent_penalty(**given, **options, per_hop=True, norm="l2")
    assert per_hop.item() == pytest.approx(np.square(powers).sum(), rel=1e-12)


@pytest.mark.parametrize("method", ["auto", "series", "inverse"])
@pytest.mark.parametrize("signs", [False, True])
def test_katz_centrality(signs: bool, method: str) -> None:
    """Katz centrality is (I - alpha W)^{-1} 1: the rectified infinite sum with one input that feeds every vertex."""
    graph = nx.gnp_random_graph(20, 0.2, seed=3, directed=True)
    w = torch.from_numpy(nx.to_numpy_array(graph).T.copy())
    alpha = 0.8 / float(np.abs(np.linalg.eigvals(w.numpy())).max())
    centrality = np.array(list(nx.katz_centrality_numpy(graph, alpha=alpha, beta=1.0, normalized=False).values()))
    if signs:
        w = w * (2.0 * torch.randint(0, 2, w.shape, generator=torch.Generator().manual_seed(4)) - 1.0)
    options: dict[str, Any] = {"alpha": alpha, "rectify": True, "method": method}
    ones = torch.ones(20, 1, dtype=torch.float64)
    # The edge from the input is one more alpha.
    matrix = resolvent(w, ones, **options)
    np.testing.assert_allclose(matrix[:, 0].numpy() / alpha, centrality, rtol=1e-11)
    penalty = resolvent_penalty(w, ones, **options)
    assert penalty.item() / alpha == pytest.approx(centrality.sum(), rel=1e-11)


class TestMatrixFunctions:
    """hop_weights turn the sum into other functions of the matrix."""

    def test_exponential(self) -> None:
        w, hops = weights(8, None, None)["weight_hh"], 24
        factorials = torch.tensor([1 / math.factorial(m) for m in range(hops + 1)], dtype=torch.float64)
        expected = torch.linalg.matrix_exp(w)
        without_sides = resolvent(w, hops=hops, hop_weights=factorials[1:])
        torch.testing.assert_close(without_sides, expected - torch.eye(8, dtype=torch.float64), rtol=1e-12, atol=1e-14)
        given = weights(8, 3, 2)
        thin = resolvent(**given, hops=hops, hop_weights=factorials[:-1])
        torch.testing.assert_close(thin, given["weight_out"] @ expected @ given["weight_in"], rtol=1e-11, atol=1e-14)
        penalty = resolvent_penalty(w, hops=hops, hop_weights=factorials[1:], norm="l2")
        assert penalty.item() == pytest.approx(
            (expected - torch.eye(8, dtype=torch.float64)).square().sum().item(), rel=1e-12
        )

    def test_logarithm(self) -> None:
        w = 0.5 * weights(8, None, None)["weight_hh"]
        harmonic = 1 / torch.arange(1, 61, dtype=torch.float64)
        expected = -scipy.linalg.logm(np.eye(8) - w.numpy())
        actual = resolvent(w, hops=60, hop_weights=harmonic)
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", ["auto", "series", "inverse"])
@pytest.mark.parametrize("rectify", [False, True])
class TestInverses:
    def test_scipy_solve(self, rectify: bool, method: str) -> None:
        given = weights(40, 3, 2, seed=5)
        w, u, v = (np.abs(x.numpy()) if rectify else x.numpy() for x in given.values())
        expected = v @ scipy.linalg.solve(np.eye(40) - w, u)
        actual = resolvent(**given, rectify=rectify, method=method)
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10, atol=1e-15)
        penalty = resolvent_penalty(**given, rectify=rectify, method=method)
        assert penalty.item() == pytest.approx(np.abs(expected).sum(), rel=1e-11)

    def test_scipy_inv(self, rectify: bool, method: str) -> None:
        w = weights(40, None, None, seed=6)["weight_hh"]
        expected = scipy.linalg.inv(np.eye(40) - (np.abs(w.numpy()) if rectify else w.numpy())) - np.eye(40)
        actual = resolvent(w, rectify=rectify, method=method)
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10, atol=1e-14)

    def test_mpmath_near_the_edge(self, rectify: bool, method: str) -> None:
        """Fifty digits, spectral radius 0.99: value, and the gradient of W as alpha Q^T G Q^T."""
        n, generator = 6, torch.Generator().manual_seed(7)
        w = torch.randn(n, n, generator=generator, dtype=torch.float64)
        phi = w.abs() if rectify else w
        w = 0.99 * w / float(np.abs(np.linalg.eigvals(phi.numpy())).max())
        u = torch.rand(n, 2, generator=generator, dtype=torch.float64) + 0.5
        v = torch.rand(1, n, generator=generator, dtype=torch.float64) + 0.5
        with mpmath.workdps(50):
            exact_w, exact_u, exact_v = (mpmath.matrix((w.abs() if rectify else w).tolist()), *map(_exact, (u, v)))
            q = mpmath.inverse(mpmath.eye(n) - exact_w)
            r = exact_v * q * exact_u
            g = r.apply(mpmath.sign)
            slope = q.T * exact_v.T * g * exact_u.T * q.T
            expected = float(sum(abs(x) for x in r))
            expected_slope = torch.tensor(
                [[float(slope[a, b]) for b in range(n)] for a in range(n)], dtype=torch.float64
            )
        w.requires_grad_()
        value = resolvent_penalty(w, u, v, rectify=rectify, method=method)
        # The condition number of I - A is in the hundreds.
        assert value.item() == pytest.approx(expected, rel=1e-11)
        value.backward()
        expected_slope = expected_slope * (w.detach().sign() if rectify else 1.0)
        scale = float(expected_slope.abs().max())
        torch.testing.assert_close(w.grad, expected_slope, rtol=0, atol=1e-10 * scale)


def _exact(matrix: Tensor) -> mpmath.matrix:
    return mpmath.matrix(matrix.tolist())
