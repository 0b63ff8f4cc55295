"""The oracle of exact arithmetic against known answers, and whether the checks that rest on it can fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from support.device import DEVICE
from support.exact import Exact, radius_is_below
from support.exact_gradients import Options, finite_gradients, infinite_gradients
from support.exact_walks import Bounded, Graph, added, norm_of
from support.hurting_checks import check_finite, check_finite_gradients, check_infinite, check_infinite_gradients
from support.hurting_matrices import Weights
from torch import Tensor

import rrnn_ext
from rrnn_ext import reference


def matrix(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64, device=DEVICE)


def pick(n: int, unit: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64, device=DEVICE)[:, unit : unit + 1]


def random(rows: int, columns: int, seed: int) -> Tensor:
    """On the CPU."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestSums:
    @pytest.mark.parametrize("hops", [61, 80, None])
    def test_chain(self, hops: int | None) -> None:
        """1/2 five times, then 2 fifty-five times: one walk of 2^50."""
        n = 61
        w = torch.zeros(n, n, dtype=torch.float64)
        for k in range(n - 1):
            w[k + 1, k] = 0.5 if k < 5 else 2.0
        graph = Graph(Weights(w, pick(n, 0), pick(n, n - 1).mT, 1.0), rectify=False)
        total = graph.infinite().sum(series=False) if hops is None else added(graph.walks(hops), [1.0] * hops)
        assert total.exact.floats().tolist() == [[2.0**50]]
        assert graph.converges()
        if hops is not None:
            assert not added(graph.walks(60), [1.0] * 60).exact.floats().any()

    def test_stochastic(self) -> None:
        """Rows that sum to one keep doing so: eight units, twenty hops, 160."""
        rows = [[1 + (r * c + r) % 5 for c in range(8)] for r in range(8)]
        w = matrix([[x / 32 for x in [*row[:-1], 32 - sum(row[:-1])]] for row in rows])
        graph = Graph(Weights(w, None, None, 1.0), rectify=False)
        total = added(graph.walks(20), [1.0] * 20)
        ones = Exact.full((8, 8), 1)
        assert norm_of(total, ones, False, torch.float64).exact.floats().item() == 160
        assert not graph.converges()
        assert radius_is_below(graph.a, Fraction(1 + 2**-40))

    @pytest.mark.parametrize("ratio", [0.5, -0.75, 1 - 2.0**-30])
    def test_geometric_series(self, ratio: float) -> None:
        graph = Graph(Weights(matrix([[ratio]]), matrix([[3.0]]), matrix([[-1.0]]), 1.0), rectify=False)
        a = Fraction(ratio)
        finite, infinite = added(graph.walks(7), [1.0] * 7), graph.infinite().sum(series=False)
        assert finite.exact.floats().item() == float(-3 * (1 - a**7) / (1 - a))
        assert infinite.exact.floats().item() == float(-3 / (1 - a))

    def test_rank_one(self) -> None:
        """(I - x y')^{-1} B = B + x y' B / (1 - y' x)."""
        x, y, b = [0.5, -0.25, 1.0], [0.5, 1.0, 0.25], [1.0, 2.0, -4.0]
        w = matrix([[p * q for q in y] for p in x])
        graph = Graph(Weights(w, matrix([[value] for value in b]), None, 1.0), rectify=False)
        inner = Fraction(sum(p * q for p, q in zip(x, y, strict=True)))
        image = Fraction(sum(p * q for p, q in zip(b, y, strict=True)))
        expected = [float(Fraction(each) + Fraction(p) * image / (1 - inner)) for each, p in zip(b, x, strict=True)]
        assert graph.infinite().sum(series=False).exact.floats().flatten().tolist() == expected
        assert not radius_is_below(graph.a, inner)
        assert radius_is_below(graph.a, inner + Fraction(1, 10**30))

    def test_numbers_far_apart(self) -> None:
        """10^300 and what it has to cancel against for 10^-300 to be left."""
        w = matrix([[0.0, 0.0, 0.0], [1e300, 0.0, 0.0], [0.0, 1e300, 0.0]])
        u = matrix([[1.0], [-1e300], [1e-300]])
        graph = Graph(Weights(w, u, pick(3, 2).mT, 1.0), rectify=False)
        assert added(graph.walks(3), [1.0] * 3).exact.floats().item() == 1e-300
        assert graph.infinite().sum(series=False).exact.floats().item() == 1e-300

    @pytest.mark.parametrize(
        ("rows", "radius"),
        [
            ([[0.0, 0.75], [-0.75, 0.0]], Fraction(3, 4)),
            ([[0.5, 8.0], [0.0, 0.5]], Fraction(1, 2)),
            ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], Fraction(1)),
            ([[-1.5]], Fraction(3, 2)),
        ],
    )
    def test_radius(self, rows: list[list[float]], radius: Fraction) -> None:
        exact = Exact.of(matrix(rows))
        assert not radius_is_below(exact, radius)
        assert radius_is_below(exact, radius * (1 + Fraction(1, 10**20)))


SIDES = [(2, 3), (3, 2), (2, None), (None, 2), (None, None)]


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize(("i", "o"), SIDES)
class TestGradients:
    """Against autograd through the definitions in float64."""

    def case(self, i: int | None, o: int | None) -> Weights:
        w = 0.2 * random(4, 4, 0)
        u, v = None if i is None else random(4, i, 1), None if o is None else random(o, 4, 2)
        for leaf in (w, u, v):
            if leaf is not None:
                leaf.requires_grad_()
        return Weights(w, u, v, 0.75)

    def compare(self, expected: dict[str, Bounded], case: Weights, value: Tensor) -> None:
        leaves = case.weight_hh, case.weight_in, case.weight_out
        gradients = torch.autograd.grad(value, [leaf for leaf in leaves if leaf is not None])
        assert len(gradients) == len(expected)
        for bounded, gradient in zip(expected.values(), gradients, strict=True):
            exact = torch.from_numpy(bounded.exact.floats())
            torch.testing.assert_close(exact, gradient, rtol=1e-12, atol=1e-13)
            assert (bounded.bound.floats() >= 0).all()
            assert bounded.bound.floats().max() < 1e-9

    @pytest.mark.parametrize("per_hop", [False, True])
    def test_finite(self, per_hop: bool, i: int | None, o: int | None, rectify: bool, squared: bool) -> None:
        case, hops = self.case(i, o), 4
        graph = Graph(case, rectify)
        hop_weights = torch.tensor([1.0, -0.5, 0.0, 2.0], dtype=torch.float64)
        pair_weights = torch.rand(graph.outputs, graph.inputs, dtype=torch.float64)
        options = Options(hop_weights.tolist(), Exact.of(pair_weights), per_hop, squared)
        value = reference.resolvent_penalty(
            **case.given(),
            hops=hops,
            rectify=rectify,
            per_hop=per_hop,
            norm="l2" if squared else "l1",
            hop_weights=hop_weights,
            pair_weights=pair_weights,
        )
        self.compare(finite_gradients(graph, hops, options), case, value)

    def test_infinite(self, i: int | None, o: int | None, rectify: bool, squared: bool) -> None:
        case = self.case(i, o)
        graph = Graph(case, rectify)
        pair_weights = torch.rand(graph.outputs, graph.inputs, dtype=torch.float64)
        value = reference.resolvent_penalty(
            **case.given(),
            rectify=rectify,
            norm="l2" if squared else "l1",
            pair_weights=pair_weights,
        )
        self.compare(infinite_gradients(graph, Exact.of(pair_weights), squared), case, value)


# ------------------------------------------------------------------------------ the checks, of functions that are wrong

GOOD = Weights(0.3 * random(3, 3, 3).to(DEVICE), random(3, 2, 4).to(DEVICE), random(2, 3, 5).to(DEVICE), 0.75)
DIVERGING = Weights(matrix([[0.5, 2.0], [1.0, 0.25]]), matrix([[1.0], [0.0]]), None, 1.0)
OVERFLOWING = Weights(matrix([[1e200]]), matrix([[1.0]]), matrix([[1.0]]), 1.0)


def finite(case: Weights, method: str = "series") -> None:
    check_finite(case, False, 4, None, None, method)


def infinite(case: Weights, method: str = "auto") -> None:
    check_infinite(case, False, None, method)


def finite_gradients_of(case: Weights) -> None:
    check_finite_gradients(case, False, 4, None, None, per_hop=False, squared=True)


def infinite_gradients_of(case: Weights) -> None:
    check_infinite_gradients(case, False, None, squared=True, method="auto")


CHECKS: list[Callable[[Weights], None]] = [finite, infinite, finite_gradients_of, infinite_gradients_of]


class TestTheChecksThemselves:
    @pytest.mark.parametrize("check", CHECKS)
    def test_what_is_right_passes(self, check: Callable[[Weights], None]) -> None:
        check(GOOD)

    @pytest.mark.parametrize("relative", [1e-3, 1e-11])
    @pytest.mark.parametrize(
        ("name", "check"),
        [("hop_decomposition", finite), ("resolvent", finite), ("resolvent", infinite)]
        + [("resolvent_penalty", check) for check in CHECKS],
    )
    def test_off_by_little(
        self, name: str, check: Callable[[Weights], None], relative: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        right = getattr(rrnn_ext, name)
        monkeypatch.setattr(rrnn_ext, name, lambda *given, **options: (1 + relative) * right(*given, **options))
        with pytest.raises(AssertionError, match=r"wrong; at"):
            check(GOOD)

    @pytest.mark.parametrize("name", ["resolvent", "resolvent_penalty"])
    def test_number_for_a_diverging_sum(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        infinite(DIVERGING)

        def closed_form(*given: Any, method: str, **options: Any) -> Tensor:
            result: Tensor = getattr(reference, name)(*given, **options)
            return result

        monkeypatch.setattr(rrnn_ext, name, closed_form)
        with pytest.raises(AssertionError, match="diverging sum"):
            infinite(DIVERGING)

    @pytest.mark.parametrize("check", [finite, infinite, infinite_gradients_of])
    def test_error_for_an_easy_sum(self, check: Callable[[Weights], None], monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*given: Any, **options: Any) -> Tensor:
            raise rrnn_ext.ResolventDivergenceError(2.0, 1.0)

        monkeypatch.setattr(rrnn_ext, "resolvent_penalty", refuse)
        with pytest.raises(AssertionError, match="a number was due"):
            check(GOOD)

    def test_number_beyond_the_dtype(self, monkeypatch: pytest.MonkeyPatch) -> None:
        finite(OVERFLOWING)
        right = rrnn_ext.resolvent
        monkeypatch.setattr(
            rrnn_ext, "resolvent", lambda *given, **options: right(*given, **options).nan_to_num(0.0, 1e308, 1e308)
        )
        with pytest.raises(AssertionError, match=r"wrong; at"):
            finite(OVERFLOWING)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_no_number(self, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
        right = rrnn_ext.resolvent
        monkeypatch.setattr(rrnn_ext, "resolvent", lambda *given, **options: right(*given, **options) * value)
        with pytest.raises(AssertionError, match=r"wrong; at"):
            finite(GOOD)
